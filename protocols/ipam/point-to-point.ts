// Point-to-point addressing, NSM's default: every connection gets one address pair per group of pools, the lowest free
// address for the Endpoint's end and the next for the client's, as host prefixes with a route to each other.
// A group is tried pool by pool; two groups make a dual stack (the reference's `[a,b],[c]`). Whose a pair is, and how
// long, is the lease book's business.
// Invariants: an address is never taken twice; whatever fails half way leaves no trace; where the Endpoint shares its
// prefixes with replicas, new addresses come from its own blocks alone.

import { invariant, NsmError } from '../errors.ts';
import { type Family, formatPrefix, overlaps, type Prefix, widthBits } from './address.ts';
import { PrefixPool } from './prefix-pool.ts';

/** The two ends of one connection in one group. */
export interface AddressPair {
  /** The client's end. */
  readonly src: Prefix;
  /** The Endpoint's end. */
  readonly dst: Prefix;
}

/** What a new pair should be, if it can. */
export interface Wish {
  readonly excluded: readonly Prefix[];
  /** Addresses of an earlier life, by preference. */
  readonly src: readonly Prefix[];
  readonly dst: readonly Prefix[];
  /** Whose lease it is to be. */
  readonly client: string;
}

/** Which part of the pools is this Endpoint's own, where replicas share them. */
export interface PoolShare {
  /** New addresses come from these. */
  readonly blocks: readonly Prefix[];
  /** Whether an address may be taken, out of another's block too, for a client that brings it along. */
  mayTake(end: Prefix, client: string): boolean;
}

export class PointToPointPools {
  readonly #groups: readonly (readonly PrefixPool[])[];
  #share: PoolShare | undefined;

  /** Pools must not overlap. Throws INVALID_ARGUMENT. */
  constructor(groups: readonly (readonly Prefix[])[]) {
    refuseOverlaps(groups.flat());
    this.#groups = groups.map((group) => group.map((prefix) => new PrefixPool(prefix)));
  }

  get groupCount(): number {
    return this.#groups.length;
  }

  /** From now on; undefined: all of it is this Endpoint's own. */
  share(share: PoolShare | undefined): void {
    this.#share = share;
  }

  /** Whether any part of the prefix lies in one of the pools, or only in one group's. */
  covers(prefix: Prefix, group?: number): boolean {
    const pools = group === undefined ? this.#groups.flat() : (this.#groups[group] ?? []);
    return pools.some((pool) => overlaps(pool.prefix, prefix));
  }

  /** Whether new addresses may come from there. */
  isOwn(prefix: Prefix): boolean {
    if (this.#share === undefined) return this.covers(prefix);
    return this.#share.blocks.some((block) => overlaps(block, prefix));
  }

  /** A pair from the first pool of the group that has one; pools that hold a wished address come first. */
  draw(group: number, wish: Wish): AddressPair | undefined {
    const pools = this.#groups[group] ?? [];
    const holdsWish = ({ prefix }: PrefixPool): boolean =>
      [...wish.src, ...wish.dst].some((end) => overlaps(prefix, end));
    const ordered = [...pools.filter(holdsWish), ...pools.filter((pool) => !holdsWish(pool))];
    for (const pool of ordered) {
      const pair = this.#drawFrom(pool, wish);
      if (pair !== undefined) return pair;
    }
    return undefined;
  }

  /** How many addresses of a block are free. */
  freeIn(block: Prefix): bigint {
    return this.#groups
      .flat()
      .filter(({ prefix }) => overlaps(prefix, block))
      .reduce((sum, pool) => sum + pool.freeIn(block), 0n);
  }

  /** A free prefix of this length; `wished` ones first. Out of own blocks alone. */
  drawPrefix(
    size: { readonly family: Family; readonly lengthBits: number },
    wished: readonly Prefix[],
    excluded: readonly Prefix[],
  ): Prefix | undefined {
    for (const pool of this.#groups.flat()) {
      if (pool.prefix.family !== size.family) continue;
      const found = wished.find(
        (each) =>
          each.lengthBits === size.lengthBits &&
          this.isOwn(each) &&
          !excluded.some((bar) => overlaps(bar, each)) &&
          pool.take(each),
      );
      const drawn = found ?? this.#allocate(pool, size.lengthBits, excluded);
      if (drawn !== undefined) return drawn;
    }
    return undefined;
  }

  /** Takes exactly this pair; false, having taken nothing, where it is no pair of the group or not free. */
  take(group: number, { src, dst }: AddressPair): boolean {
    const pools = this.#groups[group] ?? [];
    const srcPool = pools.find((pool) => pool.take(src));
    if (srcPool === undefined) return false;
    if (pools.some((pool) => pool.take(dst))) return true;
    srcPool.release(src);
    return false;
  }

  /** Takes exactly this prefix from whichever pool has it. */
  takePrefix(prefix: Prefix): boolean {
    return this.#groups.some((pools) => pools.some((pool) => pool.take(prefix)));
  }

  /** Whether it is free here and may be taken by somebody who brings it along. */
  isFree(end: Prefix, client: string): boolean {
    if (!this.#mayTake(end, client) || !this.takePrefix(end)) return false;
    this.free(end);
    return true;
  }

  free(prefix: Prefix): void {
    const isFreed = this.#groups.some((pools) => pools.some((pool) => pool.release(prefix)));
    invariant(isFreed, `${formatPrefix(prefix)} was taken from one of the pools`);
  }

  describe(): string {
    const own = this.#share?.blocks ?? this.#groups.flat().map(({ prefix }) => prefix);
    const all = own.map(formatPrefix).join(', ') || 'none';
    return this.#share === undefined ? `pools ${all}` : `own blocks ${all}`;
  }

  #drawFrom(pool: PrefixPool, wish: Wish): AddressPair | undefined {
    const { excluded } = wish;
    const width = widthBits(pool.prefix.family);
    // Both wishes before anything else, or the one end would be given what the other had.
    const ownDst = this.#takeWished(pool, wish.dst, wish);
    const ownSrc = this.#takeWished(pool, wish.src, wish);
    const dst = ownDst ?? this.#allocate(pool, width, excluded);
    const src = ownSrc ?? this.#allocate(pool, width, excluded);
    if (dst !== undefined && src !== undefined) return { src, dst };
    for (const end of [dst, src]) if (end !== undefined) pool.release(end);
    return undefined;
  }

  #takeWished(
    pool: PrefixPool,
    wished: readonly Prefix[],
    { excluded, client }: Wish,
  ): Prefix | undefined {
    return wished.find(
      (end) =>
        overlaps(pool.prefix, end) &&
        !excluded.some((prefix) => overlaps(prefix, end)) &&
        this.#mayTake(end, client) &&
        pool.take(end),
    );
  }

  #allocate(pool: PrefixPool, lengthBits: number, excluded: readonly Prefix[]): Prefix | undefined {
    if (this.#share === undefined) return pool.allocate(lengthBits, excluded);
    for (const block of this.#share.blocks) {
      if (!overlaps(pool.prefix, block)) continue;
      const found = pool.allocate(lengthBits, excluded, block);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #mayTake(end: Prefix, client: string): boolean {
    return this.#share?.mayTake(end, client) ?? true;
  }
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
