// NetworkServiceRegistry and NetworkServiceEndpointRegistry as a registry serves them, over any binding.
// NSM concept: the registry component (memory, k8s). Invariants: NotFound is never answered; a Find without a
// match is an empty stream; names with `@domain` go to the proxy registry and to nobody else.

import { create } from '@bufbuild/protobuf';
import { type Empty, EmptySchema } from '@bufbuild/protobuf/wkt';
import { NsmError } from '../../protocols/errors.ts';
import { claimedLifeMs, formatLife, lifeHeader } from '../../protocols/nsm/claimed-life.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  type NetworkServiceEndpointQuery,
  NetworkServiceEndpointRegistry,
  type NetworkServiceEndpointResponse,
  NetworkServiceEndpointResponseSchema,
  NetworkServiceEndpointSchema,
  type NetworkServiceQuery,
  NetworkServiceRegistry,
  type NetworkServiceResponse,
  NetworkServiceResponseSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { isInterdomain } from '../../protocols/nsm/service-name.ts';
import { parseTokenExpiry } from '../../protocols/nsm/token-expiry.ts';
import { tokenExpiresHeader, withoutToken } from '../../protocols/nsm/token-metadata.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import {
  type CallContext,
  type ServedService,
  type StreamOptions,
  serve,
  type UnaryOptions,
} from '../../protocols/ports/rpc.ts';
import type { ActorRef, ActorSystem, AskOptions } from '../runtime/api.ts';
import type { RegistryCommand } from './messages.ts';
import type { RegistryClients } from './registry-clients.ts';
import {
  formatRegistryPath,
  parseRegistryPath,
  registryPathHeader,
} from '../../protocols/registry/registry-path.ts';
import { checkName } from '../../protocols/registry/validate-entry.ts';
import { WatchQueue } from '../../protocols/registry/watch-queue.ts';

export type { RegistryClients } from './registry-clients.ts';

export interface RegistryServicesSetup {
  readonly system: Pick<ActorSystem, 'ask'>;
  readonly domain: ActorRef<RegistryCommand>;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  /** Takes calls whose names carry `@domain`; without it they are refused with UNAVAILABLE. */
  readonly proxy?: RegistryClients;
  /** Changed entries that may wait for one slow watcher. */
  readonly watchQueueMax?: number;
  /** For calls that carry no deadline. */
  readonly callTimeoutMs?: number;
}

const emptyServiceQuery = create(NetworkServiceSchema);
const emptyEndpointQuery = create(NetworkServiceEndpointSchema);

export function registryServices(setup: RegistryServicesSetup): readonly ServedService[] {
  return [
    serve(NetworkServiceRegistry, {
      register: (service, context) => registerService(setup, service, context),
      find: (query, context) => findServices(setup, query, context),
      unregister: (service, context) => unregisterService(setup, service, context),
    }),
    serve(NetworkServiceEndpointRegistry, {
      register: (endpoint, context) => registerEndpoint(setup, endpoint, context),
      find: (query, context) => findEndpoints(setup, query, context),
      unregister: (endpoint, context) => unregisterEndpoint(setup, endpoint, context),
    }),
  ];
}

async function registerService(
  setup: RegistryServicesSetup,
  service: NetworkService,
  context: CallContext,
): Promise<NetworkService> {
  if (isInterdomain(service.name)) {
    return proxyFor(setup, service.name).services.register(service, onward(setup, context));
  }
  return withPath(context, () =>
    setup.system.ask<RegistryCommand, NetworkService>(
      setup.domain,
      (replyTo) => ({ type: 'registerService', service, replyTo }),
      askOptions(setup, context),
    ),
  );
}

async function unregisterService(
  setup: RegistryServicesSetup,
  service: NetworkService,
  context: CallContext,
): Promise<Empty> {
  checkName('network_service.name', service.name);
  if (isInterdomain(service.name)) {
    return proxyFor(setup, service.name).services.unregister(service, onward(setup, context));
  }
  await withPath(context, () =>
    setup.system.ask<RegistryCommand, void>(
      setup.domain,
      (replyTo) => ({ type: 'unregisterService', name: service.name, replyTo }),
      askOptions(setup, context),
    ),
  );
  return create(EmptySchema);
}

