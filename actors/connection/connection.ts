// One connection at one hop, from its first Request to its end. It replaces the reference's begin, timeout and
// monitor elements. Invariants: one operation at a time, in order of arrival; Close uses the last connection that
// was returned, whatever the caller sent; what the actor starts by itself (expiry, a vanished wire) takes the same
// road as what a caller asks for; an id is absent or owned by exactly one actor; a failed refresh leaves what works.

import {
  asNsmError,
  describeError,
  errorCodes,
  invariant,
  NsmError,
} from '../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  type Mechanism,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { viewOfNextHopEvent } from '../../protocols/nsm/monitor-selector.ts';
import type { ActorContext, Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import { compact } from './compact.ts';
import type { ConnectionTable, Intent } from './connection-table.ts';
import type { Call, Hop, HopMemory } from './hop.ts';
import type { Monitor } from './monitor.ts';
import { type TokenSource, withTokens } from './tokens.ts';

export interface NextHopChanged {
  readonly type: 'nextHopChanged';
  readonly entry: Connection;
  readonly event: ConnectionEventType;
}

/** What others may tell a connection. */
export type ConnectionMessage =
  | {
      readonly type: 'request';
      /** In this hop's view of the path. */
      readonly connection: Connection;
      readonly preferences: readonly Mechanism[];
      /** From now until this hop closes the connection unless it is refreshed. */
      readonly closeAfterMs: number;
      readonly call: Call;
      readonly replyTo: ReplyTo<Connection>;
    }
  | { readonly type: 'close'; readonly call: Call; readonly replyTo: ReplyTo<void> }
  /** The next hop's monitor said something about this connection. */
  | NextHopChanged
  | { readonly type: 'nextHopLost' }
  /** Something that the wire cannot live without is gone, for example the client's network namespace. */
  | { readonly type: 'wireGone'; readonly reason: string }
  /** Nobody waits for an answer any more; heeded by a connection that is over. */
  | { readonly type: 'retire' };

type PrivateMessage = { readonly type: 'expired' } | { readonly type: 'closeDue' };
type Message = ConnectionMessage | PrivateMessage;
type Context = ActorContext<Message>;

type ConnectionState =
  | { readonly phase: 'idle' }
  | { readonly phase: 'established'; readonly intent: Intent }
  /** Over for everybody here; the next hop has not heard of it yet. */
  | { readonly phase: 'closing'; readonly intent: Intent; readonly attempts: number }
  | { readonly phase: 'closed' };

export interface ConnectionSetup {
  readonly id: string;
  /** Component name. */
  readonly name: string;
  readonly hop: Hop;
  readonly tokens: TokenSource;
  readonly table: ConnectionTable;
  readonly monitor: Monitor;
  /** Time for an operation that nobody outside waits for: closing after expiry. */
  readonly ownCallTimeoutMs: number;
  /** Follows the next hop's monitor for this connection; called after every change of the next hop. */
  readonly follow: (id: string, memory: HopMemory | undefined) => void;
  /**
   * Asked by a connection that is over. True: it takes no further message. False: somebody waits for an answer, and
   * `retire` follows when they have it.
   */
  readonly mayEnd: () => boolean;
}

export function connectionBehavior(setup: ConnectionSetup): Behavior<ConnectionState, Message> {
  let starts = 0;
  return {
    supervision: supervision.connection,
    // A restarted actor, of this process or the next one, resumes from the recorded intent.
    initial: (context) => {
      starts += 1;
      const state = resume(setup, context);
      // A first Request crashed before it had recorded anything: nobody else would ever end this actor.
      if (starts > 1 && state.phase === 'idle') context.self.tell({ type: 'retire' });
      return state;
    },
    receive: (state, message, context) => {
      switch (message.type) {
        case 'request':
          return onRequest(setup, context, state, message);
        case 'nextHopChanged':
          return onNextHopChanged(setup, state, message);
        case 'nextHopLost':
          return onNextHopLost(setup, state);
        case 'wireGone':
          return end(setup, context, state, message.reason);
        case 'expired':
          return end(setup, context, state, 'expired');
        case 'close':
          return onClose(setup, context, state, message);
        case 'closeDue':
          return onCloseDue(setup, context, state);
        case 'retire':
          return onRetire(setup, context, state);
      }
    },
  };
}

function resume(setup: ConnectionSetup, context: Context): ConnectionState {
  const intent = setup.table.get(setup.id);
  if (intent === undefined) return { phase: 'idle' };
  if (!intent.established) {
    // Half built, or not yet closed behind this hop, when the last life ended.
    context.timers.start('close', 0, { type: 'closeDue' });
    return { phase: 'closing', intent, attempts: 0 };
  }
  armExpiry(context, intent);
  setup.follow(setup.id, intent.memory);
  return { phase: 'established', intent };
}

async function onRequest(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  message: Extract<Message, { type: 'request' }>,
): Promise<ConnectionState> {
  const { call, replyTo } = message;
  if (isOver(call, context)) {
    replyTo.fail(gaveUp(setup.id, 'before its turn came'));
    return state.phase === 'idle' ? finish(setup, context, state) : state;
  }
  try {
    const next = await establish(setup, context, state, message);
    replyTo.tell(next.intent.connection);
    return next;
  } catch (thrown) {
    const error = asNsmError(thrown);
    replyTo.fail(error);
    if (!(thrown instanceof NsmError)) throw thrown;
    if (state.phase === 'closing') return state;
    if (state.phase !== 'established') return finish(setup, context, state);
    // The failed refresh may have recorded what it was about to make.
    if (setup.table.get(setup.id) !== state.intent) await setup.table.put(state.intent);
    context.log.warn('refresh failed', { connectionId: setup.id, error: describeError(error) });
    return withState(setup, state, State.DOWN);
  }
}

async function establish(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  message: Extract<Message, { type: 'request' }>,
): Promise<Extract<ConnectionState, { phase: 'established' }>> {
  const { preferences, call } = message;
  const connection = await withTokens(message.connection, call, setup.tokens);
  const closeAtMs = context.clock.nowMs() + message.closeAfterMs;
  const previous = state.phase === 'established' ? state.intent : undefined;
  const result = await setup.hop.request({
    connection,
    preferences,
    previous,
    reselect: connection.state === State.RESELECT_REQUESTED,
    call: toItsEnd(call),
    // During a refresh what is established stays recorded as such: a crash must not cost a healthy wire.
    recordIntent: (memory) =>
      setup.table.put({
        connection: previous?.connection ?? connection,
        preferences,
        memory,
        closeAtMs,
        established: previous !== undefined,
      }),
  });
  const established: Connection = compact({ ...result.connection, state: State.UP }, setup.id);
  invariant(established.id === setup.id, `hop answered id ${established.id} for ${setup.id}`);
  if (previous === undefined && isOver(call, context)) {
    // Nobody has the answer, so nobody would ever close it: undo instead of waiting for the expiry.
    await closeQuietly(setup, context, established, result.memory);
    throw gaveUp(setup.id, 'while it was being built');
  }
  const intent: Intent = {
    connection: established,
    preferences: compact(preferences, setup.id),
    memory: result.memory,
    closeAtMs,
    established: true,
  };
  await setup.table.put(intent);
  context.timers.cancel('close');
  armExpiry(context, intent);
  setup.monitor.publish(ConnectionEventType.UPDATE, established);
  setup.follow(setup.id, intent.memory);
  if (previous === undefined) context.log.info('established', { connectionId: setup.id });
  return transition(state, { phase: 'established', intent });
}

function onNextHopChanged(
  setup: ConnectionSetup,
  state: ConnectionState,
  message: NextHopChanged,
): ConnectionState | Promise<ConnectionState> {
  if (state.phase !== 'established') return state;
  const view = viewOfNextHopEvent(
    state.intent.connection,
    message.entry,
    message.event === ConnectionEventType.DELETE,
    message.event === ConnectionEventType.INITIAL_STATE_TRANSFER,
  );
  return view === undefined ? state : withConnection(setup, state, view);
}

function onNextHopLost(
  setup: ConnectionSetup,
  state: ConnectionState,
): ConnectionState | Promise<ConnectionState> {
  return state.phase === 'established' ? withState(setup, state, State.DOWN) : state;
}

async function onClose(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  { call, replyTo }: Extract<Message, { type: 'close' }>,
): Promise<ConnectionState> {
  try {
    const next = await close(setup, context, state, call);
    replyTo.tell(undefined);
    return next;
  } catch (thrown) {
    replyTo.fail(asNsmError(thrown));
    return finish(setup, context, state);
  }
}

/** Ends the connection on this hop's own account. */
async function end(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  reason: string,
): Promise<ConnectionState> {
  if (state.phase !== 'established') return state;
  context.log.info('closed by this hop', { connectionId: setup.id, reason });
  try {
    return await close(setup, context, state, ownCall(setup, context));
  } catch (error) {
    context.log.warn('closing failed', { connectionId: setup.id, error: describeError(error) });
    return finish(setup, context, state);
  }
}

/**
 * Teardown never depends on another's life: where the next hop cannot be reached this hop takes the closing over,
 * and the caller is done. Throws what trying again cannot mend.
 */
async function close(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  call: Call,
): Promise<ConnectionState> {
  if (state.phase === 'closing') return state;
  if (state.phase !== 'established') return finish(setup, context, state);
  try {
    await setup.hop.close(state.intent.connection, state.intent.memory, call);
    return await finish(setup, context, state);
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (!errorCodes[error.code].retryable) throw error;
    setup.follow(setup.id, undefined);
    setup.monitor.publish(ConnectionEventType.DELETE, state.intent.connection);
    const intent: Intent = { ...state.intent, established: false };
    await setup.table.put(intent);
    return closeLater(context, transition(state, { phase: 'closing', intent, attempts: 1 }), error);
  }
}

async function onCloseDue(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
): Promise<ConnectionState> {
  if (state.phase !== 'closing') return state;
  const { connection, memory, closeAtMs } = state.intent;
  // From then on the next hop has closed it by itself.
  if (context.clock.nowMs() >= closeAtMs) return finish(setup, context, state);
  try {
    await setup.hop.close(connection, memory, ownCall(setup, context));
    return await finish(setup, context, state);
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (!errorCodes[error.code].retryable) return finish(setup, context, state);
    return closeLater(context, { ...state, attempts: state.attempts + 1 }, error);
  }
}

/** Pause before the next hop is told again, doubled up to the longest, with up to half of it taken off at random. */
const closeRetryMs = 200;
const closeRetryMsMax = 10_000;

function closeLater(
  context: Context,
  state: Extract<ConnectionState, { phase: 'closing' }>,
  error: NsmError,
): ConnectionState {
  const full = Math.min(closeRetryMsMax, closeRetryMs * 2 ** Math.min(16, state.attempts - 1));
  const delayMs = full * (1 - context.random.integer(1000) / 2000);
  context.timers.cancelAll();
  context.timers.start('close', delayMs, { type: 'closeDue' });
  context.log.warn('the next hop has not heard of the Close yet', {
    connectionId: state.intent.connection.id,
    attempts: state.attempts,
    retryInMs: Math.round(delayMs),
    error: describeError(error),
  });
  return state;
}

function ownCall(setup: ConnectionSetup, context: Context): Call {
  const deadlineMs = context.clock.nowMs() + setup.ownCallTimeoutMs;
  return { deadlineMs, signal: context.signal, headers: {} };
}

async function closeQuietly(
  setup: ConnectionSetup,
  context: Context,
  connection: Connection,
  memory: HopMemory,
): Promise<void> {
  try {
    await setup.hop.close(connection, memory, ownCall(setup, context));
  } catch (error) {
    context.log.warn('closing failed in part', {
      connectionId: setup.id,
      error: describeError(error),
    });
  }
}

/** Forgets the connection and tells the monitors. The actor goes once nothing is queued behind. */
async function finish(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
): Promise<ConnectionState> {
  context.timers.cancelAll();
  setup.follow(setup.id, undefined);
  await setup.table.delete(setup.id);
  if (state.phase === 'established') {
    setup.monitor.publish(ConnectionEventType.DELETE, state.intent.connection);
  }
  context.self.tell({ type: 'retire' });
  return transition(state, { phase: 'idle' });
}

/** A Request that came behind a Close begins a new life of the id; then there is nothing to retire. */
function onRetire(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
): ConnectionState {
  if (state.phase !== 'idle' || !setup.mayEnd()) return state;
  context.stop();
  return transition(state, { phase: 'closed' });
}

function withState(
  setup: ConnectionSetup,
  state: Extract<ConnectionState, { phase: 'established' }>,
  wireState: State,
): ConnectionState | Promise<ConnectionState> {
  if (state.intent.connection.state === wireState) return state;
  return withConnection(setup, state, { ...state.intent.connection, state: wireState });
}

async function withConnection(
  setup: ConnectionSetup,
  state: Extract<ConnectionState, { phase: 'established' }>,
  connection: Connection,
): Promise<ConnectionState> {
  const intent: Intent = { ...state.intent, connection };
  await setup.table.put(intent);
  setup.monitor.publish(ConnectionEventType.UPDATE, connection);
  return { phase: 'established', intent };
}

function armExpiry(context: Context, intent: Intent): void {
  const delayMs = Math.max(0, intent.closeAtMs - context.clock.nowMs());
  context.timers.start('expiry', delayMs, { type: 'expired' });
}

/**
 * The call with nobody to cancel it. A Request whose caller has gone runs to its end or its deadline and is undone
 * then: cancelled on its way it might cross the answer of the next hop, and that hop would keep what only the
 * answer could have named.
 */
function toItsEnd(call: Call): Call {
  return { ...call, signal: new AbortController().signal };
}

function isOver(call: Call, context: Context): boolean {
  return call.signal.aborted || context.clock.nowMs() >= call.deadlineMs;
}

function gaveUp(connectionId: string, when: string): NsmError {
  return new NsmError('CANCELLED', `the caller gave the Request up ${when}`, { connectionId });
}

const allowed: Readonly<Record<ConnectionState['phase'], readonly ConnectionState['phase'][]>> = {
  idle: ['established', 'idle', 'closed'],
  established: ['established', 'closing', 'idle'],
  closing: ['established', 'idle'],
  closed: [],
};

function transition<Next extends ConnectionState>(state: ConnectionState, next: Next): Next {
  invariant(allowed[state.phase].includes(next.phase), `${state.phase} -> ${next.phase}`);
  return next;
}
