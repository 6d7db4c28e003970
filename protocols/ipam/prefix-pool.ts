// What is free in one prefix: addresses and smaller prefixes are taken lowest first, or exactly, and given back.
// Kept as sorted ranges of free addresses, so that a /64 costs as little as a /24.
// Invariants: ranges are disjoint, sorted, never touch each other and never leave the pool's prefix; what is free is
// never given back a second time.

import { limits } from '../limits.ts';
import { lastOf, type Prefix, widthBits } from './address.ts';
import { mergedRanges, nextOutside, type Range } from './ranges.ts';

export class PrefixPool {
  readonly prefix: Prefix;
  #free: Range[];

  constructor(prefix: Prefix) {
    this.prefix = prefix;
    this.#free = [{ first: prefix.base, last: lastOf(prefix) }];
  }

  /** Free ranges, sorted; for tests and for people. */
  get freeRanges(): readonly Range[] {
    return this.#free;
  }

  /**
   * Takes the lowest free prefix of this length, of those inside `within`, that overlaps no excluded one; undefined
   * where there is none.
   */
  allocate(
    lengthBits: number,
    excluded: readonly Prefix[] = [],
    within: Prefix = this.prefix,
  ): Prefix | undefined {
    if (lengthBits < this.prefix.lengthBits) return undefined;
    const size = 1n << BigInt(widthBits(this.prefix.family) - lengthBits);
    const barred = mergedRanges(excluded.filter(({ family }) => family === this.prefix.family));
    const { base: first, last } = { base: within.base, last: lastOf(within) };
    for (let index = this.#indexAtOrAfter(first); index < this.#free.length; index += 1) {
      const range = this.#free[index];
      if (range === undefined || range.first > last) return undefined;
      const base = nextOutside(barred, {
        first: range.first < first ? first : range.first,
        last: range.last > last ? last : range.last,
        size,
      });
      if (base !== undefined && this.#cut(index, { first: base, last: base + size - 1n })) {
        return { family: this.prefix.family, base, lengthBits };
      }
    }
    return undefined;
  }

  /** How many addresses of a part of the pool are free. */
  freeIn(part: Prefix): bigint {
    const [first, last] = [part.base, lastOf(part)];
    let free = 0n;
    for (let index = this.#indexAtOrAfter(first); index < this.#free.length; index += 1) {
      const range = this.#free[index];
      if (range === undefined || range.first > last) break;
      const from = range.first < first ? first : range.first;
      free += (range.last > last ? last : range.last) - from + 1n;
    }
    return free;
  }

  /** Takes exactly this prefix; false where it lies outside the pool or part of it is taken. */
  take(prefix: Prefix): boolean {
    const wanted = { first: prefix.base, last: lastOf(prefix) };
    const index = this.#indexAtOrAfter(wanted.first);
    const range = this.#free[index];
    const fits =
      prefix.family === this.prefix.family &&
      range !== undefined &&
      range.first <= wanted.first &&
      wanted.last <= range.last;
    return fits && this.#cut(index, wanted);
  }

  /** Gives a prefix back; false where it lies outside the pool or part of it is free already. */
  release(prefix: Prefix): boolean {
    const { first, last } = { first: prefix.base, last: lastOf(prefix) };
    const isInside =
      prefix.family === this.prefix.family &&
      first >= this.prefix.base &&
      last <= lastOf(this.prefix);
    const index = this.#indexAtOrAfter(first);
    const next = this.#free[index];
    if (!isInside || (next !== undefined && next.first <= last)) return false;
    const previous = this.#free[index - 1];
    const joinsPrevious = previous !== undefined && previous.last + 1n === first;
    const joinsNext = next !== undefined && last + 1n === next.first;
    this.#free.splice(index - (joinsPrevious ? 1 : 0), Number(joinsPrevious) + Number(joinsNext), {
      first: joinsPrevious ? previous.first : first,
      last: joinsNext ? next.last : last,
    });
    return true;
  }

  /** Index of the first free range that ends at or behind `value`. */
  #indexAtOrAfter(value: bigint): number {
    let [low, high] = [0, this.#free.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#free[middle]?.last ?? value) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** False where the pool would break into more pieces than it may. */
  #cut(index: number, { first, last }: Range): boolean {
    const range = this.#free[index];
    if (range === undefined) return false;
    const rest: Range[] = [];
    if (range.first < first) rest.push({ first: range.first, last: first - 1n });
    if (last < range.last) rest.push({ first: last + 1n, last: range.last });
    if (this.#free.length + rest.length - 1 > limits.poolRanges) return false;
    this.#free.splice(index, 1, ...rest);
    return true;
  }
}
