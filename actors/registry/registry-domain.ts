// The registry of one domain on one replica: services, endpoints, watchers, expiry. Replaces the reference's memory
// registry with its setregistrationtime, setpayload and expire elements.
// Invariants: one change at a time; Register is answered from memory and never waits for the store; a Find and an Unregister wait
// for the first load of the store, at most `loadTimeoutMs`; a crash or stop ends every watch, so that watchers resync.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { endpointMatchesQuery, serviceMatchesQuery } from '../../protocols/nsm/registry-match.ts';
import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import type { ActorContext, ActorRef, ActorSystem, Behavior, ReplyTo } from '../runtime/api.ts';
import { supervision } from '../runtime/supervision.ts';
import type { RegistryCommand } from './messages.ts';
import { RegistryState } from './registry-state.ts';
import { StoreLink } from './store-link.ts';
import type { WatchQueue } from '../../protocols/registry/watch-queue.ts';
import type { Watcher } from '../../protocols/registry/watchers.ts';

export interface RegistryDomainSetup {
  readonly store: RegistryStore;
  readonly wallClock: WallClock;
  /** Default 1 min, as in the reference. */
  readonly expirePeriodMs?: number;
  readonly foreignGraceMs?: number;
  readonly entriesMax?: number;
  readonly watchersMax?: number;
  readonly loadTimeoutMs?: number;
  readonly mailboxDepthMax?: number;
  readonly storeWritesMax?: number;
  readonly ownExpiryEpochMs?: () => number;
}

type Private =
  | { readonly type: 'storeChanged' }
  | { readonly type: 'storeLoaded' }
  | { readonly type: 'loadTimedOut' }
  | { readonly type: 'expiryDue' };

type Message = RegistryCommand | Private;
type Context = ActorContext<Message>;

interface State {
  readonly phase: 'loading' | 'serving';
  readonly registry: RegistryState;
  readonly link: StoreLink;
  /** When the expiry timer fires; Infinity where none is armed. */
  readonly armedAtMs: number;
}

/** Entries ended or taken from the store in one turn, so that no turn holds up a Register for long. */
const batchMax = 500;

export function spawnRegistryDomain(
  parent: Pick<ActorSystem, 'spawn'>,
  setup: RegistryDomainSetup,
  name: string,
): ActorRef<RegistryCommand> {
  // Outlives a crash of the actor: the next life ends what the last one left open.
  let previous: State | undefined;
  const behavior: Behavior<State, Message> = {
    initial(context) {
      if (previous !== undefined) endEverything(previous, 'the registry was restarted');
      previous = start(setup, context);
      return previous;
    },
    receive(state, message, context) {
      const next = receive(setup, state, message, context);
      takeStoreChanges(next, context);
      previous = armExpiry(next, context);
      return previous;
    },
    onStop(state) {
      endEverything(state, 'the registry was stopped');
    },
    supervision: supervision.registryDomain,
    mailbox: { depthMax: setup.mailboxDepthMax ?? 20_000, overflow: 'reject' },
  };
  return parent.spawn(behavior, name);
}

function start(setup: RegistryDomainSetup, context: Context): State {
  const { clock, random, log, self, timers } = context;
  const link = new StoreLink(
    {
      store: setup.store,
      clock,
      random,
      log,
      ...(setup.storeWritesMax === undefined ? {} : { inFlightMax: setup.storeWritesMax }),
    },
    {
      changed: () => self.tell({ type: 'storeChanged' }),
      loaded: () => self.tell({ type: 'storeLoaded' }),
      loadFailed: () => self.tell({ type: 'loadTimedOut' }),
    },
  );
  const registry = new RegistryState(
    {
      clock,
      log,
      wallClock: setup.wallClock,
      expirePeriodMs: setup.expirePeriodMs ?? 60_000,
      foreignGraceMs: setup.foreignGraceMs ?? 5_000,
      entriesMax: setup.entriesMax ?? 500_000,
      ownExpiryEpochMs: setup.ownExpiryEpochMs ?? (() => Number.POSITIVE_INFINITY),
    },
    link.writer,
  );
  timers.start('load', setup.loadTimeoutMs ?? 5_000, { type: 'loadTimedOut' });
  link.start();
  return { phase: 'loading', registry, link, armedAtMs: Number.POSITIVE_INFINITY };
}

function receive(
  setup: RegistryDomainSetup,
  state: State,
  message: Message,
  context: Context,
): State {
  const { registry } = state;
  switch (message.type) {
    case 'storeLoaded':
    case 'loadTimedOut':
      return onReady(state, message.type, context);
    case 'registerService':
      return answer(state, message.replyTo, () => registry.registerService(message.service));
    case 'registerEndpoint':
      return answer(state, message.replyTo, () =>
        registry.registerEndpoint(message.endpoint, message.callerExpiresEpochMs),
      );
    case 'findServices':
    case 'findEndpoints':
    case 'watchServices':
    case 'watchEndpoints':
      return onFind(setup, state, message, context);
    case 'endServiceWatch':
      registry.serviceWatchers.remove(message.queue);
      return state;
    case 'endEndpointWatch':
      registry.endpointWatchers.remove(message.queue);
      return state;
    case 'unregisterService':
    case 'unregisterEndpoint':
      return onUnregister(state, message, context);
    case 'storeChanged':
      return state;
    case 'expiryDue':
      return onExpiryDue(state);
  }
}

