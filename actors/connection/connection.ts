// One connection at one hop, from its first Request to its end. It replaces the reference's begin, timeout and
// monitor elements. Invariants: one operation at a time, in order of arrival; Close uses the last connection that
// was returned, whatever the caller sent; what the actor starts by itself (expiry, a vanished wire) takes the same
// road as what a caller asks for; an id is absent or owned by exactly one actor; a failed refresh leaves what works.

import { asNsmError, describeError, invariant, NsmError } from '../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { withoutFarEnd } from '../../protocols/nsm/far-end.ts';
import { isPassedBy, withKnownBehind } from '../../protocols/nsm/path.ts';
import type { ActorContext, Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import {
  type Closing,
  type ClosingSetup,
  closeLater,
  type Outcome,
  ownCall,
  tryToClose,
} from './closing.ts';
import { compact } from './compact.ts';
import type { Intent } from './connection-table.ts';
import type { Call, EnteredRequest, HopMemory } from './hop.ts';
import { isClosedBehind, type KeepingSetup, keepLonger, refreshedFor } from './keeping.ts';
import type { Monitor } from './monitor.ts';
import { type Repair, repairAt } from './repair.ts';
import { promise, record, type RecordingSetup } from './recording.ts';
import { isReselect, speaksOfWire, toItsEnd } from './request-kind.ts';
import { supersede, type SupersedeSetup } from './supersede.ts';
import { type TokenSource, withTokens } from './tokens.ts';
import { inState, type NextHopNews, viewAfter, wishedFor } from './views.ts';

export interface NextHopChanged extends NextHopNews {
  readonly type: 'nextHopChanged';
}

/** What others may tell a connection. */
export type ConnectionMessage =
  | ({ readonly type: 'request'; readonly replyTo: ReplyTo<Connection> } & EnteredRequest)
  | {
      readonly type: 'close';
      readonly call: Call;
      /** What the caller sent, in this hop's view of the path; undefined where this process closes by itself. */
      readonly by?: Connection | undefined;
      readonly replyTo: ReplyTo<void>;
    }
  /** The next hop's monitor said something about this connection. */
  | NextHopChanged
  | { readonly type: 'nextHopLost' }
  /** Something that the wire cannot live without is gone, for example the client's network namespace. */
  | { readonly type: 'wireGone'; readonly reason: string }
  /** `end` (as of far-end.ts) is gone with its namespace: nothing but another Endpoint helps. */
  | { readonly type: 'farEndGone'; readonly end: string }
  /**
   * RESELECT_REQUESTED: this hop wishes the client elsewhere, which decides; UP: it no longer does. REFRESH_REQUESTED: this
   * hop has news for the client, which a refresh brings.
   */
  | { readonly type: 'wish'; readonly wished: State }
  /** Somebody else may have harmed what this hop has made: it is to be put back. Answers what was missing. */
  | Repair
  /** Nobody waits for an answer any more; heeded by a connection that is over. */
  | { readonly type: 'retire' };

type PrivateMessage = { readonly type: 'expired' } | { readonly type: 'closeDue' };
type Message = ConnectionMessage | PrivateMessage;
type Context = ActorContext<Message>;

type ConnectionState =
  | { readonly phase: 'idle' }
  /** Resumed: from the journal of an earlier life, which may have missed the last answers. */
  | { readonly phase: 'established'; readonly intent: Intent; readonly isResumed?: boolean }
  | Closing
  | { readonly phase: 'closed' };

export interface ConnectionSetup
  extends ClosingSetup,
    SupersedeSetup,
    RecordingSetup,
    KeepingSetup {
  /** Component name. */
  readonly name: string;
  readonly tokens: TokenSource;
  readonly monitor: Monitor;
  /** Keeps what is said of a connection before it can be followed; the next `follow` ends it. */
  readonly expect: (id: string) => void;
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
          return onNextHopChanged(setup, context, state, message);
        case 'nextHopLost':
          return change(setup, context, state, (stored) => inState(stored, State.DOWN));
        case 'farEndGone':
          return change(setup, context, state, (stored) => withoutFarEnd(stored, message.end));
        case 'wish':
          return change(setup, context, state, (stored) => wishedFor(stored, message.wished));
        case 'wireGone':
          return end(setup, context, state, message.reason);
        case 'repair':
          return repairAt(setup.hop, state, message);
        case 'expired':
          return onExpired(setup, context, state);
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
  if (intent === undefined) {
    setup.follow(setup.id, undefined);
    return { phase: 'idle' };
  }
  if (!intent.established) {
    // Half built, or not yet closed behind this hop, when the last life ended.
    context.timers.start('close', 0, { type: 'closeDue' });
    return { phase: 'closing', intent, attempts: 0 };
  }
  armExpiry(context, intent);
  const { leaving, ...memory } = intent.memory;
  if (leaving !== undefined) setup.hop.resume?.(leaving);
  setup.follow(setup.id, memory);
  return { phase: 'established', intent: { ...intent, memory }, isResumed: true };
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
    return state.phase === 'idle' ? dismiss(setup, context, state) : state;
  }
  let built: Intent | undefined;
  try {
    if (state.phase !== 'established') await supersede(setup, context, message);
    built = await build(setup, context, state, message);
    const next = await keep(setup, context, state, { intent: built, call });
    replyTo.tell(built.connection);
    return next;
  } catch (thrown) {
    replyTo.fail(asNsmError(thrown));
    if (!(thrown instanceof NsmError)) throw thrown;
    if (state.phase === 'established') {
      const kept = await keepPrevious(setup, context, state, thrown);
      if (!speaksOfWire(message)) return kept;
      return change(setup, context, kept, (stored) => inState(stored, State.DOWN));
    }
    setup.follow(setup.id, undefined);
    if (state.phase === 'closing' && built === undefined) return state;
    return dismiss(setup, context, state, built);
  }
}

