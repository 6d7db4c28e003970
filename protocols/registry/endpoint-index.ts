// The endpoints of one domain, found by name or by service without looking at the others.
// Invariant: both maps hold the same entries; a service without endpoints has no map.

import type { NetworkServiceEndpoint } from '../nsm/gen/registry_pb.ts';
import { endpointMatchesQuery } from '../nsm/registry-match.ts';

export class EndpointIndex {
  #byName = new Map<string, NetworkServiceEndpoint>();
  #byService = new Map<string, Map<string, NetworkServiceEndpoint>>();

  get size(): number {
    return this.#byName.size;
  }

  get(name: string): NetworkServiceEndpoint | undefined {
    return this.#byName.get(name);
  }

  values(): Iterable<NetworkServiceEndpoint> {
    return this.#byName.values();
  }

  set(endpoint: NetworkServiceEndpoint): void {
    const previous = this.#byName.get(endpoint.name);
    if (previous !== undefined) this.#removeFromServices(previous, endpoint.networkServiceNames);
    this.#byName.set(endpoint.name, endpoint);
    for (const service of endpoint.networkServiceNames) {
      const members = this.#byService.get(service);
      if (members === undefined) this.#byService.set(service, new Map([[endpoint.name, endpoint]]));
      else members.set(endpoint.name, endpoint);
    }
  }

  delete(name: string): NetworkServiceEndpoint | undefined {
    const previous = this.#byName.get(name);
    if (previous === undefined) return undefined;
    this.#byName.delete(name);
    this.#removeFromServices(previous, []);
    return previous;
  }

  ofService(service: string): readonly NetworkServiceEndpoint[] {
    return [...(this.#byService.get(service)?.values() ?? [])];
  }

  /** Entries that match the query of a Find; in order of first registration within a service. */
  find(query: NetworkServiceEndpoint): NetworkServiceEndpoint[] {
    const found: NetworkServiceEndpoint[] = [];
    for (const candidate of this.#candidates(query)) {
      if (endpointMatchesQuery(query, candidate)) found.push(candidate);
    }
    return found;
  }

  #candidates(query: NetworkServiceEndpoint): Iterable<NetworkServiceEndpoint> {
    if (query.name !== '') {
      const named = this.#byName.get(query.name);
      return named === undefined ? [] : [named];
    }
    let smallest: Map<string, NetworkServiceEndpoint> | undefined;
    for (const service of query.networkServiceNames) {
      const members = this.#byService.get(service);
      if (members === undefined) return [];
      if (smallest === undefined || members.size < smallest.size) smallest = members;
    }
    return (smallest ?? this.#byName).values();
  }

  #removeFromServices(endpoint: NetworkServiceEndpoint, except: readonly string[]): void {
    for (const service of endpoint.networkServiceNames) {
      if (except.includes(service)) continue;
      const members = this.#byService.get(service);
      members?.delete(endpoint.name);
      if (members?.size === 0) this.#byService.delete(service);
    }
  }
}
