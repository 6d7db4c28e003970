// Finds by service, answered from the manager's pushed cache joined with what is registered here: however many of
// the node's clients watch a service, the registry sees one watch, and none of them notices that it was away.
// Invariants: what is registered here is shown with its real URL, whatever the registry says of it; what carries
// this manager's URL and is unknown here is hidden, except its deletion; a slow watcher ends alone.

import { NsmError } from '../../../protocols/errors.ts';
import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import {
  endpointMatchesQuery,
  serviceMatchesQuery,
} from '../../../protocols/nsm/registry-match.ts';
import type { CallContext } from '../../../protocols/ports/rpc.ts';
import type { EndpointIndex } from '../../../protocols/registry/endpoint-index.ts';
import { type WatchEvent, WatchQueue } from '../../../protocols/registry/watch-queue.ts';
import { type Watcher, Watchers } from '../../../protocols/registry/watchers.ts';
import type {
  Discovery,
  DiscoveryCall,
  Following,
  ServiceEntriesView,
} from '../../discovery/discovery.ts';

export interface CachedFindSetup {
  readonly discovery: Discovery;
  readonly publicUrl: string;
  readonly local: EndpointIndex;
  /** Changed entries that may wait for one slow watcher. */
  readonly watchQueueMax?: number;
}

type Endpoint = NetworkServiceEndpoint;

/** What one kind of Find with watch needs. */
interface Asked<Value extends { readonly name: string }> {
  readonly watchers: Watchers<Value>;
  readonly initial: (entries: ServiceEntriesView) => readonly Value[];
  readonly matches: (value: Value) => boolean;
  readonly interest: Watcher<Value>['interest'];
}

/** The cache bounds it by its own Find timeout. */
function ownCall(): DiscoveryCall {
  return { deadlineMs: Number.POSITIVE_INFINITY, signal: new AbortController().signal };
}

/** One service that somebody watches: a single listener at the cache. */
interface Feed {
  readonly following: Promise<Following>;
  watchers: number;
}

export class CachedFind {
  #setup: CachedFindSetup;
  #watchers = new Watchers<Endpoint>((endpoint) => endpoint.networkServiceNames);
  #serviceWatchers = new Watchers<NetworkService>(() => []);
  #feeds = new Map<string, Feed>();

  constructor(setup: CachedFindSetup) {
    this.#setup = setup;
  }

  /** The service to look under; undefined where the query is none for the cache. */
  static serviceOf(query: Endpoint | undefined): string | undefined {
    return query === undefined || query.name !== '' ? undefined : query.networkServiceNames[0];
  }

  async find(service: string, query: Endpoint, call: CallContext): Promise<readonly Endpoint[]> {
    const { endpoints } = await this.#setup.discovery.entriesOf(service, call);
    return this.#joined(endpoints.values(), query);
  }

  async findService(query: NetworkService, call: CallContext): Promise<readonly NetworkService[]> {
    const { networkService } = await this.#setup.discovery.entriesOf(query.name, call);
    return matching(query, networkService);
  }

  /** Ends with the call, with RESOURCE_EXHAUSTED where the caller is too slow, or when the manager ends. */
  watch(
    service: string,
    query: Endpoint,
    call: CallContext,
  ): AsyncGenerator<WatchEvent<Endpoint>, void, undefined> {
    return this.#follow(service, call, {
      watchers: this.#watchers,
      initial: ({ endpoints }) => this.#joined(endpoints.values(), query),
      matches: (endpoint) => endpointMatchesQuery(query, endpoint),
      interest: { kind: 'service', service },
    });
  }

  watchService(
    query: NetworkService,
    call: CallContext,
  ): AsyncGenerator<WatchEvent<NetworkService>, void, undefined> {
    return this.#follow(query.name, call, {
      watchers: this.#serviceWatchers,
      initial: ({ networkService }) => matching(query, networkService),
      matches: (service) => serviceMatchesQuery(query, service),
      interest: { kind: 'name', name: query.name },
    });
  }

  async *#follow<Value extends { readonly name: string }>(
    service: string,
    call: CallContext,
    asked: Asked<Value>,
  ): AsyncGenerator<WatchEvent<Value>, void, undefined> {
    if (call.signal.aborted) return;
    const queue = new WatchQueue<Value>(this.#setup.watchQueueMax ?? 10_000);
    const onAbort = (): void => queue.end();
    call.signal.addEventListener('abort', onAbort, { once: true });
    const feed = this.#join(service);
    try {
      const { entries } = await feed.following;
      queue.start(asked.initial(entries));
      const { matches, interest } = asked;
      asked.watchers.add({ queue, matches, interest });
      yield* queue;
    } finally {
      call.signal.removeEventListener('abort', onAbort);
      asked.watchers.remove(queue);
      this.#leave(service, feed);
    }
  }

  /** To be called after each change of what is registered here. */
  localChanged(before: Endpoint | undefined, after: Endpoint | undefined): void {
    this.#watchers.publish(before, after);
  }

  close(): void {
    const error = new NsmError('UNAVAILABLE', 'the manager was stopped');
    this.#watchers.endAll(error);
    this.#serviceWatchers.endAll(error);
  }

  #join(service: string): Feed {
    const known = this.#feeds.get(service);
    if (known !== undefined) {
      known.watchers += 1;
      return known;
    }
    const listener = {
      endpointChanged: (before: Endpoint | undefined, after: Endpoint | undefined) =>
        this.#upstreamChanged(before, after),
      serviceChanged: (before: NetworkService | undefined, after: NetworkService | undefined) =>
        this.#serviceWatchers.publish(before, after),
    };
    // On nobody's time in particular: whoever comes while it opens waits for the same opening.
    const following = this.#setup.discovery.follow(service, listener, ownCall());
    following.catch(() => {
      if (this.#feeds.get(service) === feed) this.#feeds.delete(service);
    });
    const feed: Feed = { following, watchers: 1 };
    this.#feeds.set(service, feed);
    return feed;
  }

  #leave(service: string, feed: Feed): void {
    feed.watchers -= 1;
    if (feed.watchers > 0) return;
    if (this.#feeds.get(service) === feed) this.#feeds.delete(service);
    feed.following.then(
      (following) => following.stop(),
      () => {},
    );
  }

  #upstreamChanged(before: Endpoint | undefined, after: Endpoint | undefined): void {
    const name = after?.name ?? before?.name ?? '';
    const isOurs = after === undefined || after.url === this.#setup.publicUrl;
    // What is registered here speaks for itself.
    if (isOurs && this.#setup.local.get(name) !== undefined) return;
    if (after !== undefined && isOurs) return;
    this.#watchers.publish(before, after);
  }

  #joined(upstream: Iterable<Endpoint>, query: Endpoint): Endpoint[] {
    const { local, publicUrl } = this.#setup;
    const found = local.find(query);
    const told = new Set(found.map(({ name }) => name));
    for (const endpoint of upstream) {
      if (told.has(endpoint.name) || endpoint.url === publicUrl) continue;
      if (endpointMatchesQuery(query, endpoint)) found.push(endpoint);
    }
    return found;
  }
}

function matching(
  query: NetworkService,
  service: NetworkService | undefined,
): readonly NetworkService[] {
  return service !== undefined && serviceMatchesQuery(query, service) ? [service] : [];
}