/** Has the hop make what is asked for. */
async function build(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  message: Extract<Message, { type: 'request' }>,
): Promise<Intent> {
  const { preferences, closeAtMs, call, replaces } = message;
  const keeping = setup.keeper && {
    keeping: refreshedFor(closeAtMs - context.clock.nowMs()),
  };
  const previous = state.phase === 'established' ? state.intent : undefined;
  const isSure = state.phase === 'established' && state.isResumed !== true;
  const asked = withKnownBehind(message.connection, isSure ? previous?.connection : undefined);
  const connection = await withTokens(asked, call, setup.tokens);
  const reselect = isReselect(connection);
  setup.expect(setup.id);
  const result = await setup.hop.request({
    connection,
    preferences,
    previous,
    ...(previous === undefined && replaces !== undefined ? { replaces } : {}),
    reselect,
    call: previous === undefined || reselect ? toItsEnd(call, context) : call,
    // During a refresh what is established stays recorded as such: a crash must not cost a healthy wire.
    recordIntent: (memory) =>
      promise(setup, previous !== undefined, {
        connection: previous?.connection ?? connection,
        preferences,
        memory,
        closeAtMs,
        ...keeping,
        established: previous !== undefined,
      }),
  });
  const established: Connection = compact({ ...result.connection, state: State.UP }, setup.id);
  invariant(established.id === setup.id, `hop answered id ${established.id} for ${setup.id}`);
  return {
    connection: established,
    preferences: compact(preferences, setup.id),
    memory: result.memory,
    closeAtMs,
    ...keeping,
    established: true,
  };
}

/** Makes what was built the connection's state. */
async function keep(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  { intent, call }: { readonly intent: Intent; readonly call: Call },
): Promise<ConnectionState> {
  const isFirst = state.phase !== 'established';
  // Nobody has the answer, so nobody would ever close it: undo instead of waiting for the expiry.
  if (isFirst && isOver(call, context)) throw gaveUp(setup.id, 'while it was being built');
  await promise(setup, !isFirst, intent);
  context.timers.cancel('close');
  armExpiry(context, intent);
  setup.monitor.publish(ConnectionEventType.UPDATE, intent.connection, true);
  setup.follow(setup.id, intent.memory);
  if (isFirst) setup.log.info('established', { connectionId: setup.id });
  return transition(state, { phase: 'established', intent });
}

/** A failed Request leaves what works. */
async function keepPrevious(
  setup: ConnectionSetup,
  context: Context,
  state: Extract<ConnectionState, { phase: 'established' }>,
  error: NsmError,
): Promise<Extract<ConnectionState, { phase: 'established' }>> {
  setup.follow(setup.id, state.intent.memory);
  // It may have recorded what it was about to make.
  if (setup.table.get(setup.id) !== state.intent) await record(setup, state.intent);
  setup.log.warn('refresh failed', { connectionId: setup.id, error: describeError(error) });
  return state;
}

/** A Request that came to nothing. What it built is closed again; where it failed the hop has undone its part. */
async function dismiss(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  built?: Intent,
): Promise<ConnectionState> {
  if (built !== undefined) {
    const outcome = await closeOnce(setup, built, ownCall(setup, context), context);
    return ended(setup, context, state, { intent: built, outcome });
  }
  const recorded = setup.table.get(setup.id);
  try {
    await setup.table.delete(setup.id);
  } catch (thrown) {
    if (recorded === undefined) throw thrown;
    const outcome: Outcome = { kind: 'again', error: asNsmError(thrown) };
    return ended(setup, context, state, { intent: recorded, outcome });
  }
  return retireSoon(setup, context, state);
}

/** What happens to an established connection from outside; undefined: it is no news. */
function change(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  viewOf: (stored: Connection) => Connection | undefined,
): ConnectionState | Promise<ConnectionState> {
  if (state.phase !== 'established') return state;
  const view = viewOf(state.intent.connection);
  return view === undefined ? state : withConnection(setup, context, state, view);
}

function onNextHopChanged(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  message: NextHopChanged,
): ConnectionState | Promise<ConnectionState> {
  if (state.phase === 'established' && isClosedBehind(state.intent, message)) {
    return end(setup, context, state, 'expired, and the next hop has closed it');
  }
  return change(setup, context, state, (stored) => viewAfter(stored, message));
}

