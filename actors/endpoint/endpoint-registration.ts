// One registered NetworkServiceEndpoint: registered, refreshed before it expires, registered again when the registry
// may have lost it, unregistered at the end. Replaces the reference's registry client chain (retry, heal, refresh).
// Invariants: at most one call to the registry at a time; a failure is tried again with growing, jittered
// pauses for ever and is visible in `status`; nothing is sent after the Unregister; results of an earlier try are ignored.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type {
  ActorContext,
  ActorRef,
  ActorSystem,
  AskOptions,
  Behavior,
  ReplyTo,
} from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { renewAfterMs, refreshAfterMs, retryAfterMs } from './registration-times.ts';
import { type RegistryCallsSetup, register, unregister, untilLost } from './registry-calls.ts';

export interface EndpointRegistrationSetup extends RegistryCallsSetup {
  /** As it is to be found: `url` under which it serves, no expiration. */
  readonly endpoint: NetworkServiceEndpoint;
  /** Registered before the endpoint; they stay when it goes. */
  readonly services: readonly NetworkService[];
  readonly wallClock: WallClock;
  /** Asks for a life of its own instead of the registry's, and renews it on its own account. */
  readonly lease?: { readonly lifeMs: number; readonly renewMs: number };
  readonly backoffMs?: number;
  readonly backoffMsMax?: number;
  /** At the end the entry stays: what hears of the process's end takes it out, or its expiry does. */
  readonly leavesEntry?: boolean;
  /** For the Unregister where the actor is stopped from outside. */
  readonly unregisterTimeoutMs?: number;
}

export interface RegistrationStatus {
  readonly phase: 'registering' | 'registered' | 'failing' | 'unregistering' | 'unregistered';
  /** Failures in a row. */
  readonly failures: number;
  /** Registrations and refreshes that succeeded. */
  readonly successes: number;
  readonly lastError?: NsmError;
  /** As the registry answered last. */
  readonly endpoint?: NetworkServiceEndpoint;
}

/** The registration as its owner sees it. */
export interface EndpointRegistration {
  readonly ref: ActorRef<RegistrationCommand>;
  readonly status: RegistrationStatus;
  /** Waits for the first success. Errors: DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE (stopped). */
  registered(options: AskOptions): Promise<NetworkServiceEndpoint>;
  /** Unregisters and ends; a registry that does not answer in time is left to the expiry. */
  stop(timeoutMs: number): Promise<void>;
}

export type RegistrationCommand =
  | { readonly type: 'whenRegistered'; readonly replyTo: ReplyTo<NetworkServiceEndpoint> }
  | { readonly type: 'unregister'; readonly timeoutMs: number; readonly replyTo: ReplyTo<void> };

type Message =
  | RegistrationCommand
  | { readonly type: 'registerDue'; readonly withServices: boolean }
  | {
      readonly type: 'registered';
      readonly generation: number;
      readonly endpoint: NetworkServiceEndpoint;
    }
  | { readonly type: 'registerFailed'; readonly generation: number; readonly error: NsmError }
  | { readonly type: 'registryLost'; readonly generation: number; readonly why: string }
  | { readonly type: 'calmDue' }
  | { readonly type: 'unregistered'; readonly replyTo: ReplyTo<void> };

type Context = ActorContext<Message>;

interface State {
  readonly status: RegistrationStatus;
  /** Raised by every try, so that the end of an older one is recognised. */
  readonly generation: number;
  readonly call: { readonly abort: AbortController; readonly ended: Promise<void> } | undefined;
  readonly watch: { readonly abort: AbortController; readonly generation: number } | undefined;
  /** Watches lost in a row; each makes the next registration wait longer. */
  readonly losses: number;
  readonly waiting: readonly ReplyTo<NetworkServiceEndpoint>[];
  readonly services: readonly NetworkService[];
}

const waitingMax = 1_000;
/** A registry that was not lost for this long counts as steady again. */
const calmAfterMs = 60_000;

