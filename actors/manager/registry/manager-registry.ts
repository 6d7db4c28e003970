// The registry face of a manager: both NSM registries as its node's workloads see them, in front of the domain's.
// NSM concept: nsmgr's registry chain (begin, clientinfo, expire, localbypass). Invariants: the domain's registry sees this
// manager's URL, the node's workloads see real ones; an entry with this manager's URL that is unknown here is
// hidden, except its deletion; a registry that is away ends no local registration that is still being refreshed.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { asNsmError, describeError, errorCodes, NsmError } from '../../../protocols/errors.ts';
import { isDraining, withDraining } from '../../../protocols/nsm/draining.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../../protocols/nsm/expiry.ts';
import {
  type NetworkServiceEndpoint,
  type NetworkServiceEndpointQuery,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointRegistry,
  type NetworkServiceEndpointResponse,
  NetworkServiceEndpointResponseSchema,
  NetworkServiceEndpointSchema,
  type NetworkServiceQuery,
  NetworkServiceRegistry,
  type NetworkServiceResponse,
  NetworkServiceResponseSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { endpointMatchesQuery } from '../../../protocols/nsm/registry-match.ts';
import { withoutToken } from '../../../protocols/nsm/token-metadata.ts';
import type { Clock, WallClock } from '../../../protocols/ports/clock.ts';
import type { Log } from '../../../protocols/ports/log.ts';
import type { Random } from '../../../protocols/ports/random.ts';
import {
  type CallContext,
  type ServedService,
  type StreamOptions,
  serve,
  type UnaryOptions,
} from '../../../protocols/ports/rpc.ts';
import type { RegistryClients } from '../../registry/registry-clients.ts';
import { checkEndpoint, checkName } from '../../../protocols/registry/validate-entry.ts';
import type { Discovery } from '../../discovery/discovery.ts';
import { CachedFind } from './cached-find.ts';
import { InOrder } from './in-order.ts';
import { LocalEndpoints } from './local-endpoints.ts';
import { withNodeLabels } from './node-labels.ts';
import { LocalPresence } from './local-presence.ts';
import { Presence } from './presence.ts';
import { registerUpstream } from './register-upstream.ts';

export interface ManagerRegistrySetup {
  /** The domain's registry. */
  readonly upstream: RegistryClients;
  /** Under which other nodes reach this manager. */
  readonly publicUrl: string;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly random: Random;
  readonly log: Log;
  /** The manager's pushed cache of the same registry; without it every Find goes to the registry. */
  readonly discovery?: Discovery;
  /** `nodeName`, `clusterName`: added to every labels entry that lacks them. */
  readonly nodeLabels?: Readonly<Record<string, string>>;
  /** Whether an Endpoint of this node takes no new clients. */
  readonly drains?: (endpoint: NetworkServiceEndpoint) => boolean;
  /** Life of a registration without a refresh; 1 min in the reference. */
  readonly expirePeriodMs?: number;
  /** How long an Endpoint whose process has ended may take to start again before it is taken out of the registry. */
  readonly endpointGraceMs?: number;
  /** For calls on the manager's own account. */
  readonly ownCallTimeoutMs?: number;
}

export interface ManagerRegistry {
  readonly services: readonly ServedService[];
  /** Registered here under that service, live, with real URLs: how the manager knows its forwarders. */
  localEndpoints(serviceName: string): readonly NetworkServiceEndpoint[];
  /** All that is registered here. */
  local(): Iterable<NetworkServiceEndpoint>;
  localNamed(name: string): NetworkServiceEndpoint | undefined;
  /** Whether it drains has changed: it says so here at once, and in the registry once this resolves. */
  drainingChanged(name: string): Promise<void>;
  close(): void;
}

export function createManagerRegistry(setup: ManagerRegistrySetup): ManagerRegistry {
  return new LocalRegistry(setup);
}

class LocalRegistry implements ManagerRegistry {
  readonly services: readonly ServedService[];
  #setup: Required<Omit<ManagerRegistrySetup, 'discovery'>>;
  #cached: CachedFind | undefined;
  #local: LocalEndpoints;
  #inOrder = new InOrder();
  #presence: Presence;
  #localPresence: LocalPresence;
  #isClosed = false;

  constructor(setup: ManagerRegistrySetup) {
    this.#setup = {
      nodeLabels: {},
      drains: () => false,
      expirePeriodMs: 60_000,
      endpointGraceMs: 2_000,
      ownCallTimeoutMs: 5_000,
      ...setup,
    };
    this.#local = new LocalEndpoints({
      ...setup,
      onChanged: (before, after) => this.#cached?.localChanged(before, after),
      onExpired: (each) => this.#onExpired(each),
    });
    const { discovery, publicUrl } = setup;
    if (discovery !== undefined) {
      this.#cached = new CachedFind({ discovery, publicUrl, local: this.#local.index });
    }
    this.#presence = new Presence({
      ...setup,
      local: () => this.#local.index.values(),
      isLocal: (name) => this.#local.index.get(name) !== undefined,
      registerAgain: (name) => this.#registerAgain(name),
    });
    this.#localPresence = new LocalPresence({
      clock: setup.clock,
      graceMs: this.#setup.endpointGraceMs,
      isLocal: (name) => this.#local.index.get(name) !== undefined,
      onGone: (name) => this.#onGone(name),
    });
    const { upstream } = this.#setup;
    this.services = [
      serve(NetworkServiceRegistry, {
        register: (service, call) => upstream.services.register(service, this.#onward(call)),
        find: (query, call) => this.#findServices(query, call),
        unregister: (service, call) => upstream.services.unregister(service, this.#onward(call)),
      }),
      serve(NetworkServiceEndpointRegistry, {
        register: (endpoint, call) => this.#register(endpoint, call),
        find: (query, call) => this.#find(query, call),
        unregister: (endpoint, call) => this.#unregister(endpoint, call),
      }),
    ];
  }

  localEndpoints(serviceName: string): readonly NetworkServiceEndpoint[] {
    return this.#local.index.ofService(serviceName);
  }

  local(): Iterable<NetworkServiceEndpoint> {
    return this.#local.index.values();
  }

  localNamed(name: string): NetworkServiceEndpoint | undefined {
    return this.#local.index.get(name);
  }

  async drainingChanged(name: string): Promise<void> {
    const known = this.#local.index.get(name);
    if (known === undefined) return;
    this.#local.set(withDraining(known, this.#setup.drains(known)));
    await this.#registerAgain(name);
  }

  close(): void {
    this.#isClosed = true;
    this.#presence.close();
    this.#localPresence.close();
    this.#cached?.close();
    this.#local.close();
  }

  async #register(
    asked: NetworkServiceEndpoint,
    call: CallContext,
  ): Promise<NetworkServiceEndpoint> {
    const { wallClock, expirePeriodMs } = this.#setup;
    checkEndpoint(asked, wallClock.epochMs());
    if (asked.url === '') throw emptyUrl(asked.name);
    return this.#inOrder.run(asked.name, call.signal, async () => {
      const nowEpochMs = wallClock.epochMs();
      const latestEpochMs = nowEpochMs + expirePeriodMs;
      const given = asked.expirationTime;
      const keepsOwn = given !== undefined && timestampToEpochMs(given) <= latestEpochMs;
      const real: NetworkServiceEndpoint = {
        ...this.#labelled(asked),
        expirationTime: keepsOwn ? given : timestampFromEpochMs(latestEpochMs),
      };
      const before = this.#local.index.get(real.name);
      this.#localPresence.heardOf(real.name);
      // Known at once: a forwarder serves its node also while the registry is away.
      this.#local.set(real);
      try {
        const answer = await registerUpstream(this.#setup, real, this.#onward(call));
        this.#local.set(answer);
        // What the manager says of it is not the Endpoint's to repeat: one of the reference sends back what it was answered.
        return isDraining(asked) ? answer : withDraining(answer, false);
      } catch (thrown) {
        const error = asNsmError(thrown);
        // A refusal counts; silence does not: the Endpoint has just shown that it lives.
        if (!errorCodes[error.code].retryable) this.#takeBack(real.name, before);
        throw error;
      }
    });
  }

  #labelled(asked: NetworkServiceEndpoint): NetworkServiceEndpoint {
    const labelled = withNodeLabels(asked, this.#setup.nodeLabels);
    return this.#setup.drains(asked) ? withDraining(labelled, true) : labelled;
  }

  #takeBack(name: string, before: NetworkServiceEndpoint | undefined): void {
    if (before === undefined) this.#local.delete(name);
    else this.#local.set(before);
  }

  async #registerAgain(name: string): Promise<void> {
    if (this.#isClosed) return;
    await this.#inOrder.run(name, new AbortController().signal, async () => {
      const real = this.#local.index.get(name);
      if (real === undefined) return;
      const answer = await registerUpstream(this.#setup, real, this.#own());
      // Its life here stays what its own refreshes make it.
      if (this.#local.index.get(name) === real) {
        const { expirationTime } = real;
        this.#local.set(expirationTime === undefined ? answer : { ...answer, expirationTime });
      }
    });
  }

  async #unregister(endpoint: NetworkServiceEndpoint, call: CallContext) {
    checkName('network_service_endpoint.name', endpoint.name);
    const { upstream, publicUrl } = this.#setup;
    this.#localPresence.heardOf(endpoint.name);
    await this.#inOrder.run(endpoint.name, call.signal, async () => {
      const known =
        this.#local.delete(endpoint.name) ?? (await this.#leftByEarlierLife(endpoint.name, call));
      if (known === undefined) return;
      await upstream.endpoints.unregister({ ...known, url: publicUrl }, this.#onward(call));
    });
    return create(EmptySchema);
  }

  /**
   * What this manager registered before it was started again, and what has not been registered anew since. The reference
   * answers OK and leaves it to its expiry. A registry that cannot be asked leaves it so here too.
   */
  async #leftByEarlierLife(
    name: string,
    { signal }: CallContext,
  ): Promise<NetworkServiceEndpoint | undefined> {
    const { upstream, publicUrl, ownCallTimeoutMs } = this.#setup;
    const query = create(NetworkServiceEndpointQuerySchema, { networkServiceEndpoint: { name } });
    try {
      const found = upstream.endpoints.find(query, { timeoutMs: ownCallTimeoutMs, signal });
      for await (const { networkServiceEndpoint: entry } of found) {
        if (entry?.name === name && entry.url === publicUrl) return entry;
      }
    } catch (error) {
      this.#setup.log.info(
        'the registry could not be asked about an Endpoint that is unknown here',
        {
          endpoint: name,
          error: describeError(error),
        },
      );
    }
    return undefined;
  }

  async *#findServices(
    query: NetworkServiceQuery,
    call: CallContext,
  ): AsyncIterable<NetworkServiceResponse> {
    const asked = query.networkService;
    if (this.#cached === undefined || asked === undefined || asked.name === '') {
      yield* this.#setup.upstream.services.find(query, streamOnward(call));
    } else if (query.watch) {
      for await (const { value, deleted } of this.#cached.watchService(asked, call)) {
        yield create(NetworkServiceResponseSchema, { networkService: value, deleted });
      }
    } else {
      for (const networkService of await this.#cached.findService(asked, call)) {
        yield create(NetworkServiceResponseSchema, { networkService });
      }
    }
  }

  async *#find(
    query: NetworkServiceEndpointQuery,
    call: CallContext,
  ): AsyncIterable<NetworkServiceEndpointResponse> {
    const service = CachedFind.serviceOf(query.networkServiceEndpoint);
    if (this.#cached === undefined || service === undefined) {
      const name = query.networkServiceEndpoint?.name ?? '';
      const found = this.#findUpstream(query, call);
      if (query.watch && name !== '') yield* this.#localPresence.during(name, call, found);
      else yield* found;
      return;
    }
    const asked = query.networkServiceEndpoint ?? create(NetworkServiceEndpointSchema);
    if (query.watch) {
      for await (const { value, deleted } of this.#cached.watch(service, asked, call)) {
        yield create(NetworkServiceEndpointResponseSchema, {
          networkServiceEndpoint: value,
          deleted,
        });
      }
      return;
    }
    for (const networkServiceEndpoint of await this.#cached.find(service, asked, call)) {
      yield create(NetworkServiceEndpointResponseSchema, { networkServiceEndpoint });
    }
  }

  async *#findUpstream(
    query: NetworkServiceEndpointQuery,
    call: CallContext,
  ): AsyncIterable<NetworkServiceEndpointResponse> {
    const { upstream } = this.#setup;
    const asked = query.networkServiceEndpoint;
    const told = new Set<string>();
    if (!query.watch && asked !== undefined && asked.name !== '') {
      const local = this.#local.index.get(asked.name);
      if (local !== undefined && endpointMatchesQuery(asked, local)) {
        yield create(NetworkServiceEndpointResponseSchema, { networkServiceEndpoint: local });
        return;
      }
    }
    for await (const response of upstream.endpoints.find(query, streamOnward(call))) {
      const shown = this.#asSeenHere(response);
      if (shown === undefined) continue;
      if (!query.watch) told.add(shown.networkServiceEndpoint?.name ?? '');
      yield shown;
    }
    if (query.watch) return;
    // Registered here while the registry was away, or lost by it.
    const everything =
      asked === undefined ? this.#local.index.values() : this.#local.index.find(asked);
    for (const networkServiceEndpoint of everything) {
      if (told.has(networkServiceEndpoint.name)) continue;
      yield create(NetworkServiceEndpointResponseSchema, { networkServiceEndpoint });
    }
  }

  /** Undefined where the entry is a leftover of an earlier life of this manager. */
  #asSeenHere(
    response: NetworkServiceEndpointResponse,
  ): NetworkServiceEndpointResponse | undefined {
    const endpoint = response.networkServiceEndpoint;
    if (endpoint === undefined || endpoint.url !== this.#setup.publicUrl) return response;
    const local = this.#local.index.get(endpoint.name);
    if (local === undefined) return response.deleted ? response : undefined;
    // The registry lost a live entry: it is on its way back there, and here it never went.
    if (response.deleted) return undefined;
    return { ...response, networkServiceEndpoint: { ...endpoint, url: local.url } };
  }

  #onExpired(endpoint: NetworkServiceEndpoint): void {
    this.#setup.log.info('local registration expired', { endpoint: endpoint.name });
    this.#takeOut(endpoint);
  }

  /** Its process has ended: no client is to be sent to it. It is there again with its next Register. */
  #onGone(name: string): void {
    const endpoint = this.#local.delete(name);
    if (endpoint === undefined) return;
    this.#setup.log.info('endpoint ended without unregistering', { endpoint: name });
    this.#takeOut(endpoint);
  }

  #takeOut(endpoint: NetworkServiceEndpoint): void {
    const { upstream, publicUrl, log } = this.#setup;
    const { name } = endpoint;
    this.#inOrder
      .run(name, new AbortController().signal, async () => {
        // Registered again meanwhile.
        if (this.#local.index.get(name) !== undefined) return;
        await upstream.endpoints.unregister({ ...endpoint, url: publicUrl }, this.#own());
      })
      .catch((error: unknown) => {
        log.debug('an endpoint that is gone was not unregistered, it expires there too', {
          endpoint: name,
          error: describeError(error),
        });
      });
  }

  #own(): UnaryOptions {
    return { timeoutMs: this.#setup.ownCallTimeoutMs };
  }

  #onward(call: CallContext): UnaryOptions {
    const remainingMs = call.deadlineMs - this.#setup.clock.nowMs();
    return {
      timeoutMs: Math.max(1, Math.min(remainingMs, 15_000)),
      signal: call.signal,
      headers: withoutToken(call.headers),
      onHeaders: ({ path }) => {
        if (path !== undefined) call.setHeader('path', path);
      },
    };
  }
}

function streamOnward({ signal, headers }: CallContext): StreamOptions {
  return { signal, headers: withoutToken(headers) };
}

function emptyUrl(name: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an endpoint without a URL cannot be reached', {
    rule: 'network_service_endpoint.url',
    expected: 'the URL under which the endpoint serves',
    found: `an empty URL for ${name}`,
    remedy: 'set NSM_LISTEN_ON of the endpoint',
  });
}