/**
 * Teardown never depends on another's life: where the next hop cannot be reached, or the wire not be removed, this
 * hop takes the closing over, and the caller is done.
 */
async function onClose(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  { call, by, replyTo }: Extract<Message, { type: 'close' }>,
): Promise<ConnectionState> {
  if (state.phase !== 'established') {
    replyTo.tell(undefined);
    return state.phase === 'idle' ? retireSoon(setup, context, state) : state;
  }
  // A hop that another one has taken the place of, and that hears of it late, ends its own part alone.
  if (by !== undefined && isPassedBy(state.intent.connection, by)) {
    replyTo.tell(undefined);
    return state;
  }
  const outcome = await closeOnce(setup, state.intent, call, context);
  const next = await ended(setup, context, state, { intent: state.intent, outcome });
  if (outcome.kind === 'over' && outcome.refusal !== undefined) replyTo.fail(outcome.refusal);
  else replyTo.tell(undefined);
  return next;
}

async function onExpired(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
): Promise<ConnectionState> {
  if (state.phase !== 'established') return state;
  const kept = await keepLonger(setup, context, state.intent);
  if (kept === undefined) return state;
  if (kept.intent === undefined) return end(setup, context, state, kept.reason);
  armExpiry(context, kept.intent);
  await record(setup, kept.intent);
  return { ...state, intent: kept.intent };
}

/** Ends the connection on this hop's own account. */
async function end(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  reason: string,
): Promise<ConnectionState> {
  if (state.phase !== 'established') return state;
  setup.log.info('closed by this hop', { connectionId: setup.id, reason });
  const outcome = await closeOnce(setup, state.intent, ownCall(setup, context), context);
  return ended(setup, context, state, { intent: state.intent, outcome });
}

async function onCloseDue(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
): Promise<ConnectionState> {
  if (state.phase !== 'closing') return state;
  const outcome = await closeOnce(setup, state.intent, ownCall(setup, context), context);
  return ended(setup, context, state, { intent: state.intent, outcome });
}

function closeOnce(
  setup: ConnectionSetup,
  intent: Intent,
  call: Call,
  context: Context,
): Promise<Outcome> {
  return tryToClose(setup, intent, { ...call, ending: context.signal }, context.clock);
}

/** After an attempt to close: over for the monitors, and either gone or to be closed again later. */
async function ended(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
  { intent, outcome }: { readonly intent: Intent; readonly outcome: Outcome },
): Promise<ConnectionState> {
  setup.follow(setup.id, undefined);
  if (state.phase === 'established') {
    setup.monitor.publish(ConnectionEventType.DELETE, state.intent.connection);
  }
  if (outcome.kind === 'over') {
    const { refusal } = outcome;
    if (refusal !== undefined) {
      const error = describeError(refusal);
      setup.log.warn('closing failed', { connectionId: setup.id, error });
    }
    return retireSoon(setup, context, state);
  }
  const attempts = state.phase === 'closing' ? state.attempts + 1 : 1;
  const over: Intent = { ...intent, established: false };
  if (setup.table.get(setup.id)?.established !== false) await record(setup, over);
  const closing = transition(state, { phase: 'closing', intent: over, attempts });
  return closeLater<Message>(context, closing, outcome.error, { type: 'closeDue' });
}

/** Everything is forgotten. The actor goes once nothing is queued behind. */
function retireSoon(
  setup: ConnectionSetup,
  context: Context,
  state: ConnectionState,
): ConnectionState {
  context.timers.cancelAll();
  setup.follow(setup.id, undefined);
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

async function withConnection(
  setup: ConnectionSetup,
  context: Context,
  state: Extract<ConnectionState, { phase: 'established' }>,
  connection: Connection,
): Promise<ConnectionState> {
  const intent: Intent = { ...state.intent, connection };
  // First: what a client heals by does not wait for the disk of every hop on its way.
  setup.monitor.publish(ConnectionEventType.UPDATE, connection);
  await record(setup, intent);
  return { ...state, intent };
}

function armExpiry(context: Context, intent: Intent): void {
  const delayMs = Math.max(0, intent.closeAtMs - context.clock.nowMs());
  context.timers.start('expiry', delayMs, { type: 'expired' });
}

function isOver(call: Call, context: Context): boolean {
  return call.signal.aborted || context.clock.nowMs() >= call.deadlineMs;
}

function gaveUp(connectionId: string, when: string): NsmError {
  return new NsmError('CANCELLED', `the caller gave the Request up ${when}`, { connectionId });
}

const allowed: Readonly<Record<ConnectionState['phase'], readonly ConnectionState['phase'][]>> = {
  idle: ['established', 'closing', 'idle', 'closed'],
  established: ['established', 'closing', 'idle'],
  closing: ['established', 'closing', 'idle'],
  closed: [],
};

function transition<Next extends ConnectionState>(state: ConnectionState, next: Next): Next {
  invariant(allowed[state.phase].includes(next.phase), `${state.phase} -> ${next.phase}`);
  return next;
}
