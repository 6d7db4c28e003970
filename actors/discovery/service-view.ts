// What the cache knows of one network service: the service, its Endpoints, and whose turn it is.
// Invariants: a refresh of an Endpoint (only its expiry moves) leaves the memory of choices valid; while the
// registry is away expiry is judged as of the moment it went, since nobody could refresh meanwhile; what was received
// becomes a duration, so that neither a step of the wall clock nor another machine's makes an Endpoint disappear.

import { equals } from '@bufbuild/protobuf';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { isDraining } from '../../protocols/nsm/draining.ts';
import { matchEndpoints } from '../../protocols/nsm/match.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import { labelsSignature, type RelevantLabels, relevantLabels } from './labels-signature.ts';

type Labels = Readonly<Record<string, string>>;

/** Told of every change of a picture, right after it; `before` undefined is new, `after` undefined is gone. */
export interface EntriesListener {
  endpointChanged(
    before: NetworkServiceEndpoint | undefined,
    after: NetworkServiceEndpoint | undefined,
  ): void;
  serviceChanged(before: NetworkService | undefined, after: NetworkService | undefined): void;
}

export interface EntryClocks {
  readonly clock: Clock;
  readonly wallClock: WallClock;
}

/**
 * An entry that the registry still tells of and that has ended by this machine's clock: the clocks differ. The registry
 * takes it away by its own; this is the reference's default life of a registration.
 */
const lifeOfOverdueMs = 60_000;

/** Choices remembered per service; past it all are forgotten, which costs one matching each. */
const choicesMax = 256;

export class ServiceEntries {
  readonly name: string;
  networkService: NetworkService | undefined;
  readonly endpoints = new Map<string, NetworkServiceEndpoint>();
  readonly listeners = new Set<EntriesListener>();
  /** Set while the watch is broken, on the monotonic clock. */
  staleSinceMs: number | undefined;
  /** Grows with every change that can alter a choice. */
  version = 0;
  #choices = new Map<string, readonly string[]>();
  #choicesVersion = -1;
  #relevant: RelevantLabels | undefined;
  #turn = 0;
  /** When each Endpoint's entry ends, on the monotonic clock; one that never ends is not in it. */
  readonly #endsAtMs = new Map<string, number>();
  readonly #clocks: EntryClocks;

  constructor(name: string, clocks: EntryClocks) {
    this.name = name;
    this.#clocks = clocks;
  }

  setService(service: NetworkService | undefined): void {
    const before = this.networkService;
    const isSame =
      before !== undefined &&
      service !== undefined &&
      equals(NetworkServiceSchema, before, service);
    if (isSame || before === service) return;
    this.networkService = service;
    this.version += 1;
    for (const listener of this.listeners) listener.serviceChanged(before, service);
  }

  setEndpoint(endpoint: NetworkServiceEndpoint): void {
    const before = this.endpoints.get(endpoint.name);
    this.endpoints.set(endpoint.name, endpoint);
    this.#setEnd(endpoint);
    if (before === undefined || !differsOnlyInExpiry(before, endpoint)) this.version += 1;
    for (const listener of this.listeners) listener.endpointChanged(before, endpoint);
  }

  deleteEndpoint(name: string): void {
    const before = this.endpoints.get(name);
    if (before === undefined) return;
    this.endpoints.delete(name);
    this.#endsAtMs.delete(name);
    this.version += 1;
    for (const listener of this.listeners) listener.endpointChanged(before, undefined);
  }

  isLive({ name }: NetworkServiceEndpoint): boolean {
    const nowMs = this.#clocks.clock.nowMs();
    return (this.#endsAtMs.get(name) ?? Infinity) > Math.min(nowMs, this.staleSinceMs ?? nowMs);
  }

  /**
   * At most `limit` candidates in the order in which they should be tried; each call begins with the next one.
   * Errors: INVALID_ARGUMENT where a template of the service cannot be rendered.
   */
  select(labels: Labels, limit: number): readonly NetworkServiceEndpoint[] {
    const service = this.networkService;
    if (service === undefined) return [];
    const names = this.#choice(service, labels);
    const picked = this.#rotate(names, limit);
    if (picked.length > 0 || names.length === 0) return picked;
    // Everybody that was picked has expired: a later match may fall through to those that have not.
    const live = this.#open().filter((each) => this.isLive(each));
    const { candidates } = matchEndpoints({ service, labels, candidates: live });
    return this.#rotate(candidates.map(nameOf), limit);
  }

  #setEnd({ name, expirationTime }: NetworkServiceEndpoint): void {
    if (expirationTime === undefined) {
      this.#endsAtMs.delete(name);
      return;
    }
    const { clock, wallClock } = this.#clocks;
    const leftMs = timestampToEpochMs(expirationTime) - wallClock.epochMs();
    this.#endsAtMs.set(name, clock.nowMs() + (leftMs > 0 ? leftMs : lifeOfOverdueMs));
  }

  #choice(service: NetworkService, labels: Labels): readonly string[] {
    if (this.#choicesVersion !== this.version || this.#choices.size >= choicesMax) {
      this.#choices.clear();
      this.#choicesVersion = this.version;
      this.#relevant = relevantLabels(service);
    }
    const signature = labelsSignature(this.#relevant ?? relevantLabels(service), labels);
    const known = this.#choices.get(signature);
    if (known !== undefined) return known;
    const candidates = this.#open();
    const names = matchEndpoints({ service, labels, candidates }).candidates.map(nameOf);
    this.#choices.set(signature, names);
    return names;
  }

  /** Those that take new clients. */
  #open(): readonly NetworkServiceEndpoint[] {
    return [...this.endpoints.values()].filter((each) => !isDraining(each));
  }

  #rotate(names: readonly string[], limit: number): readonly NetworkServiceEndpoint[] {
    const picked: NetworkServiceEndpoint[] = [];
    const from = this.#turn;
    this.#turn = (this.#turn + 1) % Number.MAX_SAFE_INTEGER;
    for (let step = 0; step < names.length && picked.length < limit; step += 1) {
      const endpoint = this.endpoints.get(names[(from + step) % names.length] ?? '');
      if (endpoint !== undefined && this.isLive(endpoint)) picked.push(endpoint);
    }
    return picked;
  }
}

function nameOf(endpoint: NetworkServiceEndpoint): string {
  return endpoint.name;
}

function differsOnlyInExpiry(one: NetworkServiceEndpoint, other: NetworkServiceEndpoint): boolean {
  const { expirationTime: _, ...before } = one;
  const { expirationTime: __, ...after } = other;
  return equals(NetworkServiceEndpointSchema, before, after);
}
