// Point-to-point addressing, NSM's default: every connection gets one address pair per group of pools, the lowest free
// address for the Endpoint's end and the next for the client's, as host prefixes with a route to each other.
// A group is tried pool by pool; two groups make a dual stack (the reference's `[a,b],[c]`).
// Invariants: an address is never in two leases; whatever fails half way leaves no trace; the leases alone are the state
// (the pools follow from them), so that a journal that keeps leases restores everything.
// Deviations, on purpose, from what looks accidental in the reference: a first Request that fails leaves nothing behind
// (`release` it), half a recovery loses no address but keeps the half that is free, and addresses that this Endpoint
// did not give are removed from the request with their routes (`keepForeign` keeps them, as the reference does).

import { create } from '@bufbuild/protobuf';
import { invariant, NsmError } from '../errors.ts';
import { IPContextSchema, type IPContext } from '../nsm/gen/connectioncontext_pb.ts';
import {
  type Address,
  formatPrefix,
  hostPrefix,
  overlaps,
  parsePrefix,
  type Prefix,
} from './address.ts';
import { addressesIn, withPairs } from './ip-context.ts';
import { PrefixPool } from './prefix-pool.ts';

/** The two ends of one connection in one group. */
export interface AddressPair {
  /** The client's end. */
  readonly src: Prefix;
  /** The Endpoint's end. */
  readonly dst: Prefix;
}

/** What one connection holds: a pair per group, in group order. */
export interface Lease {
  readonly connectionId: string;
  readonly pairs: readonly AddressPair[];
}

export interface Assignment {
  readonly ipContext: IPContext;
  readonly lease: Lease;
  /** True where the connection had no lease before: `release` it if the Request fails. */
  readonly isNew: boolean;
}

/** Addresses that the connection should get where they are free, for example those of an earlier life. */
export interface PreferredAddresses {
  readonly src?: readonly Address[];
  readonly dst?: readonly Address[];
}

export interface PointToPointOptions {
  readonly keepForeign?: boolean;
}

export class PointToPointIpam {
  readonly #groups: readonly (readonly PrefixPool[])[];
  readonly #leases = new Map<string, Lease>();
  readonly #options: PointToPointOptions;

  /** Pools must not overlap. Throws INVALID_ARGUMENT. */
  constructor(groups: readonly (readonly Prefix[])[], options: PointToPointOptions = {}) {
    refuseOverlaps(groups.flat());
    this.#groups = groups.map((group) => group.map((prefix) => new PrefixPool(prefix)));
    this.#options = options;
  }