export function spawnEndpointRegistration(
  system: Pick<ActorSystem, 'spawn' | 'ask'>,
  setup: EndpointRegistrationSetup,
  name: string,
): EndpointRegistration {
  let status: RegistrationStatus = { phase: 'registering', failures: 0, successes: 0 };
  // What an earlier life of the actor left open is ended by the next one.
  let open: State | undefined;
  const keep = (state: State): State => {
    status = state.status;
    open = state;
    return state;
  };
  const behavior: Behavior<State, Message> = {
    initial(context) {
      if (open !== undefined) abortAll(open);
      context.self.tell({ type: 'registerDue', withServices: true });
      return keep(start(setup));
    },
    receive: (state, message, context) => keep(receive(setup, state, message, context)),
    async onStop(state, context) {
      abortAll(state);
      await unregisterAtStop(setup, state, context);
      for (const each of state.waiting) each.fail(stopped());
    },
    supervision: supervision.endpointRegistration,
  };
  const ref = system.spawn(behavior, name);
  return {
    ref,
    get status() {
      return status;
    },
    registered: (options) =>
      system.ask<RegistrationCommand, NetworkServiceEndpoint>(
        ref,
        (replyTo) => ({ type: 'whenRegistered', replyTo }),
        options,
      ),
    stop: (timeoutMs) =>
      system.ask<RegistrationCommand, void>(
        ref,
        (replyTo) => ({ type: 'unregister', timeoutMs, replyTo }),
        { timeoutMs: 2 * timeoutMs + 1_000 },
      ),
  };
}

function start(setup: EndpointRegistrationSetup): State {
  return {
    status: { phase: 'registering', failures: 0, successes: 0 },
    generation: 0,
    call: undefined,
    watch: undefined,
    losses: 0,
    waiting: [],
    services: setup.services,
  };
}

function receive(
  setup: EndpointRegistrationSetup,
  state: State,
  message: Message,
  context: Context,
): State {
  switch (message.type) {
    case 'registerDue':
      return onRegisterDue(setup, state, message.withServices, context);
    case 'registered':
      return message.generation === state.generation
        ? onRegistered(setup, state, message.endpoint, context)
        : state;
    case 'registerFailed':
      return message.generation === state.generation
        ? onRegisterFailed(setup, state, message.error, context)
        : state;
    case 'registryLost':
      return onRegistryLost(setup, state, message, context);
    case 'calmDue':
      return { ...state, losses: 0 };
    case 'whenRegistered':
      return onWhenRegistered(state, message.replyTo);
    case 'unregister':
      return onUnregister(setup, state, message, context);
    case 'unregistered':
      message.replyTo.tell();
      context.stop();
      return { ...state, status: { ...state.status, phase: 'unregistered' } };
  }
}

function onRegisterDue(
  setup: EndpointRegistrationSetup,
  state: State,
  withServices: boolean,
  context: Context,
): State {
  if (isEnding(state) || state.call !== undefined) return state;
  const generation = state.generation + 1;
  const abort = new AbortController();
  const endpoint = asAsked(setup, state);
  const services = withServices ? state.services : [];
  const call = { endpoint, services, signal: abort.signal, log: context.log };
  const ended = register(setup, call).then(
    (answer) => context.self.tell({ type: 'registered', generation, endpoint: answer }),
    (error: unknown) =>
      context.self.tell({ type: 'registerFailed', generation, error: asNsmError(error) }),
  );
  return { ...state, generation, call: { abort, ended } };
}

function asAsked(setup: EndpointRegistrationSetup, { status }: State): NetworkServiceEndpoint {
  const { endpoint, lease, wallClock } = setup;
  const known = status.endpoint?.initialRegistrationTime;
  const ends = lease && timestampFromEpochMs(wallClock.epochMs() + lease.lifeMs);
  return {
    ...endpoint,
    ...(known === undefined ? {} : { initialRegistrationTime: known }),
    ...(ends === undefined ? {} : { expirationTime: ends }),
  };
}

function onRegistered(
  setup: EndpointRegistrationSetup,
  state: State,
  endpoint: NetworkServiceEndpoint,
  context: Context,
): State {
  if (isEnding(state)) return { ...state, call: undefined };
  const { status } = state;
  if (status.phase !== 'registered') {
    context.log.info('endpoint registered', { endpoint: endpoint.name });
  }
  const delayMs =
    setup.lease === undefined
      ? refreshAfterMs(endpoint, setup.wallClock.epochMs(), context.random)
      : renewAfterMs(setup.lease.renewMs, context.random);
  context.timers.start('register', delayMs, { type: 'registerDue', withServices: false });
  for (const each of state.waiting) each.tell(endpoint);
  const watch = state.watch ?? watchOwnName(setup, state.generation, context);
  return {
    ...state,
    call: undefined,
    waiting: [],
    watch,
    status: { phase: 'registered', failures: 0, successes: status.successes + 1, endpoint },
  };
}

