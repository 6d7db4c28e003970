// The pushed cache of a registry: one per registry client, one picture per network service that was asked for.
// NSM concept: discover and roundrobin, without a query per Request. Invariants: a warm picture answers from
// memory; nothing is called missing before the registry itself was asked; a picture is closed when nobody has
// used it for a while; a registry that is away leaves the known entries in use.

import { create } from '@bufbuild/protobuf';
import { asNsmError, errorCodes, NsmError } from '../../protocols/errors.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { nodeServiceName } from '../../protocols/nsm/node-lease.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import { labelsSignature, relevantLabels } from './labels-signature.ts';
import { NodeLeases } from './node-leases.ts';
import {
  type Choosing,
  type EndpointChoice,
  type EntriesListener,
  ServiceEntries,
} from './service-view.ts';
import { ServiceWatch, type ServiceWatchSetup } from './service-watch.ts';

/** The part of a call that discovery needs. */
export interface DiscoveryCall {
  /** On the process's monotonic clock; Infinity for none. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

/** A service as it is now; `endpoints` is live, so take it anew for each decision. */
export interface ServiceView {
  readonly networkService: NetworkService;
  readonly endpoints: ReadonlyMap<string, NetworkServiceEndpoint>;
  readonly endpointCount: number;
  /** The registry is away: what is here may be outdated. */
  readonly isStale: boolean;
}

/** The entries of a service as the cache holds them, the service itself possibly unknown. */
export interface ServiceEntriesView {
  readonly networkService: NetworkService | undefined;
  readonly endpoints: ReadonlyMap<string, NetworkServiceEndpoint>;
}

/** A service that is kept up to date until `stop`, whether the registry is there or not. */
export interface Following {
  readonly entries: ServiceEntriesView;
  stop(): void;
}

export interface Discovery {
  /** Errors: NOT_FOUND (the registry knows no such service), DEADLINE_EXCEEDED, CANCELLED, what the registry answers. */
  discover(serviceName: string, call: DiscoveryCall): Promise<ServiceView>;
  /** Like `discover`, where a service that the registry does not know may still have Endpoints, or none. */
  entriesOf(serviceName: string, call: DiscoveryCall): Promise<ServiceEntriesView>;
  /** Waits until the entries are complete once, then tells every change until stopped. */
  follow(serviceName: string, listener: EntriesListener, call: DiscoveryCall): Promise<Following>;
  /** Undefined where the registry has no Endpoint of exactly that name. */
  findEndpointByName(
    name: string,
    call: DiscoveryCall,
  ): Promise<NetworkServiceEndpoint | undefined>;
  /** The candidates in the order in which to try them; each call takes a turn of the deciding match. */
  choose(view: ServiceView, choosing: Choosing): EndpointChoice;
  /**
   * Everybody who would be chosen for these labels, whoever's turn it is, without those whose node is away. `held`, the Endpoint
   * that a connection has, counts as one that takes new clients even where it does not.
   * Errors: INVALID_ARGUMENT where a template of the service cannot be rendered.
   */
  eligible(
    view: ServiceView,
    labels: Choosing['labels'],
    held?: string,
  ): readonly NetworkServiceEndpoint[];
  /**
   * Whether the service would still give a client with these labels the Endpoint that it has. One that the registry does not
   * know may be anything, and counts as such (as in the reference). Remembers its answers: ask it for all clients at once.
   */
  placement(view: ServiceView): (labels: Choosing['labels'], held: string) => boolean;
  /** Services held now, for people. */
  readonly services: readonly { readonly name: string; readonly isStale: boolean }[];
  close(): void;
}

export type { Choosing, EndpointChoice, EntriesListener } from './service-view.ts';

export interface DiscoverySetup
  extends Omit<ServiceWatchSetup, 'findTimeoutMs' | 'backoffMs' | 'backoffMsMax'> {
  readonly findTimeoutMs?: number;
  readonly backoffMs?: number;
  readonly backoffMsMax?: number;
  /** A service that nobody asked for during this time is let go. */
  readonly idleMs?: number;
  readonly servicesMax?: number;
  /** Candidates that one choice returns at most. */
  readonly candidatesMax?: number;
  /**
   * Follows the leases of nodes: Endpoints behind a manager that is away come last in a choice. Called with the URL of each
   * manager whose lease has ended.
   */
  readonly onNodeAway?: (managerUrl: string) => void;
}

export function createDiscovery(setup: DiscoverySetup): Discovery {
  return new DiscoveryCache(setup);
}

class DiscoveryCache implements Discovery {
  #setup: Required<Omit<DiscoverySetup, 'onNodeAway'>>;
  /** Least recently used first. */
  #watches = new Map<string, ServiceWatch>();
  #sweep: Timer | undefined;
  #leases: NodeLeases | undefined;
  #isClosed = false;

