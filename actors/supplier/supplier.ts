// The supplier: starts Endpoints for clients that would get nobody, one per name, and looks after what it started.
// NSM concept: nse-supplier-k8s (createpod). Invariants: at most one start or clean-up per name at a time, and nothing is
// started under a name before what is left of the last one is gone; the number of Endpoints is bounded; one that ends
// at once is not started again without a growing pause; whoever asks is answered when the start is done, not later.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type {
  EndedEndpoint,
  EndpointSupplier,
  SuppliedEndpoint,
} from '../../protocols/ports/endpoint-supplier.ts';
import type { ActorContext, Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';

/** What became of a request for an Endpoint. */
export interface Supply {
  readonly endpoint: SuppliedEndpoint;
  /** Since it was started, as far as this life of the supplier knows. */
  readonly ageMs: number;
}

export type SupplierMessage = {
  readonly type: 'supply';
  readonly connection: Connection;
  readonly replyTo: ReplyTo<Supply>;
};

type Message =
  | SupplierMessage
  | { readonly type: 'started'; readonly name: string; readonly endpoint: SuppliedEndpoint }
  | { readonly type: 'startFailed'; readonly name: string; readonly error: NsmError }
  | { readonly type: 'ended'; readonly ended: EndedEndpoint }
  | { readonly type: 'clearDue'; readonly name: string }
  | { readonly type: 'cleared'; readonly name: string; readonly error?: NsmError }
  | { readonly type: 'forgetDue'; readonly name: string };
type Context = ActorContext<Message>;

export interface SupplierSetup {
  readonly supplier: EndpointSupplier;
  /** Endpoints at a time, those that are being started or cleared included. */
  readonly endpointsMax: number;
  /** Takes the entry of an Endpoint that has ended out of the registry; best effort, within the time given. */
  readonly unregister: (name: string, timeoutMs: number) => Promise<void>;
}

type Entry =
  | {
      readonly phase: 'starting';
      readonly failures: number;
      readonly waiting: readonly ReplyTo<Supply>[];
    }
  | {
      readonly phase: 'running';
      readonly failures: number;
      readonly endpoint: SuppliedEndpoint;
      readonly sinceMs: number;
    }
  | { readonly phase: 'clearing'; readonly failures: number; readonly how: string }
  | {
      readonly phase: 'resting';
      readonly failures: number;
      readonly how: string;
      readonly untilMs: number;
    };

type State = ReadonlyMap<string, Entry>;

const startTimeoutMs = 10_000;
const clearTimeoutMs = 5_000;
const clearAgainMs = 2_000;
const waitingMax = 1_000;
/** A clean end after this long, or any end after the other, says nothing against starting again. */
const cleanAfterMs = 1_000;
const healthyAfterMs = 30_000;
/** Pause after a first bad end, doubled with each further one up to the longest. */
const restMs = 500;
const restMsMax = 60_000;

export function supplierBehavior(setup: SupplierSetup): Behavior<State, Message> {
  let stopWatching: (() => void) | undefined;
  return {
    supervision: supervision.supplier,
    initial: (context) => {
      stopWatching?.();
      stopWatching = setup.supplier.watch((ended) => context.self.tell({ type: 'ended', ended }));
      const sinceMs = context.clock.nowMs();
      const entries = setup.supplier
        .running()
        .map((endpoint) => [endpoint.name, running(endpoint, sinceMs)] as const);
      return new Map<string, Entry>(entries);
    },
    receive: (state, message, context) => {
      switch (message.type) {
        case 'supply':
          return onSupply(setup, state, message, context);
        case 'started':
          return onStarted(state, message, context);
        case 'startFailed':
          return onStartFailed(state, message, context);
        case 'ended':
          return onEnded(setup, state, message.ended, context);
        case 'clearDue':
          return onClearDue(setup, state, message.name, context);
        case 'cleared':
          return onCleared(state, message, context);
        case 'forgetDue':
          return without(state, message.name);
      }
    },
    onStop: (state) => {
      stopWatching?.();
      for (const entry of state.values()) {
        if (entry.phase !== 'starting') continue;
        for (const each of entry.waiting) each.fail(stopping());
      }
    },
  };
}

const running = (endpoint: SuppliedEndpoint, sinceMs: number, failures = 0): Entry => ({
  phase: 'running',
  failures,
  endpoint,
  sinceMs,
});

function onSupply(
  setup: SupplierSetup,
  state: State,
  { connection, replyTo }: SupplierMessage,
  context: Context,
): State {
  let name: string;
  try {
    name = setup.supplier.nameFor(connection);
  } catch (thrown) {
    replyTo.fail(asNsmError(thrown));
    return state;
  }
  const entry = state.get(name);
  switch (entry?.phase) {
    case undefined:
      if (state.size >= setup.endpointsMax) {
        replyTo.fail(tooMany(setup, state, name));
        return state;
      }
      return start(setup, state, { name, connection, replyTo, failures: 0 }, context);
    case 'starting':
      if (entry.waiting.length >= waitingMax) replyTo.fail(busy(name, 'it is being started'));
      else return withEntry(state, name, { ...entry, waiting: [...entry.waiting, replyTo] });
      return state;
    case 'running':
      replyTo.tell({ endpoint: entry.endpoint, ageMs: context.clock.nowMs() - entry.sinceMs });
      return state;
    case 'clearing':
      replyTo.fail(busy(name, `it ended (${entry.how}) and is being cleared away`));
      return state;
    case 'resting':
      if (context.clock.nowMs() < entry.untilMs) {
        replyTo.fail(resting(name, entry, context.clock.nowMs()));
        return state;
      }
      context.timers.cancel(`forget ${name}`);
      return start(setup, state, { name, connection, replyTo, failures: entry.failures }, context);
  }
}

function start(
  setup: SupplierSetup,
  state: State,
  order: {
    readonly name: string;
    readonly connection: Connection;
    readonly replyTo: ReplyTo<Supply>;
    readonly failures: number;
  },
  context: Context,
): State {
  const { name, connection, replyTo, failures } = order;
  const { self, signal } = context;
  void setup.supplier.start(connection, { timeoutMs: startTimeoutMs, signal }).then(
    (endpoint) => self.tell({ type: 'started', name, endpoint }),
    (error: unknown) => self.tell({ type: 'startFailed', name, error: asNsmError(error) }),
  );
  return withEntry(state, name, { phase: 'starting', failures, waiting: [replyTo] });
}

function onStarted(
  state: State,
  { name, endpoint }: Extract<Message, { type: 'started' }>,
  context: Context,
): State {
  const entry = state.get(name);
  if (entry?.phase !== 'starting') return state;
  context.log.info('endpoint started', { endpoint: name, what: endpoint.what });
  for (const each of entry.waiting) each.tell({ endpoint, ageMs: 0 });
  return withEntry(state, name, running(endpoint, context.clock.nowMs(), entry.failures));
}

function onStartFailed(
  state: State,
  { name, error }: Extract<Message, { type: 'startFailed' }>,
  context: Context,
): State {
  const entry = state.get(name);
  if (entry?.phase !== 'starting') return state;
  context.log.error('endpoint could not be started', {
    endpoint: name,
    error: describeError(error),
  });
  for (const each of entry.waiting) each.fail(error);
  return rest(state, name, { failures: entry.failures + 1, how: error.message }, context);
}

function onEnded(
  setup: SupplierSetup,
  state: State,
  { name, how, isClean }: EndedEndpoint,
  context: Context,
): State {
  const entry = state.get(name);
  if (entry?.phase === 'clearing') return state;
  if (entry?.phase === 'starting') {
    for (const each of entry.waiting) each.fail(busy(name, `it ended at once: ${how}`));
  }
  const sinceMs = entry?.phase === 'running' ? entry.sinceMs : context.clock.nowMs();
  // What ended while no supplier ran has lived long enough.
  const livedMs = entry === undefined ? Infinity : context.clock.nowMs() - sinceMs;
  const isGood = isClean && livedMs >= cleanAfterMs;
  const before = livedMs >= healthyAfterMs ? 0 : (entry?.failures ?? 0);
  const failures = isGood ? 0 : before + 1;
  const fields = { endpoint: name, how, livedMs };
  if (isGood) context.log.info('endpoint ended', fields);
  else context.log.warn('endpoint ended badly', fields);
  return clear(setup, withEntry(state, name, { phase: 'clearing', failures, how }), name, context);
}

/** Out of the registry first, so that nobody is led to what is not there any more. */
function clear(setup: SupplierSetup, state: State, name: string, context: Context): State {
  const { self, log, signal } = context;
  const run = async (): Promise<void> => {
    try {
      await setup.unregister(name, clearTimeoutMs);
    } catch (error) {
      log.warn('endpoint that ended was not unregistered, it expires there', {
        endpoint: name,
        error: describeError(error),
      });
    }
    await setup.supplier.remove(name, { timeoutMs: clearTimeoutMs, signal });
  };
  void run().then(
    () => self.tell({ type: 'cleared', name }),
    (error: unknown) => self.tell({ type: 'cleared', name, error: asNsmError(error) }),
  );
  return state;
}

function onClearDue(setup: SupplierSetup, state: State, name: string, context: Context): State {
  return state.get(name)?.phase === 'clearing' ? clear(setup, state, name, context) : state;
}

function onCleared(
  state: State,
  { name, error }: Extract<Message, { type: 'cleared' }>,
  context: Context,
): State {
  const entry = state.get(name);
  if (entry?.phase !== 'clearing') return state;
  if (error !== undefined) {
    context.log.error('what is left of an endpoint could not be removed, tried again', {
      endpoint: name,
      error: describeError(error),
    });
    context.timers.start(`clear ${name}`, clearAgainMs, { type: 'clearDue', name });
    return state;
  }
  return entry.failures === 0 ? without(state, name) : rest(state, name, entry, context);
}

/** Not started again before a pause; forgotten, with its failures, when nobody asks for as long again. */
function rest(
  state: State,
  name: string,
  { failures, how }: { readonly failures: number; readonly how: string },
  context: Context,
): State {
  const fullMs = Math.min(restMsMax, restMs * 2 ** Math.min(failures - 1, 16));
  const pauseMs = fullMs * (1 - context.random.integer(1000) / 4000);
  context.timers.start(`forget ${name}`, pauseMs + 2 * fullMs, { type: 'forgetDue', name });
  const untilMs = context.clock.nowMs() + pauseMs;
  return withEntry(state, name, { phase: 'resting', failures, how, untilMs });
}

function withEntry(state: State, name: string, entry: Entry): State {
  return new Map(state).set(name, entry);
}

function without(state: State, name: string): State {
  const next = new Map(state);
  next.delete(name);
  return next;
}

function busy(name: string, found: string): NsmError {
  return new NsmError('UNAVAILABLE', `the Endpoint ${name} is not to be had yet`, {
    rule: 'supply-busy',
    found,
    remedy: 'ask again',
  });
}

function resting(name: string, entry: Entry & { phase: 'resting' }, nowMs: number): NsmError {
  const times = entry.failures === 1 ? 'once' : `${entry.failures} times`;
  return new NsmError('UNAVAILABLE', `the Endpoint ${name} does not stay up`, {
    rule: 'supply-rest',
    expected: 'an Endpoint that runs until it is not needed any more',
    found: `it failed ${times}, last with: ${entry.how}; the next start is possible in ${Math.ceil(entry.untilMs - nowMs)} ms`,
    remedy: 'read the log of the Endpoint, and mend the template of the supplier',
  });
}

function tooMany({ endpointsMax }: SupplierSetup, state: State, name: string): NsmError {
  const names = [...state.keys()].slice(0, 10).join(', ');
  return new NsmError('RESOURCE_EXHAUSTED', `there is no room for the Endpoint ${name}`, {
    rule: 'supply-bound',
    expected: `at most ${endpointsMax} Endpoints of this supplier`,
    found: `${state.size}: ${names}${state.size > 10 ? ', ...' : ''}`,
    remedy: 'let idle ones end (NSM_IDLE_TIMEOUT), or raise VWIRE_SUPPLIER_ENDPOINTS',
  });
}

function stopping(): NsmError {
  return new NsmError('UNAVAILABLE', 'the supplier is stopping', { rule: 'supply-busy' });
}