async function* findServices(
  setup: RegistryServicesSetup,
  request: NetworkServiceQuery,
  context: CallContext,
): AsyncIterable<NetworkServiceResponse> {
  const query = request.networkService ?? emptyServiceQuery;
  if (isInterdomain(query.name)) {
    yield* proxyFor(setup, query.name).services.find(request, streamOnward(context));
  } else if (request.watch) {
    yield* watchServices(setup, query, context);
  } else {
    const found = await setup.system.ask<RegistryCommand, readonly NetworkService[]>(
      setup.domain,
      (replyTo) => ({ type: 'findServices', query, replyTo }),
      askOptions(setup, context),
    );
    for (const networkService of found) {
      yield create(NetworkServiceResponseSchema, { networkService });
    }
  }
}

async function* watchServices(
  setup: RegistryServicesSetup,
  query: NetworkService,
  context: CallContext,
): AsyncIterable<NetworkServiceResponse> {
  const queue = openQueue<NetworkService>(setup, context);
  try {
    await setup.system.ask<RegistryCommand, void>(
      setup.domain,
      (replyTo) => ({ type: 'watchServices', query, queue, replyTo }),
      askOptions(setup, context),
    );
    for await (const { value, deleted } of queue) {
      yield create(NetworkServiceResponseSchema, { networkService: value, deleted });
    }
  } finally {
    setup.domain.tell({ type: 'endServiceWatch', queue });
  }
}

async function registerEndpoint(
  setup: RegistryServicesSetup,
  asked: NetworkServiceEndpoint,
  context: CallContext,
): Promise<NetworkServiceEndpoint> {
  const foreign = foreignName(asked);
  if (foreign !== undefined) {
    return proxyFor(setup, foreign).endpoints.register(asked, onward(setup, context));
  }
  const endpoint = onThisClock(setup, asked, context);
  const expires = context.headers[tokenExpiresHeader];
  const callerExpiresEpochMs =
    expires === undefined
      ? Number.POSITIVE_INFINITY
      : timestampToEpochMs(parseTokenExpiry(expires));
  const registered = await withPath(context, () =>
    setup.system.ask<RegistryCommand, NetworkServiceEndpoint>(
      setup.domain,
      (replyTo) => ({ type: 'registerEndpoint', endpoint, callerExpiresEpochMs, replyTo }),
      askOptions(setup, context),
    ),
  );
  if (claimedLifeMs(context.headers) !== undefined) answerLife(setup, registered, context);
  return registered;
}

/** Whoever speaks of lives is answered in the same way. */
function answerLife(
  setup: RegistryServicesSetup,
  { expirationTime: ends }: NetworkServiceEndpoint,
  context: CallContext,
): void {
  const life = ends && formatLife(timestampToEpochMs(ends) - setup.wallClock.epochMs());
  if (life !== undefined) context.setHeader(lifeHeader, life);
}

/** A caller that says how long its entry lives means that, whatever its clock shows. */
function onThisClock(
  setup: RegistryServicesSetup,
  asked: NetworkServiceEndpoint,
  context: CallContext,
): NetworkServiceEndpoint {
  const lifeMs = claimedLifeMs(context.headers);
  if (lifeMs === undefined || asked.expirationTime === undefined) return asked;
  const expirationTime = timestampFromEpochMs(setup.wallClock.epochMs() + lifeMs);
  return { ...asked, expirationTime };
}

async function unregisterEndpoint(
  setup: RegistryServicesSetup,
  endpoint: NetworkServiceEndpoint,
  context: CallContext,
): Promise<Empty> {
  checkName('network_service_endpoint.name', endpoint.name);
  const foreign = foreignName(endpoint);
  if (foreign !== undefined) {
    return proxyFor(setup, foreign).endpoints.unregister(endpoint, onward(setup, context));
  }
  await withPath(context, () =>
    setup.system.ask<RegistryCommand, void>(
      setup.domain,
      (replyTo) => ({ type: 'unregisterEndpoint', name: endpoint.name, replyTo }),
      askOptions(setup, context),
    ),
  );
  return create(EmptySchema);
}

