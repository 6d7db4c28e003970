// What the cache knows of one network service: the service, its Endpoints, and whose turn it is.
// Invariants: a refresh of an Endpoint (only its expiry moves) leaves the memory of choices valid; while the
// registry is away expiry is judged as of the moment it went, since nobody could refresh meanwhile; what was received
// becomes a duration, so that neither a step of the wall clock nor another machine's makes an Endpoint disappear; turns
// go on through changes of the Endpoints and begin anew with a change of the service.

import { equals } from '@bufbuild/protobuf';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { highest, hashOf, rendezvousScore, Turns } from '../../protocols/nsm/selection-order.ts';
import type { Clock, WallClock } from '../../protocols/ports/clock.ts';
import { isDraining } from '../../protocols/nsm/draining.ts';
import { matchEndpoints } from '../../protocols/nsm/match.ts';
import { labelsSignature, type RelevantLabels, relevantLabels } from './labels-signature.ts';
import { type RememberedChoice, workOutChoice } from './remembered-choice.ts';

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

/** Who chooses, and what this process knows beside the registry. */
export interface Choosing {
  readonly labels: Labels;
  /** What a sticky choice goes by. */
  readonly stickyKey: string;
  /** Connections of this process that lead to the Endpoint. */
  readonly loadOf: (endpointName: string) => number;
  /** Why an Endpoint is tried only after the others; undefined for most. */
  readonly lastBecause: (endpoint: NetworkServiceEndpoint) => string | undefined;
}

/** Who is to be tried in which order, and what led to it. */
export interface EndpointChoice {
  readonly candidates: readonly NetworkServiceEndpoint[];
  /** Undefined where the service is not known any more. */
  readonly by: RememberedChoice | undefined;
  /** Number of the choice under its match, from 1. */
  readonly turn: number;
  /** Those that the matches picked and this choice puts last or leaves out; bounded. */
  readonly passedOver: readonly { readonly name: string; readonly reason: string }[];
}

/** Choices remembered per service; past it all are forgotten, which costs one matching each. */
const choicesMax = 256;

/** Endpoints that one choice names as passed over. */
const passedOverMax = 32;

export class ServiceEntries {
  readonly name: string;
  networkService: NetworkService | undefined;
  readonly endpoints = new Map<string, NetworkServiceEndpoint>();
  readonly listeners = new Set<EntriesListener>();
  /** Set while the watch is broken, on the monotonic clock. */
  staleSinceMs: number | undefined;
  /** Grows with every change that can alter a choice. */
  version = 0;
  #choices = new Map<string, RememberedChoice>();
  #choicesVersion = -1;
  #relevant: RelevantLabels | undefined;
  /** By match. */
  #turns = new Map<number | undefined, Turns>();
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
    this.#turns.clear();
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
   * At most `limit` candidates in the order in which they should be tried; each call takes a turn.
   * Errors: INVALID_ARGUMENT where a template of the service cannot be rendered.
   */
  choose(choosing: Choosing, limit: number): EndpointChoice {
    const service = this.networkService;
    if (service === undefined) return { candidates: [], by: undefined, turn: 0, passedOver: [] };
    const { labels } = choosing;
    const picked = this.#order(this.#choice(service, labels), choosing, limit);
    if (picked.candidates.length > 0 || picked.by?.names.length === 0) return picked;
    // Everybody that was picked has expired: a later match may fall through to those that have not.
    const endpoints = [...this.endpoints.values()].filter((each) => this.isLive(each));
    const again = workOutChoice({ service, labels, endpoints });
    return { ...this.#order(again, choosing, limit), passedOver: picked.passedOver };
  }

  /** All that the service's matches pick now; `held` is let take part although it drains. */
  eligible(labels: Choosing['labels'], held?: string): readonly NetworkServiceEndpoint[] {
    const service = this.networkService;
    if (service === undefined) return [];
    const candidates = [...this.endpoints.values()].filter(
      (each) => each.name === held || (!isDraining(each) && this.isLive(each)),
    );
    return matchEndpoints({ service, labels, candidates }).candidates;
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

  #choice(service: NetworkService, labels: Labels): RememberedChoice {
    if (this.#choicesVersion !== this.version || this.#choices.size >= choicesMax) {
      this.#choices.clear();
      this.#choicesVersion = this.version;
      this.#relevant = relevantLabels(service);
    }
    const signature = labelsSignature(this.#relevant ?? relevantLabels(service), labels);
    const known = this.#choices.get(signature);
    if (known !== undefined) return known;
    const choice = workOutChoice({ service, labels, endpoints: this.endpoints.values() });
    this.#choices.set(signature, choice);
    return choice;
  }

  #order(by: RememberedChoice, choosing: Choosing, limit: number): EndpointChoice {
    const turns = this.#turns.get(by.matchIndex) ?? new Turns();
    this.#turns.set(by.matchIndex, turns);
    const sieve = new Sieve(limit, (endpoint) =>
      this.isLive(endpoint) ? choosing.lastBecause(endpoint) : expired,
    );
    const names =
      by.policy === 'round-robin'
        ? firstOf(this.#inTurn(by, turns, sieve), limit)
        : this.#byScore(by, scoreOf(by, choosing), { sieve, from: turns.take(), limit });
    const first = names.flatMap((name) => this.endpoints.get(name) ?? []);
    const candidates = [...first, ...sieve.last].slice(0, limit);
    return { candidates, by, turn: turns.count, passedOver: sieve.passedOver };
  }

  *#inTurn(by: RememberedChoice, turns: Turns, sieve: Sieve): Generator<string> {
    const mayServe = (name: string): boolean =>
      sieve.whyNot(this.endpoints.get(name)) === undefined;
    for (const name of turns.next(by.groups, mayServe)) {
      if (sieve.lets(this.endpoints.get(name))) yield name;
    }
  }

  #byScore(
    { places, names }: RememberedChoice,
    { score, best }: Scoring,
    {
      sieve,
      from,
      limit,
    }: { readonly sieve: Sieve; readonly from: number; readonly limit: number },
  ): readonly string[] {
    const nameAt = (place: number): string => names[place] ?? '';
    const isGood = (place: number): boolean =>
      sieve.whyNot(this.endpoints.get(nameAt(place))) === undefined;
    const ranking = { limit, from, best };
    const top = highest(places, score, ranking);
    if (top.every(isGood)) return top.map(nameAt);
    // Somebody of them may not come first: only now is everybody looked at.
    const good = places.filter((place) => sieve.lets(this.endpoints.get(nameAt(place))));
    return highest(good, score, ranking).map(nameAt);
  }
}