  /** Every lease, for the journal. */
  leases(): readonly Lease[] {
    return [...this.#leases.values()];
  }

  /**
   * The request's context with this connection's addresses and routes. A known connection keeps its lease, but for
   * pairs that are excluded now; an unknown one gets back what its context (or `preferred`) names, as far as that is
   * free. Throws RESOURCE_EXHAUSTED, having changed nothing.
   */
  assign(
    connectionId: string,
    requested: IPContext | undefined,
    preferred: PreferredAddresses = {},
  ): Assignment {
    const ipContext = requested ?? create(IPContextSchema);
    const before = this.#leases.get(connectionId);
    const { pairs, added } = this.#pairsFor(before?.pairs ?? [], wishOf(ipContext, preferred));
    const dropped = before?.pairs.filter((pair) => !pairs.includes(pair)) ?? [];
    for (const pair of dropped) this.#free(pair);
    const isUnchanged = before !== undefined && dropped.length === 0 && added.length === 0;
    const lease = isUnchanged ? before : { connectionId, pairs };
    this.#leases.set(connectionId, lease);
    const change = { pairs, dropped, keepForeign: this.#options.keepForeign === true };
    return { ipContext: withPairs(ipContext, change), lease, isNew: before === undefined };
  }

  /** One pair per group: the held one where it may stay, a new one otherwise. Throws having taken nothing. */
  #pairsFor(
    held: readonly AddressPair[],
    wish: Wish,
  ): { pairs: readonly AddressPair[]; added: readonly AddressPair[] } {
    const pairs: AddressPair[] = [];
    const added: AddressPair[] = [];
    try {
      for (const [index, pools] of this.#groups.entries()) {
        const kept = held[index];
        const stays = kept !== undefined && !isExcluded(kept, wish);
        const pair = stays ? kept : drawPair(pools, wish);
        if (!stays) added.push(pair);
        pairs.push(pair);
      }
    } catch (thrown) {
      for (const pair of added) this.#free(pair);
      throw thrown;
    }
    return { pairs, added };
  }

  /** Frees what the connection holds; an unknown id is no error. */
  release(connectionId: string): void {
    const lease = this.#leases.get(connectionId);
    if (lease === undefined) return;
    this.#leases.delete(connectionId);
    for (const pair of lease.pairs) this.#free(pair);
  }

  /**
   * Takes over a lease of an earlier life. False where it does not fit any more (pools reconfigured, address taken):
   * then nothing has changed, and the connection's next Request gets what is still free of it.
   */
  restore(lease: Lease): boolean {
    if (this.#leases.has(lease.connectionId)) return false;
    if (lease.pairs.length !== this.#groups.length) return false;
    const taken: AddressPair[] = [];
    for (const [index, pair] of lease.pairs.entries()) {
      if (!takePair(this.#groups[index] ?? [], pair)) {
        for (const each of taken) this.#free(each);
        return false;
      }
      taken.push(pair);
    }
    this.#leases.set(lease.connectionId, lease);
    return true;
  }

  /**
   * As `restore`, with the lease read from the context that the connection was answered with: in each group the
   * addresses that are of its pools.
   */
  restoreFrom(connectionId: string, answered: IPContext | undefined): boolean {
    const src = addressesIn(answered?.srcIpAddrs ?? []);
    const dst = addressesIn(answered?.dstIpAddrs ?? []);
    const pairs = this.#groups.flatMap((pools) => {
      const isOurs = (end: Prefix): boolean => pools.some(({ prefix }) => overlaps(prefix, end));
      const [ourSrc, ourDst] = [src.find(isOurs), dst.find(isOurs)];
      return ourSrc === undefined || ourDst === undefined ? [] : [{ src: ourSrc, dst: ourDst }];
    });
    return this.restore({ connectionId, pairs });
  }

  #free(pair: AddressPair): void {
    for (const end of [pair.src, pair.dst]) {
      const isFreed = this.#groups.some((pools) => pools.some((pool) => pool.release(end)));
      invariant(isFreed, `${formatPrefix(end)} was leased from one of the pools`);
    }
  }
}

/** What a new pair should be, if it can. */
interface Wish {
  readonly excluded: readonly Prefix[];
  readonly src: readonly Prefix[];
  readonly dst: readonly Prefix[];
}

function wishOf(context: IPContext, preferred: PreferredAddresses): Wish {
  return {
    excluded: context.excludedPrefixes.flatMap((text) => parsePrefix(text) ?? []),
    src: [...(preferred.src ?? []).map(hostPrefix), ...addressesIn(context.srcIpAddrs)],
    dst: [...(preferred.dst ?? []).map(hostPrefix), ...addressesIn(context.dstIpAddrs)],
  };
}

/** A pair from the first pool that has one; pools that hold a wished address come first. */
function drawPair(pools: readonly PrefixPool[], wish: Wish): AddressPair {
  const holdsWish = (pool: PrefixPool): boolean =>
    [...wish.src, ...wish.dst].some((end) => overlaps(pool.prefix, end));
  const ordered = [...pools.filter(holdsWish), ...pools.filter((pool) => !holdsWish(pool))];
  for (const pool of ordered) {
    const pair = drawFrom(pool, wish);
    if (pair !== undefined) return pair;
  }
  throw new NsmError('RESOURCE_EXHAUSTED', 'no address pair is free for the connection', {
    rule: 'ipam',
    expected: 'two free addresses outside the excluded prefixes',
    found: `pools ${pools.map(({ prefix }) => formatPrefix(prefix)).join(', ') || 'none'}, excluded ${wish.excluded.length}`,
    remedy: 'enlarge NSM_CIDR_PREFIX, or take prefixes out of the exclusion',
  });
}

function drawFrom(pool: PrefixPool, wish: Wish): AddressPair | undefined {
  const wishedDst = takeWished(pool, wish.dst, wish.excluded);
  const wishedSrc = takeWished(pool, wish.src, wish.excluded);
  const width = pool.prefix.family === 4 ? 32 : 128;
  const dst = wishedDst ?? pool.allocate(width, wish.excluded);
  const src = wishedSrc ?? pool.allocate(width, wish.excluded);
  if (dst !== undefined && src !== undefined) return { src, dst };
  for (const end of [dst, src]) if (end !== undefined) pool.release(end);
  return undefined;
}

function takeWished(
  pool: PrefixPool,
  wished: readonly Prefix[],
  excluded: readonly Prefix[],
): Prefix | undefined {
  return wished.find((end) => !excluded.some((prefix) => overlaps(prefix, end)) && pool.take(end));
}

function takePair(pools: readonly PrefixPool[], { src, dst }: AddressPair): boolean {
  const srcPool = pools.find((pool) => pool.take(src));
  if (srcPool === undefined) return false;
  if (pools.some((pool) => pool.take(dst))) return true;
  srcPool.release(src);
  return false;
}

function isExcluded({ src, dst }: AddressPair, { excluded }: Wish): boolean {
  return excluded.some((prefix) => overlaps(prefix, src) || overlaps(prefix, dst));
}

function refuseOverlaps(prefixes: readonly Prefix[]): void {
  for (const [index, left] of prefixes.entries()) {
    const right = prefixes.slice(index + 1).find((other) => overlaps(left, other));
    if (right === undefined) continue;
    throw new NsmError('INVALID_ARGUMENT', 'two address pools overlap', {
      rule: 'NSM_CIDR_PREFIX',
      expected: 'prefixes without common addresses',
      found: `${formatPrefix(left)} and ${formatPrefix(right)}`,
    });
  }
}