async function* findEndpoints(
  setup: RegistryServicesSetup,
  request: NetworkServiceEndpointQuery,
  context: CallContext,
): AsyncIterable<NetworkServiceEndpointResponse> {
  const query = request.networkServiceEndpoint ?? emptyEndpointQuery;
  const foreign = foreignName(query);
  if (foreign !== undefined) {
    yield* proxyFor(setup, foreign).endpoints.find(request, streamOnward(context));
  } else if (request.watch) {
    yield* watchEndpoints(setup, query, context);
  } else {
    const found = await setup.system.ask<RegistryCommand, readonly NetworkServiceEndpoint[]>(
      setup.domain,
      (replyTo) => ({ type: 'findEndpoints', query, replyTo }),
      askOptions(setup, context),
    );
    for (const networkServiceEndpoint of found) {
      yield create(NetworkServiceEndpointResponseSchema, { networkServiceEndpoint });
    }
  }
}

async function* watchEndpoints(
  setup: RegistryServicesSetup,
  query: NetworkServiceEndpoint,
  context: CallContext,
): AsyncIterable<NetworkServiceEndpointResponse> {
  const queue = openQueue<NetworkServiceEndpoint>(setup, context);
  try {
    await setup.system.ask<RegistryCommand, void>(
      setup.domain,
      (replyTo) => ({ type: 'watchEndpoints', query, queue, replyTo }),
      askOptions(setup, context),
    );
    for await (const { value, deleted } of queue) {
      yield create(NetworkServiceEndpointResponseSchema, {
        networkServiceEndpoint: value,
        deleted,
      });
    }
  } finally {
    setup.domain.tell({ type: 'endEndpointWatch', queue });
  }
}

/** A queue that ends when the caller goes away, so that its stream does not wait for ever. */
function openQueue<Value extends { readonly name: string }>(
  setup: RegistryServicesSetup,
  context: CallContext,
): WatchQueue<Value> {
  const queue = new WatchQueue<Value>(setup.watchQueueMax ?? 10_000);
  if (context.signal.aborted) queue.end();
  context.signal.addEventListener('abort', () => queue.end(), { once: true });
  return queue;
}

/** The path goes back as it came, on success alone; whoever has an identity has put its token in before. */
async function withPath<Reply>(context: CallContext, work: () => Promise<Reply>): Promise<Reply> {
  const header = context.headers[registryPathHeader];
  if (header === undefined) return work();
  const path = parseRegistryPath(header);
  const reply = await work();
  context.setHeader(registryPathHeader, formatRegistryPath(path));
  return reply;
}

/** The first name of another domain: the endpoint's own, or one of its services. */
function foreignName(endpoint: NetworkServiceEndpoint): string | undefined {
  if (isInterdomain(endpoint.name)) return endpoint.name;
  return endpoint.networkServiceNames.find(isInterdomain);
}

function proxyFor(setup: RegistryServicesSetup, name: string): RegistryClients {
  if (setup.proxy !== undefined) return setup.proxy;
  throw new NsmError('UNAVAILABLE', 'no proxy registry configured', {
    rule: 'interdomain',
    expected: 'a proxy registry for names with @domain',
    found: name.slice(0, 120),
    remedy: 'set NSM_PROXY_REGISTRY_URL, or ask for a name of this domain',
  });
}

function askOptions(setup: RegistryServicesSetup, context: CallContext): AskOptions {
  return { timeoutMs: remainingMs(setup, context), signal: context.signal };
}

function onward(setup: RegistryServicesSetup, context: CallContext): UnaryOptions {
  return {
    timeoutMs: remainingMs(setup, context),
    signal: context.signal,
    headers: withoutToken(context.headers),
    onHeaders: (headers) => {
      const path = headers[registryPathHeader];
      if (path !== undefined) context.setHeader(registryPathHeader, path);
    },
  };
}

function streamOnward(context: CallContext): StreamOptions {
  return { signal: context.signal, headers: withoutToken(context.headers) };
}

function remainingMs(setup: RegistryServicesSetup, context: CallContext): number {
  const callTimeoutMs = setup.callTimeoutMs ?? 15_000;
  return Math.max(1, Math.min(context.deadlineMs - setup.clock.nowMs(), callTimeoutMs));
}
