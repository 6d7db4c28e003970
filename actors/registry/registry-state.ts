// What a registry domain knows, and the rules by which it changes. Synchronous; the actor calls it in its turns.
// NSM concept: registration rules of NetworkService and NetworkServiceEndpoint. Invariants: an entry that changes
// is told to its watchers and to the store in the same step; initial_registration_time stays until Unregister or
// expiry; what another replica registered ends a little later here, so that its owner does it.

import { equals, fromBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { isNodeLease } from '../../protocols/nsm/node-lease.ts';
import { serviceMatchesQuery } from '../../protocols/nsm/registry-match.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { StoreChange } from '../../protocols/ports/registry-store.ts';
import { EndpointIndex } from '../../protocols/registry/endpoint-index.ts';
import { ExpiryHeap } from '../../protocols/registry/expiry-heap.ts';
import type { StoreWriter } from './store-writer.ts';
import {
  checkEndpoint,
  checkService,
  encodeEndpoint,
} from '../../protocols/registry/validate-entry.ts';
import { Watchers } from '../../protocols/registry/watchers.ts';

export interface RegistryStateSetup {
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly log: Log;
  /** Life of a registration without a refresh; 1 min in the reference (`NSM_EXPIRE_PERIOD`). */
  readonly expirePeriodMs: number;
  /** Later than its expiry, an entry of another replica ends here too. */
  readonly foreignGraceMs: number;
  /** Entries of each kind; beyond, RESOURCE_EXHAUSTED. */
  readonly entriesMax: number;
  /** When this process's own token ends, in ms since 1970. */
  readonly ownExpiryEpochMs: () => number;
}

const endpointKey = 'nse/';
const serviceKey = 'ns/';
/** The reference's setpayload element: an empty payload is stored as IP. */
const defaultPayload = 'IP';

export class RegistryState {
  readonly endpoints = new EndpointIndex();
  readonly services = new Map<string, NetworkService>();
  readonly endpointWatchers = new Watchers<NetworkServiceEndpoint>((e) => e.networkServiceNames);
  readonly serviceWatchers = new Watchers<NetworkService>(() => []);
  #expiry = new ExpiryHeap();
  #setup: RegistryStateSetup;
  #writer: StoreWriter;

  constructor(setup: RegistryStateSetup, writer: StoreWriter) {
    this.#setup = setup;
    this.#writer = writer;
  }

  registerService(asked: NetworkService): NetworkService {
    const service = asked.payload === '' ? { ...asked, payload: defaultPayload } : asked;
    const bytes = checkService(service);
    const before = this.services.get(service.name);
    this.#checkRoom(before !== undefined, this.services.size);
    this.services.set(service.name, service);
    if (before === undefined || !equals(NetworkServiceSchema, before, service)) {
      this.#writer.put(serviceKey + service.name, bytes);
      this.serviceWatchers.publish(before, service);
    }
    return service;
  }

  findServices(query: NetworkService): readonly NetworkService[] {
    if (query.name === '') {
      return [...this.services.values()].filter((each) => serviceMatchesQuery(query, each));
    }
    const named = this.services.get(query.name);
    return named !== undefined && serviceMatchesQuery(query, named) ? [named] : [];
  }

  unregisterService(name: string): void {
    const before = this.services.get(name);
    if (before === undefined) return;
    this.services.delete(name);
    this.#writer.delete(serviceKey + name);
    this.serviceWatchers.publish(before, undefined);
  }

  registerEndpoint(
    asked: NetworkServiceEndpoint,
    callerExpiresEpochMs: number,
  ): NetworkServiceEndpoint {
    const { expirePeriodMs, ownExpiryEpochMs, wallClock, clock } = this.#setup;
    const nowEpochMs = wallClock.epochMs();
    checkEndpoint(asked, nowEpochMs);
    const before = this.endpoints.get(asked.name);
    this.#checkRoom(before !== undefined, this.endpoints.size);
    const expiresEpochMs = Math.min(
      nowEpochMs + expirePeriodMs,
      ownExpiryEpochMs(),
      callerExpiresEpochMs,
    );
    const given = asked.expirationTime;
    const isEarlier = given !== undefined && timestampToEpochMs(given) <= expiresEpochMs;
    const expirationTime = isEarlier ? given : timestampFromEpochMs(expiresEpochMs);
    const endpoint: NetworkServiceEndpoint = {
      ...asked,
      expirationTime,
      initialRegistrationTime:
        before?.initialRegistrationTime ??
        asked.initialRegistrationTime ??
        timestampFromEpochMs(nowEpochMs),
    };
    const bytes = encodeEndpoint(endpoint);
    this.#expiry.set(
      endpoint.name,
      clock.nowMs() + timestampToEpochMs(expirationTime) - nowEpochMs,
    );
    this.endpoints.set(endpoint);
    this.#writer.put(endpointKey + endpoint.name, bytes);
    if (!isRenewal(before, endpoint)) this.endpointWatchers.publish(before, endpoint);
    return endpoint;
  }

  unregisterEndpoint(name: string): void {
    this.#dropEndpoint(name);
    // Also where it is unknown here: a write of it may be waiting, or another replica's entry not yet read.
    this.#writer.delete(endpointKey + name);
  }

  /** When the next entry may end, on the monotonic clock. */
  nextExpiryMs(): number {
    return this.#expiry.nextMs();
  }

  /** Ends what is due, at most `countMax` entries; true where more may be due. */
  expire(countMax: number): boolean {
    const due = this.#expiry.takeDue(this.#setup.clock.nowMs(), countMax);
    for (const name of due) {
      this.#dropEndpoint(name);
      this.#writer.delete(endpointKey + name);
      this.#setup.log.info('endpoint registration expired', { endpoint: name });
    }
    return due.length === countMax;
  }

  /** Takes over what the store reports of other replicas, or of this one's own past. */
  apply(change: StoreChange): void {
    if (change.kind === 'reset') {
      this.#writeEverything();
      return;
    }
    const verdict = this.#writer.observe(change);
    if (verdict === 'ignore') return;
    const key = change.kind === 'put' ? change.entry.key : change.key;
    try {
      if (key.startsWith(endpointKey)) this.#applyEndpoint(key, change, verdict === 'conflict');
      else if (key.startsWith(serviceKey)) this.#applyService(key, change, verdict === 'conflict');
    } catch (error) {
      this.#setup.log.warn('registry store held an entry that cannot be read', { key, error });
    }
  }

  #applyEndpoint(key: string, change: StoreChange, isConflict: boolean): void {
    const name = key.slice(endpointKey.length);
    if (change.kind !== 'put') {
      this.#dropEndpoint(name);
      return;
    }
    const endpoint = fromBinary(NetworkServiceEndpointSchema, change.entry.value);
    const before = this.endpoints.get(name);
    // Both replicas were told; the fresher refresh is where the Endpoint is now.
    if (isConflict && before !== undefined && expiryOf(before) > expiryOf(endpoint)) return;
    this.#writer.yieldTo(key);
    const remainingMs = expiryOf(endpoint) - this.#setup.wallClock.epochMs();
    if (endpoint.name !== name || remainingMs <= -this.#setup.foreignGraceMs) {
      this.#dropEndpoint(name);
      this.#writer.delete(key);
      return;
    }
    const { clock, foreignGraceMs, expirePeriodMs } = this.#setup;
    // Nobody registers for longer: what says so was written, or is read, by a clock that is wrong.
    const lifeMs = Math.min(remainingMs, expirePeriodMs);
    this.#expiry.set(name, clock.nowMs() + lifeMs + foreignGraceMs);
    this.endpoints.set(endpoint);
    this.endpointWatchers.publish(before, endpoint);
  }

  #applyService(key: string, change: StoreChange, isConflict: boolean): void {
    const name = key.slice(serviceKey.length);
    const before = this.services.get(name);
    if (change.kind !== 'put') {
      if (before !== undefined) this.unregisterService(name);
      return;
    }
    // Services carry no time: what was registered here last is written over the other's.
    if (isConflict && before !== undefined) return;
    this.#writer.yieldTo(key);
    const service = fromBinary(NetworkServiceSchema, change.entry.value);
    if (service.name !== name) return;
    this.services.set(name, service);
    this.serviceWatchers.publish(before, service);
  }

  #dropEndpoint(name: string): void {
    const before = this.endpoints.delete(name);
    if (before === undefined) return;
    this.#expiry.delete(name);
    this.endpointWatchers.publish(before, undefined);
  }

  #writeEverything(): void {
    this.#writer.reset();
    for (const service of this.services.values()) {
      this.#writer.put(serviceKey + service.name, checkService(service));
    }
    for (const endpoint of this.endpoints.values()) {
      this.#writer.put(endpointKey + endpoint.name, encodeEndpoint(endpoint));
    }
  }

  #checkRoom(isKnown: boolean, size: number): void {
    if (isKnown || size < this.#setup.entriesMax) return;
    throw new NsmError('RESOURCE_EXHAUSTED', 'the registry is full', {
      rule: 'registry-entries',
      expected: `at most ${this.#setup.entriesMax} entries of a kind`,
      found: `${size}`,
      remedy: 'unregister what is not needed, or split the domain',
    });
  }
}

/**
 * A lease is renewed every second or two and followed by every node: they are told when it comes, changes and ends, not
 * each time that it goes on.
 */
function isRenewal(
  before: NetworkServiceEndpoint | undefined,
  after: NetworkServiceEndpoint,
): boolean {
  if (before === undefined || !isNodeLease(after) || after.expirationTime === undefined)
    return false;
  return equals(
    NetworkServiceEndpointSchema,
    { ...before, expirationTime: after.expirationTime },
    after,
  );
}

/** Milliseconds since 1970; an entry without expiration never ends. */
function expiryOf(endpoint: NetworkServiceEndpoint): number {
  const expires = endpoint.expirationTime;
  return expires === undefined ? Number.POSITIVE_INFINITY : timestampToEpochMs(expires);
}
