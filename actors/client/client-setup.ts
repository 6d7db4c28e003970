// What a client actor is given, what it is told, and what it shows of itself.

import type { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { Liveness } from '../../protocols/ports/liveness.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { NextHopMessage, NextHopMonitors } from '../connection/next-hop-monitors.ts';
import type { ActorContext, ReplyTo } from '../runtime/api.ts';
import type { Attempt, AttemptSetup, Outcome } from './attempt.ts';
import type { HealingCause } from './client-state.ts';
import type { WireWatch } from './wire-watch.ts';

/** What the world sees of a client. */
export type ClientStatus =
  | { readonly phase: 'requesting'; readonly attempts: number; readonly lastError?: NsmError }
  | { readonly phase: 'established'; readonly connection: Connection }
  | {
      readonly phase: 'healing';
      readonly connection: Connection;
      readonly cause: HealingCause;
      /** That failed so far. */
      readonly attempts: number;
      readonly lastError?: NsmError;
    }
  | { readonly phase: 'closed' };

export type ClientMessage =
  | { readonly type: 'close'; readonly replyTo: ReplyTo<void> }
  | NextHopMessage;

type PrivateMessage =
  | { readonly type: 'requestDue' }
  | { readonly type: 'refreshDue' }
  | { readonly type: 'moveDue' }
  /** The connection has lasted: the next trouble is a new one. */
  | { readonly type: 'steady' }
  /** The verdict about the wire has changed. */
  | { readonly type: 'judged' }
  | { readonly type: 'attempted'; readonly attempt: Attempt; readonly outcome: Outcome };

export type Message = ClientMessage | PrivateMessage;
export type Context = ActorContext<Message>;

export interface ClientSetup extends AttemptSetup {
  readonly dialer: Dialer;
  readonly wallClock: WallClock;
  readonly monitors: NextHopMonitors;
  /** Absent: nothing is known of the data plane. */
  readonly liveness?: Liveness;
  readonly retry: { readonly firstMs: number; readonly mostMs: number };
  readonly onStatus: (status: ClientStatus) => void;
}

/** With what lives as long as the actor. */
export interface Equipped extends ClientSetup {
  readonly wire: WireWatch;
}

/** Doubles from the first pause to the longest, with up to half of it taken off at random. */
export function backoffMs(setup: ClientSetup, context: Context, attempts: number): number {
  const full = Math.min(setup.retry.mostMs, setup.retry.firstMs * 2 ** Math.min(20, attempts - 1));
  return full * (1 - context.random.integer(1000) / 2000);
}
