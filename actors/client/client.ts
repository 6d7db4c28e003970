// One requested network service of a client (NSC), kept up: request, refresh, repair, reselect, move, close. It is the
// only hop that reselects. Invariants: one operation at a time; every failure backs off with jitter; a close waits for
// no retry and no try, which run beside the actor; a wire that carries packets is never left for the control plane's
// sake; the connection's id and path stay the same for its whole life, so that every hop recognises it.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { NextHopChanged } from '../connection/connection.ts';
import type { Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import { type Asked, type Attempt, type Outcome, startAttempt } from './attempt.ts';
import {
  backoffMs,
  type ClientSetup,
  type Context,
  type Equipped,
  type Message,
} from './client-setup.ts';
import {
  type ClientState,
  type Established,
  type HealingCause,
  type Live,
  type Repairing,
  type Requesting,
  transition,
} from './client-state.ts';
import { depart, mayHaveMade } from './departure.ts';
import {
  afterFailedRepair,
  refusesConnection,
  healingBegins,
  type Remedy,
  remedyFor,
} from './heal-decision.ts';
import { failedMoves, hasStayed, move, moveLater, showGoodWill, stay } from './moving.ts';
import { isAboutOtherEnd, isAboutSame, isEndOf } from './next-hop-entry.ts';
import { recoverConnection } from './recover.ts';
import { planRefresh } from './refresh-plan.ts';
import { retryDelayMs } from './retry-delay.ts';
import { createWireWatch } from './wire-watch.ts';

type Answered = Extract<Outcome, { answer: Connection }>;
type Unanswered = Extract<Outcome, { error: NsmError }>;

export function clientBehavior(given: ClientSetup): Behavior<ClientState, Message> {
  const setup: Equipped = { ...given, wire: createWireWatch(given.liveness) };
  return {
    supervision: supervision.client,
    initial: (context) => {
      setup.wire.stop();
      context.timers.start('request', 0, { type: 'requestDue' });
      return {
        phase: 'requesting',
        recovered: undefined,
        recovers: true,
        mayBeHeld: false,
        attempts: 0,
        healing: healingBegins,
      };
    },
    receive: (state, message, context) => {
      if (message.type === 'close') return onClose(setup, context, state, message.replyTo);
      if (message.type === 'attempted') return onAttempted(setup, context, state, message);
      if (state.phase === 'closed') return state;
      // A dead wire waits for nothing.
      if (message.type === 'judged' || condemns(setup, state, message)) {
        return onJudged(setup, context, state);
      }
      if (state.attempt !== undefined) {
        context.stash();
        return state;
      }
      switch (message.type) {
        case 'requestDue':
          return onRequestDue(setup, context, state);
        case 'refreshDue':
          return state.phase === 'established' ? attempt(setup, context, state) : state;
        case 'moveDue':
          return onMoveDue(setup, context, state);
        case 'steady':
          return state.phase === 'established' ? { ...state, heals: 0 } : state;
        case 'nextHopChanged':
          return onNextHopChanged(setup, context, state, message);
        case 'nextHopLost':
          return onControlPlaneLost(setup, context, state);
      }
    },
    onStop: (state) => {
      setup.wire.stop();
      if (state.phase !== 'closed') state.attempt?.giveUp();
    },
  };
}

function onRequestDue(setup: Equipped, context: Context, state: Live): ClientState {
  if (state.phase === 'established') return state;
  const isWell = setup.wire.verdict.kind === 'alive' && remedyNow(setup, state) === 'none';
  return state.phase === 'healing' && isWell
    ? resume(setup, context, state)
    : attempt(setup, context, state);
}

function onMoveDue(setup: Equipped, context: Context, state: Live): ClientState {
  if (state.phase !== 'established' || state.moving === undefined) return state;
  return attempt(setup, context, { ...state, moving: { ...state.moving, isTrying: true } });
}

function attempt(setup: Equipped, context: Context, state: Live): ClientState {
  const begun = startAttempt(setup, context.clock, (signal) =>
    asked(setup, context, state, signal),
  );
  void begun.outcome.then((outcome) =>
    context.self.tell({ type: 'attempted', attempt: begun, outcome }),
  );
  return { ...state, attempt: begun };
}

async function asked(
  setup: Equipped,
  context: Context,
  state: Live,
  signal: AbortSignal,
): Promise<Asked> {
  switch (state.phase) {
    case 'requesting': {
      const recover = state.recovers && state.recovered === undefined;
      const known = recover ? await recoverConnection(setup, context, signal) : state.recovered;
      return { known, reselects: known?.state === State.DOWN || state.healing.doubtsEndpoint };
    }
    case 'established':
      return { known: state.connection, reselects: state.moving?.isTrying === true };
    case 'healing':
      await setup.wire.confirm();
      return { known: state.connection, reselects: remedyNow(setup, state) === 'reselect' };
  }
}

/** What helps, by what is known of the wire now. */
function remedyNow({ wire }: Equipped, state: Live): Remedy {
  const controlPlane = state.phase === 'healing' ? state.controlPlane : 'up';
  const isDoubted = state.phase === 'healing' && state.healing.doubtsEndpoint;
  const endpoint = isDoubted ? 'doubted' : 'trusted';
  return remedyFor({ dataPlane: wire.verdict.kind, controlPlane, endpoint });
}

function onAttempted(
  setup: Equipped,
  context: Context,
  state: ClientState,
  { attempt: made, outcome }: Extract<Message, { type: 'attempted' }>,
): ClientState {
  // One of an earlier life of this actor says nothing about what runs now.
  if (state.phase === 'closed' || state.attempt !== made) return state;
  context.unstashAll();
  const { attempt: _, ...rest } = state;
  let next: Established | Repairing;
  if ('answer' in outcome) next = answered(setup, context, rest, { made, outcome });
  else if (rest.phase === 'established') next = notKept(setup, context, rest, outcome.error);
  else return failed(setup, context, rest, { made, outcome });
  // The wire may have died while the try was under way.
  return next.phase === 'established' ? onJudged(setup, context, next) : next;
}

function answered(
  setup: Equipped,
  context: Context,
  state: Live,
  { made, outcome }: { readonly made: Attempt; readonly outcome: Answered },
): Established {
  const { known, answer: connection } = outcome;
  const isNew = state.phase === 'requesting' || made.reselects === true;
  const next = established(setup, context, state, { connection, isNew });
  if (hasStayed(setup, state, connection))
    return moveLater(setup, context, next, failedMoves(state));
  const wasAsked = state.phase === 'requesting' && known?.state === State.RESELECT_REQUESTED;
  return wasAsked ? move(setup, context, next) : next;
}

/** A refresh or a move has failed; the connection is as it was. */
function notKept(
  setup: Equipped,
  context: Context,
  state: Established,
  lastError: NsmError,
): Established | Repairing {
  const error = describeError(lastError);
  if (state.moving?.isTrying === true) {
    context.log.warn('no other Endpoint is to be had; the wire stays as it is', { error });
    if (failedMoves(state) === 0) showGoodWill(context);
    return moveLater(setup, context, state, failedMoves(state));
  }
  context.log.warn('refresh failed', { error });
  // Given up for the wire's sake.
  if (lastError.code === 'CANCELLED' && setup.wire.verdict.kind === 'dead') return state;
  return heal(setup, context, state, { cause: 'control plane', lastError });
}

function failed(
  setup: Equipped,
  context: Context,
  state: Requesting | Repairing,
  { made, outcome }: { readonly made: Attempt; readonly outcome: Unanswered },
): ClientState {
  const { error: lastError } = outcome;
  const attempts = state.attempts + 1;
  const next = { ...afterFailure(state, made, outcome), attempts };
  const hasReselected = made.reselects === true;
  // Another remedy is tried at once; the same once more has to wait.
  const isOther = !hasReselected && remedyNow(setup, next) === 'reselect';
  const delayMs = isOther ? 0 : retryDelayMs(lastError, () => backoffMs(setup, context, attempts));
  context.log.warn('request failed', {
    networkService: setup.networkService,
    attempts,
    retryInMs: Math.round(delayMs),
    error: describeError(lastError),
  });
  context.timers.start('request', delayMs, { type: 'requestDue' });
  if (next.phase === 'healing') return show(setup, { ...next, hasReselected, lastError });
  setup.onStatus({ phase: 'requesting', attempts, lastError });
  return next;
}

function afterFailure(
  state: Requesting | Repairing,
  made: Attempt,
  { known, error }: Unanswered,
): Requesting | Repairing {
  if (known === undefined) {
    const isLost = state.phase === 'requesting' && mayHaveMade(made, error);
    return isLost ? { ...state, mayBeHeld: true } : state;
  }
  // A try that was given up says nothing about whom it asked.
  if (error.code === 'CANCELLED') return state;
  const healing = afterFailedRepair(state.healing, known, error);
  if (state.phase === 'healing') return { ...state, healing };
  // What was true in the last life need not be true now; but to begin anew costs the interface that it left.
  const isRefused = state.healing.doubtsEndpoint && refusesConnection(error);
  if (!isRefused) return { ...state, healing, recovered: known };
  return { ...state, healing: healingBegins, recovered: undefined, recovers: false };
}

function onNextHopChanged(
  setup: Equipped,
  context: Context,
  state: Live,
  { entry, event }: NextHopChanged,
): ClientState {
  if (state.phase === 'requesting' || !isAboutSame(entry, state.connection)) return state;
  if (event === ConnectionEventType.DELETE || entry.state === State.DOWN) {
    if (isAboutOtherEnd(entry, state.connection)) return state;
    return onControlPlaneLost(setup, context, state);
  }
  if (state.phase !== 'established') return onNewsWhileHealing(setup, context, state, entry);
  switch (entry.state) {
    case State.REFRESH_REQUESTED:
      context.timers.start('refresh', 0, { type: 'refreshDue' });
      return state;
    case State.RESELECT_REQUESTED:
      if (state.moving === undefined) return move(setup, context, state);
      if (failedMoves(state) > 0) showGoodWill(context);
      return state;
    case State.UP:
      return stay(context, state);
    default:
      return state;
  }
}

/** The way is there again: a repair may succeed now, whatever pause the failures before have led to. */
function onNewsWhileHealing(
  setup: Equipped,
  context: Context,
  state: Repairing,
  { state: said }: Connection,
): Repairing {
  if (said !== State.UP || remedyNow(setup, state) !== 'repair') return state;
  context.timers.start('request', backoffMs(setup, context, 1), { type: 'requestDue' });
  return state;
}

function onControlPlaneLost(setup: Equipped, context: Context, state: Live): ClientState {
  if (state.phase === 'requesting') return state;
  if (state.phase === 'healing') return { ...state, controlPlane: 'lost' };
  return heal(setup, context, state, { cause: 'control plane' });
}

/** The verdict about the wire may be another one. */
function onJudged(setup: Equipped, context: Context, state: Live): ClientState {
  const { verdict } = setup.wire;
  if (state.phase === 'requesting' || verdict.kind === 'unknown') return state;
  if (verdict.kind === 'dead' && state.attempt !== undefined) {
    // Every hop would wait for what is under way; a healing that is still about to ask asks for the right thing.
    const { reselects } = state.attempt;
    const isRight = reselects ?? state.phase === 'healing';
    if (!isRight) state.attempt.giveUp();
    return state;
  }
  if (state.attempt !== undefined) return state;
  if (state.phase === 'established') {
    if (verdict.kind === 'alive') return state;
    return heal(setup, context, state, { cause: verdict.what, lastError: deadError(verdict) });
  }
  const isNews = verdict.kind === 'dead' ? !state.hasReselected : state.controlPlane === 'up';
  if (isNews) context.timers.start('request', 0, { type: 'requestDue' });
  return state;
}

/** Whether a hop has seen the far end of this very wire go, which ends the wire. */
function condemns({ wire }: Equipped, state: Live, message: Message): boolean {
  if (state.phase === 'requesting' || message.type !== 'nextHopChanged') return false;
  if (!isEndOf(message.entry, state.connection)) return false;
  wire.condemn('the namespace of the Endpoint has ended');
  return true;
}

function deadError({ what, found }: { readonly what: string; readonly found: string }): NsmError {
  return new NsmError('UNAVAILABLE', `the ${what} does not answer`, { rule: 'liveness', found });
}

function heal(
  setup: Equipped,
  context: Context,
  state: Established,
  trouble: { readonly cause: HealingCause; readonly lastError?: NsmError },
): Repairing {
  context.log.info('healing', { networkService: setup.networkService, cause: trouble.cause });
  for (const name of ['refresh', 'move', 'steady']) context.timers.cancel(name);
  // At once, but not again and again where what heals does not last.
  const delayMs = state.heals === 0 ? 0 : backoffMs(setup, context, state.heals);
  context.timers.start('request', delayMs, { type: 'requestDue' });
  const { connection, heals, moving } = state;
  const next: Repairing = {
    phase: 'healing',
    connection,
    ...trouble,
    controlPlane: trouble.cause === 'control plane' ? 'lost' : 'up',
    heals: heals + 1,
    attempts: 0,
    healing: healingBegins,
    hasReselected: false,
    ...(moving === undefined ? {} : { moving }),
  };
  return show(setup, transition(state, next));
}

function show(setup: Equipped, state: Repairing): Repairing {
  const { connection, cause, attempts, lastError } = state;
  setup.onStatus({
    phase: 'healing',
    connection,
    cause,
    attempts,
    ...(lastError === undefined ? {} : { lastError }),
  });
  return state;
}

async function onClose(
  setup: Equipped,
  context: Context,
  state: ClientState,
  replyTo: ReplyTo<void>,
): Promise<ClientState> {
  context.timers.cancelAll();
  setup.wire.stop();
  setup.monitors.follow(setup.connectionId, undefined, () => {});
  try {
    if (state.phase !== 'closed') await depart(setup, context, state);
    replyTo.tell(undefined);
  } catch (error) {
    replyTo.fail(asNsmError(error));
  }
  setup.onStatus({ phase: 'closed' });
  context.stop();
  return transition(state, { phase: 'closed' });
}

/** The wire carries packets again, and nothing else was wrong: nobody needs to be asked. */
function resume(setup: Equipped, context: Context, state: Repairing): ClientState {
  return established(setup, context, state, { connection: state.connection, isNew: false });
}

function established(
  setup: Equipped,
  context: Context,
  state: Live,
  { connection, isNew }: { readonly connection: Connection; readonly isNew: boolean },
): Established {
  const before = state.phase === 'established' ? state.hurried : 0;
  const { delayMs, hurried } = planRefresh(connection, setup.wallClock.epochMs(), before);
  // Refreshing up to a tenth early keeps clients that started together from staying together.
  const jitter = 1 - context.random.integer(1000) / 10_000;
  context.timers.cancel('request');
  context.timers.start('refresh', delayMs * jitter, { type: 'refreshDue' });
  context.timers.start('steady', setup.retry.mostMs, { type: 'steady' });
  setup.monitors.follow(setup.connectionId, setup.connectTo, (message) =>
    context.self.tell(message),
  );
  setup.wire.follow(connection, isNew, () => context.self.tell({ type: 'judged' }));
  if (state.phase !== 'established') {
    context.log.info('established', {
      networkService: setup.networkService,
      endpoint: connection.networkServiceEndpointName,
    });
  }
  setup.onStatus({ phase: 'established', connection });
  const heals = state.phase === 'requesting' ? 0 : state.heals;
  const next: Established = { phase: 'established', connection, hurried, heals };
  transition(state, next);
  const moving = state.phase === 'requesting' || isNew ? undefined : state.moving;
  if (moving === undefined) return next;
  return state.phase === 'established' ? { ...next, moving } : move(setup, context, next);
}
