// Keeps the cache's picture of one service equal to the registry's: two watches, and a Find when they open.
// Invariants: a watch has no mark between its first list and its changes, so the picture counts as complete only when a one-shot
// Find has ended beside it; what a Find lacks and the watch has not shown is dropped then; a Find never
// overwrites what has become known since it began; any end of a watch that was not asked for is a loss: the picture
// stays, marked stale, and the watch is opened again with back-off.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceQuerySchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { Replacements } from '../../protocols/messages/replaced-connection.ts';
import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { RegistryClients } from '../registry/registry-clients.ts';
import type { ServiceEntries } from './service-view.ts';

export interface ServiceWatchSetup {
  readonly clients: RegistryClients;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly random: Random;
  readonly log: Log;
  readonly findTimeoutMs: number;
  readonly backoffMs: number;
  readonly backoffMsMax: number;
}

export class ServiceWatch {
  readonly entries: ServiceEntries;
  lastUsedMs: number;
  #setup: ServiceWatchSetup;
  #abort: AbortController | undefined;
  #retry: Timer | undefined;
  #failures = 0;
  readonly #replacements = new Replacements();
  #openedMs = 0;
  #isClosed = false;
  #isWarm = false;
  #confirming: Promise<void> | undefined;
  #opening: PromiseWithResolvers<void>;
  /** One per Find that is under way. */
  #tellings = new Set<Telling>();

  constructor(setup: ServiceWatchSetup, entries: ServiceEntries) {
    this.#setup = setup;
    this.entries = entries;
    this.lastUsedMs = setup.clock.nowMs();
    this.#opening = resolvers();
    void this.#follow();
  }

  /** True once the picture has been complete; from then on there is one, if a stale one. */
  get isWarm(): boolean {
    return this.#isWarm;
  }

  get isStale(): boolean {
    return this.entries.staleSinceMs !== undefined;
  }

  /** Resolves when the first Find has ended; rejects with its error, while the next one is being tried. */
  ready(): Promise<void> {
    return this.#isWarm ? Promise.resolve() : this.#opening.promise;
  }