  constructor(setup: DiscoverySetup) {
    this.#setup = {
      findTimeoutMs: 5_000,
      backoffMs: 50,
      backoffMsMax: 5_000,
      idleMs: 600_000,
      servicesMax: 10_000,
      candidatesMax: 64,
      ...setup,
    };
    if (setup.onNodeAway !== undefined) this.#followLeases(setup.onNodeAway);
  }

  get services(): readonly { readonly name: string; readonly isStale: boolean }[] {
    return [...this.#watches.values()].map(({ entries, isStale }) => ({
      name: entries.name,
      isStale,
    }));
  }

  async discover(serviceName: string, call: DiscoveryCall): Promise<ServiceView> {
    const { watch, entries } = await this.#confirmed(serviceName, call);
    const { networkService } = entries;
    if (networkService === undefined) throw unknownService(serviceName);
    return {
      networkService,
      endpoints: entries.endpoints,
      endpointCount: entries.endpoints.size,
      isStale: watch.isStale,
    };
  }

  async entriesOf(serviceName: string, call: DiscoveryCall): Promise<ServiceEntriesView> {
    return (await this.#confirmed(serviceName, call)).entries;
  }

  async follow(
    serviceName: string,
    listener: EntriesListener,
    call: DiscoveryCall,
  ): Promise<Following> {
    const watch = this.#use(serviceName);
    await this.#within(call, watch.ready());
    watch.entries.listeners.add(listener);
    return {
      entries: watch.entries,
      stop: () => {
        watch.lastUsedMs = this.#setup.clock.nowMs();
        watch.entries.listeners.delete(listener);
      },
    };
  }

  async findEndpointByName(
    name: string,
    call: DiscoveryCall,
  ): Promise<NetworkServiceEndpoint | undefined> {
    let outdated: NetworkServiceEndpoint | undefined;
    for (const watch of this.#watches.values()) {
      const known = watch.entries.endpoints.get(name);
      if (known === undefined || !watch.entries.isLive(known)) continue;
      if (!watch.isStale) return known;
      outdated = known;
    }
    try {
      return await this.#within(call, this.#findByName(name, call));
    } catch (error) {
      if (outdated !== undefined && errorCodes[asNsmError(error).code].retryable) return outdated;
      throw error;
    }
  }

  choose(view: ServiceView, choosing: Choosing): EndpointChoice {
    const watch = this.#watches.get(view.networkService.name);
    const chosen = watch?.entries.choose(this.#leasesFirst(choosing), this.#setup.candidatesMax);
    return chosen ?? { candidates: [], by: undefined, turn: 0, passedOver: [] };
  }

  /** Last, not hidden: that a lease has ended is a sign, no proof. */
  #leasesFirst(choosing: Choosing): Choosing {
    const leases = this.#leases;
    if (leases?.someAreAway !== true) return choosing;
    const away = 'the lease of its node has ended';
    return {
      ...choosing,
      lastBecause: (each) => (leases.isAway(each.url) ? away : choosing.lastBecause(each)),
    };
  }

  eligible(
    view: ServiceView,
    labels: Choosing['labels'],
    held?: string,
  ): readonly NetworkServiceEndpoint[] {
    const picked = this.#watches.get(view.networkService.name)?.entries.eligible(labels, held);
    const isAway = (url: string): boolean => this.#leases?.isAway(url) === true;
    return (picked ?? []).filter(({ name, url }) => name === held || !isAway(url));
  }

  placement(view: ServiceView): (labels: Choosing['labels'], held: string) => boolean {
    const relevant = relevantLabels(view.networkService);
    const known = new Map<string, boolean>();
    return (labels, held) => {
      if (!view.endpoints.has(held)) return true;
      const key = JSON.stringify([held, labelsSignature(relevant, labels)]);
      const before = known.get(key);
      if (before !== undefined) return before;
      const isPlaced = this.eligible(view, labels, held).some(({ name }) => name === held);
      known.set(key, isPlaced);
      return isPlaced;
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#leases?.close();
    this.#sweep?.cancel();
    for (const watch of this.#watches.values()) watch.close();
    this.#watches.clear();
  }

  #followLeases(onAway: (managerUrl: string) => void): void {
    const watch = this.#use(nodeServiceName);
    const { clock, log } = this.#setup;
    const isStale = (): boolean => watch.isStale || !watch.isWarm;
    const leases = new NodeLeases({ clock, log, isStale, onAway });
    this.#leases = leases;
    watch.entries.listeners.add({
      endpointChanged: (before, after) => leases.changed(before, after),
      serviceChanged: () => {},
    });
  }

  #use(serviceName: string): ServiceWatch {
    if (this.#isClosed) throw new NsmError('FAILED_PRECONDITION', 'the discovery cache is closed');
    const known = this.#watches.get(serviceName);
    const watch =
      known ?? new ServiceWatch(this.#setup, new ServiceEntries(serviceName, this.#setup));
    watch.lastUsedMs = this.#setup.clock.nowMs();
    this.#watches.delete(serviceName);
    this.#watches.set(serviceName, watch);
    if (known === undefined) this.#makeRoom();
    return watch;
  }

  #makeRoom(): void {
    for (const [name, watch] of this.#watches) {
      if (this.#watches.size <= this.#setup.servicesMax) break;
      if (watch.entries.listeners.size > 0) continue;
      watch.close();
      this.#watches.delete(name);
    }
    this.#armSweep();
  }

  #armSweep(): void {
    const { clock, idleMs } = this.#setup;
    this.#sweep ??= clock.after(idleMs, () => {
      this.#sweep = undefined;
      for (const [name, watch] of this.#watches) {
        if (clock.nowMs() - watch.lastUsedMs < idleMs) continue;
        if (watch.entries.listeners.size > 0) continue;
        watch.close();
        this.#watches.delete(name);
      }
      if (this.#watches.size > 0) this.#armSweep();
    });
  }

  /** A stale picture is good enough while the registry cannot be asked; an empty one is not. */
  async #confirmed(
    serviceName: string,
    call: DiscoveryCall,
  ): Promise<{ watch: ServiceWatch; entries: ServiceEntries }> {
    const watch = this.#use(serviceName);
    if (!watch.isWarm) await this.#within(call, watch.ready());
    const { entries } = watch;
    if (entries.networkService === undefined || entries.endpoints.size === 0) {
      await this.#within(call, watch.confirm());
    }
    return { watch, entries };
  }

  async #findByName(
    name: string,
    call: DiscoveryCall,
  ): Promise<NetworkServiceEndpoint | undefined> {
    const query = create(NetworkServiceEndpointQuerySchema, { networkServiceEndpoint: { name } });
    const { clients, findTimeoutMs } = this.#setup;
    const options = { signal: call.signal, timeoutMs: findTimeoutMs };
    let found: NetworkServiceEndpoint | undefined;
    for await (const { networkServiceEndpoint } of clients.endpoints.find(query, options)) {
      if (networkServiceEndpoint?.name === name) found = networkServiceEndpoint;
    }
    return found;
  }

  /** Waits no longer than the call does; the work itself goes on for the others who wait for it. */
  async #within<T>(call: DiscoveryCall, work: Promise<T>): Promise<T> {
    const { clock, findTimeoutMs } = this.#setup;
    const leftMs = Math.min(call.deadlineMs - clock.nowMs(), 2 * findTimeoutMs);
    let cancel: () => void = () => {};
    let timer: Timer | undefined;
    const givenUp = new Promise<never>((_, reject) => {
      timer = clock.after(Math.max(0, leftMs), () =>
        reject(new NsmError('DEADLINE_EXCEEDED', 'the registry did not answer in time')),
      );
      cancel = () => reject(new NsmError('CANCELLED', 'the caller gave the discovery up'));
      call.signal.addEventListener('abort', cancel, { once: true });
      if (call.signal.aborted) cancel();
    });
    try {
      return await Promise.race([work, givenUp]);
    } finally {
      timer?.cancel();
      call.signal.removeEventListener('abort', cancel);
      work.catch(() => {});
    }
  }
}

function unknownService(name: string): NsmError {
  return new NsmError('NOT_FOUND', `network service ${name} is not registered`, {
    rule: 'discover',
    expected: `a network service named ${name}`,
    found: 'none, neither in the cache nor by asking the registry',
    remedy: 'register it, or compare its name with: vwire get services',
  });
}
