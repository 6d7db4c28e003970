// What an actor has beyond its mailbox, each part made when it is first needed: an idle actor has none of it.

import type { Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ActorCodec, Terminated } from './api.ts';
import type { PendingAsk } from './ask.ts';
import type { Nursery } from './nact-tree.ts';
import type { Notice, Watch } from './notice.ts';
import type { Ring } from './ring.ts';
import type { ArmedTimer } from './timers.ts';

export class Extras {
  urgent: Ring<Notice> | undefined;
  stash: Ring<unknown> | undefined;
  timers: ArmedTimer[] | undefined;
  /** Asks that wait for an answer of this actor. */
  asks: Set<PendingAsk> | undefined;
  /** Asks that this actor made through its context. */
  asked: Set<PendingAsk> | undefined;
  /** Called once when this actor ends. */
  watchers: Set<(reason: Terminated['reason']) => void> | undefined;
  /** By watched actor. */
  watching: Map<unknown, Watch> | undefined;
  abort: AbortController | undefined;
  log: Log | undefined;
  /** Set while the actor is reachable from other nodes. */
  codec: ActorCodec<unknown> | undefined;
  nursery: Nursery | undefined;
  passivation: Timer | undefined;
  lastMessageMs = 0;
  backoff: Timer | undefined;
  crashes = 0;
  /** Within the supervision window only. */
  crashTimesMs: number[] = noTimes;
  endReason: Terminated['reason'] = 'stopped';
  /** Resolves when the actor is gone; set when it is told to stop. */
  stopped: Promise<void> | undefined;
  /** Called when the handler in flight ends while the actor is stopping. */
  onHandlerEnd: (() => void) | undefined;
}

const noTimes: number[] = [];