function onReady(state: State, reason: 'storeLoaded' | 'loadTimedOut', context: Context): State {
  if (state.phase === 'serving') return state;
  const { registry, link } = state;
  // The whole of it at once, this one time: a Find must not see half a registry.
  for (const change of link.takeChanges(Number.POSITIVE_INFINITY)) registry.apply(change);
  context.timers.cancel('load');
  context.unstashAll();
  if (reason === 'loadTimedOut')
    context.log.warn('registry serves without its store until that can be reached');
  context.log.info('registry domain began to serve', {
    services: registry.services.size,
    endpoints: registry.endpoints.size,
  });
  return { ...state, phase: 'serving' };
}

type FindMessage = Extract<
  RegistryCommand,
  { type: 'findServices' | 'findEndpoints' | 'watchServices' | 'watchEndpoints' }
>;

function onFind(
  setup: RegistryDomainSetup,
  state: State,
  message: FindMessage,
  context: Context,
): State {
  if (state.phase === 'loading') {
    context.stash();
    return state;
  }
  const { registry } = state;
  switch (message.type) {
    case 'findServices':
      return answer(state, message.replyTo, () => registry.findServices(message.query));
    case 'findEndpoints':
      return answer(state, message.replyTo, () => registry.endpoints.find(message.query));
    case 'watchServices':
      return answer(state, message.replyTo, () => {
        checkWatchers(setup, registry);
        message.queue.start(registry.findServices(message.query));
        registry.serviceWatchers.add(serviceWatcher(message.query, message.queue));
      });
    case 'watchEndpoints':
      return answer(state, message.replyTo, () => {
        checkWatchers(setup, registry);
        message.queue.start(registry.endpoints.find(message.query));
        registry.endpointWatchers.add(endpointWatcher(message.query, message.queue));
      });
  }
}

type UnregisterMessage = Extract<
  RegistryCommand,
  { type: 'unregisterService' | 'unregisterEndpoint' }
>;

function onUnregister(state: State, message: UnregisterMessage, context: Context): State {
  // Before the load the entry is unknown here, and would come back with it.
  if (state.phase === 'loading') {
    context.stash();
    return state;
  }
  const { registry } = state;
  return answer(state, message.replyTo, () =>
    message.type === 'unregisterService'
      ? registry.unregisterService(message.name)
      : registry.unregisterEndpoint(message.name),
  );
}

function onExpiryDue(state: State): State {
  state.registry.expire(batchMax);
  return { ...state, armedAtMs: Number.POSITIVE_INFINITY };
}

function takeStoreChanges(state: State, context: Context): void {
  if (state.phase === 'loading' || !state.link.hasChanges) return;
  for (const change of state.link.takeChanges(batchMax)) state.registry.apply(change);
  if (state.link.hasChanges) context.self.tell({ type: 'storeChanged' });
}

function armExpiry(state: State, context: Context): State {
  const nextMs = state.registry.nextExpiryMs();
  if (nextMs >= state.armedAtMs) return state;
  context.timers.start('expiry', Math.max(0, nextMs - context.clock.nowMs()), {
    type: 'expiryDue',
  });
  return { ...state, armedAtMs: nextMs };
}

/** Answers with what `work` returns, or with the refusal that it throws; anything else crashes the actor. */
function answer<Reply>(state: State, replyTo: ReplyTo<Reply>, work: () => Reply): State {
  try {
    replyTo.tell(work());
  } catch (error) {
    if (!(error instanceof NsmError)) {
      replyTo.fail(asNsmError(error));
      throw error;
    }
    replyTo.fail(error);
  }
  return state;
}

function checkWatchers(setup: RegistryDomainSetup, registry: RegistryState): void {
  const watchersMax = setup.watchersMax ?? 200_000;
  const watchers = registry.serviceWatchers.size + registry.endpointWatchers.size;
  if (watchers < watchersMax) return;
  throw new NsmError('RESOURCE_EXHAUSTED', 'the registry has too many watchers', {
    rule: 'registry-watchers',
    expected: `at most ${watchersMax}`,
    found: `${watchers}`,
  });
}

function serviceWatcher(
  query: NetworkService,
  queue: WatchQueue<NetworkService>,
): Watcher<NetworkService> {
  return {
    queue,
    matches: (value) => serviceMatchesQuery(query, value),
    interest: query.name === '' ? { kind: 'everything' } : { kind: 'name', name: query.name },
  };
}

function endpointWatcher(
  query: NetworkServiceEndpoint,
  queue: WatchQueue<NetworkServiceEndpoint>,
): Watcher<NetworkServiceEndpoint> {
  const service = query.networkServiceNames[0];
  const matches = (value: NetworkServiceEndpoint): boolean => endpointMatchesQuery(query, value);
  if (query.name !== '') return { queue, matches, interest: { kind: 'name', name: query.name } };
  if (service !== undefined) return { queue, matches, interest: { kind: 'service', service } };
  return { queue, matches, interest: { kind: 'everything' } };
}

function endEverything(state: State, why: string): void {
  const error = new NsmError('UNAVAILABLE', why, { remedy: 'open the watch again' });
  state.registry.serviceWatchers.endAll(error);
  state.registry.endpointWatchers.endAll(error);
  state.link.stop();
}