const expired = 'expired';

/** Lets through who may come first; keeps who may come last, and why anybody was kept back. */
class Sieve {
  readonly last: NetworkServiceEndpoint[] = [];
  readonly passedOver: { name: string; reason: string }[] = [];
  readonly #limit: number;
  readonly #reason: (endpoint: NetworkServiceEndpoint) => string | undefined;

  constructor(limit: number, reason: (endpoint: NetworkServiceEndpoint) => string | undefined) {
    this.#limit = limit;
    this.#reason = reason;
  }

  whyNot(endpoint: NetworkServiceEndpoint | undefined): string | undefined {
    return endpoint === undefined ? 'gone' : this.#reason(endpoint);
  }

  lets(endpoint: NetworkServiceEndpoint | undefined): boolean {
    const reason = this.whyNot(endpoint);
    if (reason === undefined || endpoint === undefined) return reason === undefined;
    if (this.passedOver.length < passedOverMax)
      this.passedOver.push({ name: endpoint.name, reason });
    if (reason !== expired && this.last.length < this.#limit) this.last.push(endpoint);
    return false;
  }
}

interface Scoring {
  /** By place among the names of the choice. */
  readonly score: (place: number) => number;
  readonly best: number;
}

function scoreOf(by: RememberedChoice, choosing: Choosing): Scoring {
  const { names, hashes, weights } = by;
  if (by.policy === 'sticky') {
    const key = hashOf(choosing.stickyKey);
    const score = (place: number): number =>
      rendezvousScore(key, hashes[place] ?? 0, weights?.[place]);
    return { score, best: Infinity };
  }
  const { loadOf } = choosing;
  // The load that it would have with this connection, so that weights count from the first one on.
  const score = (place: number): number =>
    -(loadOf(names[place] ?? '') + 1) / (weights?.[place] ?? 1);
  return { score, best: weights === undefined ? -1 : Infinity };
}

function firstOf(names: Iterable<string>, limit: number): readonly string[] {
  const first: string[] = [];
  for (const name of names) {
    first.push(name);
    if (first.length === limit) break;
  }
  return first;
}

function differsOnlyInExpiry(one: NetworkServiceEndpoint, other: NetworkServiceEndpoint): boolean {
  const { expirationTime: _, ...before } = one;
  const { expirationTime: __, ...after } = other;
  return equals(NetworkServiceEndpointSchema, before, after);
}
