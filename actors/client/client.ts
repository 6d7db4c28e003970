// One requested network service of a client (NSC), kept up: request, refresh, repair, reselect, close. It is the
// only hop that reselects. Invariants: one operation at a time; every failure backs off with jitter; a close is
// never starved by retries, since each retry is a message of its own; the connection's id and path stay the same
// for its whole life, so that every hop recognises it.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError, invariant, type NsmError } from '../../protocols/errors.ts';
import { refreshDelayMs, timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type Connection,
  ConnectionEventType,
  ConnectionSchema,
  type Mechanism,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { enterPath, withSegment } from '../../protocols/nsm/path.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { Call, NextHop } from '../connection/hop.ts';
import type { NextHopChanged } from '../connection/connection.ts';
import type { NextHopMessage, NextHopMonitors } from '../connection/next-hop-monitors.ts';
import type { TokenSource } from '../connection/tokens.ts';
import type { ActorContext, Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import { afterFailedRepair, type Healing, healingBegins } from './heal-decision.ts';
import { recoverConnection } from './recover.ts';

/** What the world sees of a client. */
export type ClientStatus =
  | { readonly phase: 'requesting'; readonly attempts: number; readonly lastError?: NsmError }
  | { readonly phase: 'established'; readonly connection: Connection }
  | { readonly phase: 'healing'; readonly connection: Connection; readonly lastError?: NsmError }
  | { readonly phase: 'closed' };

export type ClientMessage =
  | { readonly type: 'close'; readonly replyTo: ReplyTo<void> }
  | NextHopMessage;

type PrivateMessage = { readonly type: 'requestDue' } | { readonly type: 'refreshDue' };
type Message = ClientMessage | PrivateMessage;
type Context = ActorContext<Message>;

export interface ClientSetup {
  /** Own component name (`NSM_NAME`). */
  readonly name: string;
  readonly dialer: Dialer;
  readonly nextHop: NextHop;
  readonly wallClock: WallClock;
  readonly tokens: TokenSource;
  /** `<NSM_NAME>-<n>` in the reference. */
  readonly connectionId: string;
  readonly networkService: string;
  /** Pins the Endpoint; a reselect keeps it. */
  readonly endpointName?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly preferences: readonly Mechanism[];
  /** URL of the manager (`NSM_CONNECT_TO`). */
  readonly connectTo: string;
  readonly monitors: NextHopMonitors;
  readonly requestTimeoutMs: number;
  readonly retry: { readonly firstMs: number; readonly mostMs: number };
  readonly onStatus: (status: ClientStatus) => void;
}

type ClientState =
  | {
      readonly phase: 'requesting';
      readonly connection: Connection | undefined;
      readonly attempts: number;
    }
  | { readonly phase: 'established'; readonly connection: Connection }
  | {
      readonly phase: 'healing';
      readonly connection: Connection;
      readonly attempts: number;
      readonly healing: Healing;
    }
  | { readonly phase: 'closed' };

export function clientBehavior(setup: ClientSetup): Behavior<ClientState, Message> {
  return {
    supervision: supervision.client,
    initial: (context) => {
      context.timers.start('request', 0, { type: 'requestDue' });
      return { phase: 'requesting', connection: undefined, attempts: 0 };
    },
    receive: (state, message, context) => {
      switch (message.type) {
        case 'requestDue':
          return onRequestDue(setup, context, state);
        case 'refreshDue':
          return onRefreshDue(setup, context, state);
        case 'nextHopChanged':
          return onNextHopChanged(setup, context, state, message);
        case 'nextHopLost':
          return heal(setup, context, state);
        case 'close':
          return onClose(setup, context, state, message.replyTo);
      }
    },
  };
}

/** First request, its retries, and the retries of healing. */
async function onRequestDue(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
): Promise<ClientState> {
  switch (state.phase) {
    case 'requesting': {
      const known = state.connection ?? (await recoverConnection(setup, context));
      return attempt(setup, context, { ...state, connection: known }, known);
    }
    case 'healing':
      // In place first; once a failure speaks against the Endpoint, with whichever fits.
      return attempt(
        setup,
        context,
        state,
        state.healing.reselects ? forReselect(setup, state.connection) : state.connection,
      );
    case 'established':
    case 'closed':
      return state;
  }
}

async function attempt(
  setup: ClientSetup,
  context: Context,
  state: Extract<ClientState, { attempts: number }>,
  known: Connection | undefined,
): Promise<ClientState> {
  try {
    return established(setup, context, state, await request(setup, context, known));
  } catch (thrown) {
    const lastError = asNsmError(thrown);
    const attempts = state.attempts + 1;
    const delayMs = backoffMs(setup, context, attempts);
    context.log.warn('request failed', {
      networkService: setup.networkService,
      attempts,
      retryInMs: Math.round(delayMs),
      error: describeError(lastError),
    });
    context.timers.start('request', delayMs, { type: 'requestDue' });
    setup.onStatus(
      state.phase === 'healing'
        ? { phase: 'healing', connection: state.connection, lastError }
        : { phase: 'requesting', attempts, lastError },
    );
    if (state.phase === 'requesting') return { ...state, attempts };
    const healing = afterFailedRepair(state.healing, state.connection, lastError);
    return { ...state, attempts, healing };
  }
}

async function onRefreshDue(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
): Promise<ClientState> {
  if (state.phase !== 'established') return state;
  try {
    return established(setup, context, state, await request(setup, context, state.connection));
  } catch (error) {
    context.log.warn('refresh failed', { error: describeError(error) });
    return heal(setup, context, state);
  }
}

function onNextHopChanged(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
  message: NextHopChanged,
): ClientState {
  const deleted = message.event === ConnectionEventType.DELETE;
  if (deleted || message.entry.state === State.DOWN) return heal(setup, context, state);
  if (message.entry.state === State.REFRESH_REQUESTED && state.phase === 'established') {
    context.timers.start('refresh', 0, { type: 'refreshDue' });
  }
  return state;
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
    if (state.phase !== 'closed' && 'connection' in state && state.connection !== undefined) {
      await setup.nextHop.close(setup.connectTo, state.connection, callFor(setup, context));
    }
    replyTo.tell(undefined);
  } catch (error) {
    replyTo.fail(asNsmError(error));
  }
  setup.onStatus({ phase: 'closed' });
  context.stop();
  return transition(state, { phase: 'closed' });
}

function established(
  setup: ClientSetup,
  context: Context,
  state: ClientState,
  connection: Connection,
): ClientState {
  const delayMs = refreshDelayMs(connection, setup.wallClock.epochMs());
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
  return transition(state, { phase: 'established', connection });
}

async function request(
  setup: ClientSetup,
  context: Context,
  known: Connection | undefined,
): Promise<Connection> {
  const base = known ?? enterPath(firstConnection(setup), setup.name, () => setup.connectionId);
  const own = await setup.tokens.token(undefined);
  const connection = withSegment(base, 0, {
    token: own.token,
    expires: timestampFromEpochMs(own.expiresAtEpochMs),
  });
  return setup.nextHop.request(
    setup.connectTo,
    { connection, preferences: setup.preferences },
    callFor(setup, context),
  );
}

function firstConnection(setup: ClientSetup): Connection {
  return create(ConnectionSchema, {
    id: setup.connectionId,
    networkService: setup.networkService,
    networkServiceEndpointName: setup.endpointName ?? '',
    labels: { ...setup.labels },
  });
}

/** The same connection, asking for whichever Endpoint fits now (the reference's default reselect). */
function forReselect(setup: ClientSetup, connection: Connection): Connection {
  const { mechanism: _, ...rest } = connection;
  return {
    ...rest,
    networkServiceEndpointName: setup.endpointName ?? '',
    state: State.RESELECT_REQUESTED,
  };
}

function callFor(setup: ClientSetup, context: Context): Call {
  return {
    deadlineMs: context.clock.nowMs() + setup.requestTimeoutMs,
    signal: context.signal,
    headers: {},
  };
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