function onRegisterFailed(
  setup: EndpointRegistrationSetup,
  state: State,
  error: NsmError,
  context: Context,
): State {
  if (isEnding(state)) return { ...state, call: undefined };
  const failures = state.status.failures + 1;
  const delayMs = retryAfterMs(backoff(setup), failures, context.random);
  // Once per outage is news; each try is not.
  const fields = { endpoint: setup.endpoint.name, failures, error: describeError(error) };
  if (failures === 1) context.log.warn('endpoint could not be registered, tried again', fields);
  else context.log.debug('endpoint still could not be registered', fields);
  context.timers.start('register', delayMs, { type: 'registerDue', withServices: true });
  return {
    ...state,
    call: undefined,
    status: { ...state.status, phase: 'failing', failures, lastError: error },
  };
}

/** The registry may have lost its data: the next Register says who we are, initial registration time included. */
function onRegistryLost(
  setup: EndpointRegistrationSetup,
  state: State,
  message: { readonly generation: number; readonly why: string },
  context: Context,
): State {
  if (isEnding(state) || state.watch?.generation !== message.generation) return state;
  state.watch.abort.abort();
  const losses = state.losses + 1;
  context.log.info('endpoint is registered again', { reason: message.why, losses });
  if (state.status.phase === 'registered') {
    const delayMs = retryAfterMs(backoff(setup), losses, context.random);
    context.timers.start('register', delayMs, { type: 'registerDue', withServices: true });
  }
  context.timers.start('calm', calmAfterMs, { type: 'calmDue' });
  return { ...state, watch: undefined, losses };
}

function onWhenRegistered(state: State, replyTo: ReplyTo<NetworkServiceEndpoint>): State {
  const { endpoint, phase } = state.status;
  if (phase === 'registered' && endpoint !== undefined) {
    replyTo.tell(endpoint);
    return state;
  }
  if (isEnding(state)) {
    replyTo.fail(stopped());
    return state;
  }
  if (state.waiting.length >= waitingMax) {
    replyTo.fail(new NsmError('RESOURCE_EXHAUSTED', 'too many wait for this registration'));
    return state;
  }
  return { ...state, waiting: [...state.waiting, replyTo] };
}

function onUnregister(
  setup: EndpointRegistrationSetup,
  state: State,
  message: { readonly timeoutMs: number; readonly replyTo: ReplyTo<void> },
  context: Context,
): State {
  const { replyTo, timeoutMs } = message;
  if (isEnding(state)) {
    replyTo.tell();
    return state;
  }
  context.timers.cancelAll();
  abortAll(state);
  for (const each of state.waiting) each.fail(stopped());
  void leave(setup, state, timeoutMs)
    .catch((error: unknown) => {
      context.log.warn('endpoint was not unregistered, it expires in the registry', {
        endpoint: setup.endpoint.name,
        error: describeError(error),
      });
    })
    .then(() => context.self.tell({ type: 'unregistered', replyTo }));
  return {
    ...state,
    waiting: [],
    watch: undefined,
    status: { ...state.status, phase: 'unregistering' },
  };
}

function watchOwnName(
  setup: EndpointRegistrationSetup,
  generation: number,
  context: Context,
): State['watch'] {
  const abort = new AbortController();
  const { signal } = abort;
  const onReplaced = (): void => context.self.tell({ type: 'registerDue', withServices: false });
  const watch = { name: setup.endpoint.name, signal, onReplaced };
  void untilLost({ ...setup, clock: context.clock }, watch).then((why) => {
    if (!signal.aborted) context.self.tell({ type: 'registryLost', generation, why });
  });
  return { abort, generation };
}

async function leave(
  setup: EndpointRegistrationSetup,
  state: State,
  timeoutMs: number,
): Promise<void> {
  // A Register that is still on its way would bring the entry back.
  await state.call?.ended;
  if (setup.leavesEntry === true) return;
  await unregister(setup, state.status.endpoint ?? setup.endpoint, timeoutMs);
}

async function unregisterAtStop(
  setup: EndpointRegistrationSetup,
  state: State,
  context: Context,
): Promise<void> {
  if (isEnding(state) || state.generation === 0) return;
  try {
    await leave(setup, state, setup.unregisterTimeoutMs ?? 1_000);
  } catch (error) {
    context.log.debug('endpoint was not unregistered, it expires', { error: describeError(error) });
  }
}

function isEnding({ status }: State): boolean {
  return status.phase === 'unregistering' || status.phase === 'unregistered';
}

function abortAll(state: State): void {
  state.call?.abort.abort();
  state.watch?.abort.abort();
}

function backoff(setup: EndpointRegistrationSetup): { backoffMs: number; backoffMsMax: number } {
  return { backoffMs: setup.backoffMs ?? 200, backoffMsMax: setup.backoffMsMax ?? 5_000 };
}

function stopped(): NsmError {
  return new NsmError('UNAVAILABLE', 'the registration was stopped');
}