  /** Asks the registry itself, once for all who ask at the same time. */
  confirm(): Promise<void> {
    this.#confirming ??= this.#whileTelling(async (telling) =>
      this.#add(await this.#find(new AbortController().signal), telling),
    ).finally(() => {
      this.#confirming = undefined;
    });
    return this.#confirming;
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#abort?.abort();
    this.#opening.reject(new NsmError('CANCELLED', 'the discovery cache was closed'));
  }

  async #follow(): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    this.#openedMs = this.#setup.clock.nowMs();
    try {
      const streams = [this.#watchService(abort.signal), this.#watchEndpoints(abort.signal)];
      const lost = Promise.race(streams);
      // Handled here too, so that an end during the Find is no unhandled rejection.
      for (const stream of [...streams, lost]) stream.catch(() => {});
      const resynced = this.#whileTelling((telling) => this.#resync(abort.signal, telling));
      await Promise.race([lost, resynced]);
      await lost;
      throw new NsmError('UNAVAILABLE', 'the registry ended a watch');
    } catch (error) {
      abort.abort();
      this.#lose(error);
    }
  }

  async #resync(signal: AbortSignal, telling: Telling): Promise<void> {
    let found = await this.#find(signal);
    if (found.endpoints.length === 0 && this.entries.endpoints.size > telling.endpoints.size) {
      // A Go proxy ends a Find with OK when the registry behind it fails: emptiness is asked for twice.
      found = await this.#find(signal);
    }
    if (signal.aborted) return;
    const names = new Set(found.endpoints.map(({ name }) => name));
    for (const name of this.entries.endpoints.keys()) {
      if (names.has(name) || telling.endpoints.has(name)) continue;
      this.#tell(name);
      this.entries.deleteEndpoint(name);
    }
    if (found.service === undefined && !telling.service) this.entries.setService(undefined);
    this.#add(found, telling);
    this.#becomeFresh();
  }

  /** What the watch has told since is newer than what a Find found. */
  #add(found: Found, told: Telling): void {
    if (found.service !== undefined && !told.service) this.entries.setService(found.service);
    for (const endpoint of found.endpoints) {
      if (!told.endpoints.has(endpoint.name)) this.entries.setEndpoint(endpoint);
    }
  }

  /** Collects what the watches tell until the work, which ends with the use of what was found, is done. */
  async #whileTelling(work: (telling: Telling) => Promise<void>): Promise<void> {
    const telling: Telling = { endpoints: new Set(), service: false };
    this.#tellings.add(telling);
    try {
      await work(telling);
    } finally {
      this.#tellings.delete(telling);
    }
  }

  #tell(endpointName: string): void {
    for (const telling of this.#tellings) telling.endpoints.add(endpointName);
  }

  #becomeFresh(): void {
    if (this.isStale) this.#setup.log.info('discovery recovered', { service: this.entries.name });
    this.entries.staleSinceMs = undefined;
    this.#isWarm = true;
    this.#failures = 0;
    this.#opening.resolve();
  }

  #lose(error: unknown): void {
    if (this.#isClosed) return;
    const { log, clock, random, backoffMs, backoffMsMax } = this.#setup;
    if (this.#replacements.mayReopen(error, clock.nowMs() - this.#openedMs)) {
      void this.#follow();
      return;
    }
    this.#failures += 1;
    if (this.#isWarm && !this.isStale) {
      log.warn('discovery lost the registry, known entries stay', {
        service: this.entries.name,
        error: describeError(error),
      });
      this.entries.staleSinceMs = clock.nowMs();
    }
    this.#opening.reject(asNsmError(error));
    if (!this.#isWarm) this.#opening = resolvers();
    const capped = Math.min(backoffMs * 2 ** Math.min(this.#failures - 1, 16), backoffMsMax);
    const delayMs = capped / 2 + random.integer(Math.max(1, Math.ceil(capped / 2)));
    this.#retry = clock.after(delayMs, () => void this.#follow());
  }

  async #watchService(signal: AbortSignal): Promise<void> {
    const { name } = this.entries;
    const query = create(NetworkServiceQuerySchema, { networkService: { name }, watch: true });
    for await (const response of this.#setup.clients.services.find(query, { signal })) {
      if (signal.aborted) return;
      if (response.networkService?.name !== name) continue;
      for (const telling of this.#tellings) telling.service = true;
      this.entries.setService(response.deleted ? undefined : response.networkService);
    }
  }

  async #watchEndpoints(signal: AbortSignal): Promise<void> {
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { networkServiceNames: [this.entries.name] },
      watch: true,
    });
    for await (const response of this.#setup.clients.endpoints.find(query, { signal })) {
      if (signal.aborted) return;
      const endpoint = response.networkServiceEndpoint;
      if (endpoint === undefined) continue;
      this.#tell(endpoint.name);
      if (response.deleted) this.entries.deleteEndpoint(endpoint.name);
      else this.entries.setEndpoint(endpoint);
    }
  }

  async #find(signal: AbortSignal): Promise<Found> {
    const { clients, findTimeoutMs: timeoutMs } = this.#setup;
    const { name } = this.entries;
    const options = { signal, timeoutMs };
    const byName = create(NetworkServiceQuerySchema, { networkService: { name } });
    const byService = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { networkServiceNames: [name] },
    });
    const endpoints: NetworkServiceEndpoint[] = [];
    let service: NetworkService | undefined;
    const findService = async (): Promise<void> => {
      for await (const { networkService } of clients.services.find(byName, options)) {
        if (networkService?.name === name) service = networkService;
      }
    };
    const findEndpoints = async (): Promise<void> => {
      for await (const each of clients.endpoints.find(byService, options)) {
        if (each.networkServiceEndpoint !== undefined) endpoints.push(each.networkServiceEndpoint);
      }
    };
    await Promise.all([findService(), findEndpoints()]);
    return { service, endpoints };
  }
}

interface Found {
  readonly service: NetworkService | undefined;
  readonly endpoints: readonly NetworkServiceEndpoint[];
}

/** What the watches have told of, and what was dropped, since a Find began. */
interface Telling {
  readonly endpoints: Set<string>;
  service: boolean;
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: () => void;
  readonly reject: (error: NsmError) => void;
}

function resolvers(): PromiseWithResolvers<void> {
  let resolve: () => void = () => {};
  let reject: (error: NsmError) => void = () => {};
  const promise = new Promise<void>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}
