// One requested network service of a client (NSC), kept up: request, refresh, repair, reselect, close. It is the
// only hop that reselects. Invariants: one operation at a time; every failure backs off with jitter; a close waits for
// no retry and no try, which run beside the actor; the connection's id and path stay the same for its whole life, so
// that every hop recognises it.

import { asNsmError, describeError, invariant, type NsmError } from '../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { NextHopChanged } from '../connection/connection.ts';
import type { NextHopMessage, NextHopMonitors } from '../connection/next-hop-monitors.ts';
import type { ActorContext, Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import {
  type Asked,
  type Attempt,
  type AttemptSetup,
  callFor,
  type Outcome,
  startAttempt,
} from './attempt.ts';
import { afterFailedRepair, type Healing, healingBegins } from './heal-decision.ts';
import { recoverConnection } from './recover.ts';
import { planRefresh } from './refresh-plan.ts';
import { retryDelayMs } from './retry-delay.ts';

/** What the world sees of a client. */
export type ClientStatus =
  | { readonly phase: 'requesting'; readonly attempts: number; readonly lastError?: NsmError }
  | { readonly phase: 'established'; readonly connection: Connection }
  | { readonly phase: 'healing'; readonly connection: Connection; readonly lastError?: NsmError }
  | { readonly phase: 'closed' };

export type ClientMessage =
  | { readonly type: 'close'; readonly replyTo: ReplyTo<void> }
  | NextHopMessage;

type PrivateMessage =
  | { readonly type: 'requestDue' }
  | { readonly type: 'refreshDue' }
  | { readonly type: 'attempted'; readonly attempt: Attempt; readonly outcome: Outcome };
type Message = ClientMessage | PrivateMessage;
type Context = ActorContext<Message>;

export interface ClientSetup extends AttemptSetup {
  readonly dialer: Dialer;
  readonly wallClock: WallClock;
  readonly monitors: NextHopMonitors;
  readonly retry: { readonly firstMs: number; readonly mostMs: number };
  readonly onStatus: (status: ClientStatus) => void;
}

/** The try under way; all but a Close waits for its outcome. */
interface Trying {
  readonly attempt?: Attempt;
}

interface Requesting extends Trying {
  readonly phase: 'requesting';
  /** What the manager held of the last life, until a refusal speaks against it. */
  readonly recovered: Connection | undefined;
  /** Whether the manager is still to be asked for it. */
  readonly recovers: boolean;
  readonly attempts: number;
  readonly healing: Healing;
}

interface Established extends Trying {
  readonly phase: 'established';
  readonly connection: Connection;
  /** As in the plan of its next refresh. */
  readonly hurried: number;
}

interface Repairing extends Trying {
  readonly phase: 'healing';
  readonly connection: Connection;
  readonly attempts: number;
  readonly healing: Healing;
}

type ClientState = Requesting | Established | Repairing | { readonly phase: 'closed' };

export function clientBehavior(setup: ClientSetup): Behavior<ClientState, Message> {
  return {
    supervision: supervision.client,
    initial: (context) => {
      context.timers.start('request', 0, { type: 'requestDue' });
      return {
        phase: 'requesting',
        recovered: undefined,
        recovers: true,
        attempts: 0,
        healing: healingBegins,
      };
    },
    receive: (state, message, context) => {
      if (message.type === 'close') return onClose(setup, context, state, message.replyTo);
      if (message.type === 'attempted') return onAttempted(setup, context, state, message);
      if (state.phase === 'closed') return state;
      if (state.attempt !== undefined) {
        context.stash();
        return state;
      }
      switch (message.type) {
        case 'requestDue':
          return state.phase === 'established' ? state : attempt(setup, context, state);
        case 'refreshDue':
          return state.phase === 'established' ? attempt(setup, context, state) : state;
        case 'nextHopChanged':
          return onNextHopChanged(setup, context, state, message);
        case 'nextHopLost':
          return heal(setup, context, state);
      }
    },
    onStop: (state) => {
      if (state.phase !== 'closed') state.attempt?.giveUp();
    },
  };
}

type Live = Exclude<ClientState, { phase: 'closed' }>;

function attempt(setup: ClientSetup, context: Context, state: Live): ClientState {
  const begun = startAttempt(setup, context.clock, (signal) =>
    asked(setup, context, state, signal),
  );
  void begun.outcome.then((outcome) =>
    context.self.tell({ type: 'attempted', attempt: begun, outcome }),
  );
  return { ...state, attempt: begun };
}

async function asked(
  setup: ClientSetup,
  context: Context,
  state: Live,
  signal: AbortSignal,
): Promise<Asked> {
  switch (state.phase) {
    case 'requesting': {
      const recover = state.recovers && state.recovered === undefined;
      const known = recover ? await recoverConnection(setup, context, signal) : state.recovered;
      return { known, reselects: known?.state === State.DOWN };
    }
    case 'established':
      return { known: state.connection, reselects: false };
    case 'healing':
      // In place first; once a failure speaks against the Endpoint, with whichever fits.
      return { known: state.connection, reselects: state.healing.reselects };
  }
}

function onAttempted(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
  message: Extract<Message, { type: 'attempted' }>,
): ClientState {
  // One of an earlier life of this actor says nothing about what runs now.
  if (state.phase === 'closed' || state.attempt !== message.attempt) return state;
  context.unstashAll();
  const { attempt: _, ...rest } = state;
  const { outcome } = message;
  if ('answer' in outcome) return established(setup, context, rest, outcome.answer);
  if (rest.phase !== 'established') return failed(setup, context, rest, outcome);
  context.log.warn('refresh failed', { error: describeError(outcome.error) });
  return heal(setup, context, rest);
}

function failed(
  setup: ClientSetup,
  context: Context,
  state: Requesting | Repairing,
  { known, error: lastError }: Extract<Outcome, { error: NsmError }>,
): ClientState {
  const attempts = state.attempts + 1;
  const delayMs = retryDelayMs(lastError, () => backoffMs(setup, context, attempts));
  context.log.warn('request failed', {
    networkService: setup.networkService,
    attempts,
    retryInMs: Math.round(delayMs),
    error: describeError(lastError),
  });
  context.timers.start('request', delayMs, { type: 'requestDue' });
  if (state.phase === 'healing') {
    setup.onStatus({ phase: 'healing', connection: state.connection, lastError });
    const healing = afterFailedRepair(state.healing, state.connection, lastError);
    return { ...state, attempts, healing };
  }
  setup.onStatus({ phase: 'requesting', attempts, lastError });
  if (known === undefined) return { ...state, attempts };
  // What was true in the last life need not be true now: refused once, the client begins anew.
  const healing = afterFailedRepair(state.healing, known, lastError);
  if (!healing.reselects) return { ...state, attempts, healing, recovered: known };
  return { ...state, attempts, healing, recovered: undefined, recovers: false };
}

function onNextHopChanged(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
  message: NextHopChanged,
): ClientState {
  // Another client of the same name has the same first segment; the manager's tells the two apart.
  if (state.phase !== 'established' || managerId(message.entry) !== managerId(state.connection)) {
    return state;
  }
  const deleted = message.event === ConnectionEventType.DELETE;
  if (deleted || message.entry.state === State.DOWN) return heal(setup, context, state);
  if (message.entry.state === State.REFRESH_REQUESTED) {
    context.timers.start('refresh', 0, { type: 'refreshDue' });
  }
  return state;
}

function managerId(connection: Connection): string | undefined {
  return connection.path?.pathSegments[1]?.id;
}

function heal(setup: ClientSetup, context: Context, state: ClientState): ClientState {
  if (state.phase !== 'established') return state;
  context.log.info('healing', { networkService: setup.networkService });
  context.timers.cancel('refresh');
  context.timers.start('request', 0, { type: 'requestDue' });
  setup.onStatus({ phase: 'healing', connection: state.connection });
  const { connection } = state;
  return transition(state, { phase: 'healing', connection, attempts: 0, healing: healingBegins });
}

async function onClose(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
  replyTo: ReplyTo<void>,
): Promise<ClientState> {
  context.timers.cancelAll();
  setup.monitors.follow(setup.connectionId, undefined, () => {});
  try {
    const connection = await heldAtEnd(state);
    if (connection !== undefined) {
      const call = callFor(setup, context.clock, context.signal);
      await setup.nextHop.close(setup.connectTo, connection, call);
    }
    replyTo.tell(undefined);
  } catch (error) {
    replyTo.fail(asNsmError(error));
  }
  setup.onStatus({ phase: 'closed' });
  context.stop();
  return transition(state, { phase: 'closed' });
}

/** What is to be closed, after giving up the try under way: its answer may have crossed. */
async function heldAtEnd(state: ClientState): Promise<Connection | undefined> {
  if (state.phase === 'closed') return undefined;
  state.attempt?.giveUp();
  const outcome = await state.attempt?.outcome;
  if (outcome !== undefined && 'answer' in outcome) return outcome.answer;
  return state.phase === 'requesting' ? (state.recovered ?? outcome?.known) : state.connection;
}

function established(
  setup: ClientSetup,
  context: Context,
  state: Live,
  connection: Connection,
): ClientState {
  const before = state.phase === 'established' ? state.hurried : 0;
  const { delayMs, hurried } = planRefresh(connection, setup.wallClock.epochMs(), before);
  // Refreshing up to a tenth early keeps clients that started together from staying together.
  const jitter = 1 - context.random.integer(1000) / 10_000;
  context.timers.cancel('request');
  context.timers.start('refresh', delayMs * jitter, { type: 'refreshDue' });
  setup.monitors.follow(setup.connectionId, setup.connectTo, (message) =>
    context.self.tell(message),
  );
  if (state.phase !== 'established') {
    context.log.info('established', {
      networkService: setup.networkService,
      endpoint: connection.networkServiceEndpointName,
    });
  }
  setup.onStatus({ phase: 'established', connection });
  return transition(state, { phase: 'established', connection, hurried });
}

/** Doubles from the first pause to the longest, with up to half of it taken off at random. */
function backoffMs(setup: ClientSetup, context: Context, attempts: number): number {
  const full = Math.min(setup.retry.mostMs, setup.retry.firstMs * 2 ** Math.min(20, attempts - 1));
  return full * (1 - context.random.integer(1000) / 2000);
}

const allowed: Readonly<Record<ClientState['phase'], readonly ClientState['phase'][]>> = {
  requesting: ['established', 'closed'],
  established: ['established', 'healing', 'closed'],
  healing: ['established', 'closed'],
  closed: ['closed'],
};

function transition<Next extends ClientState>(state: ClientState, next: Next): Next {
  invariant(allowed[state.phase].includes(next.phase), `${state.phase} -> ${next.phase}`);
  return next;
}
