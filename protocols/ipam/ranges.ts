// Sorted, disjoint ranges of addresses, both ends included: excluded prefixes laid out for a search from below.

import { lastOf, type Prefix } from './address.ts';

export interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/** The prefixes, all of one family, as sorted ranges without overlap; neighbours become one. */
export function mergedRanges(prefixes: readonly Prefix[]): readonly Range[] {
  const sorted = prefixes
    .map((prefix) => ({ first: prefix.base, last: lastOf(prefix) }))
    .sort((left, right) => (left.first < right.first ? -1 : left.first > right.first ? 1 : 0));
  const merged: Range[] = [];
  for (const range of sorted) {
    const previous = merged.at(-1);
    if (previous === undefined || range.first > previous.last + 1n) merged.push(range);
    else if (range.last > previous.last) {
      merged[merged.length - 1] = { first: previous.first, last: range.last };
    }
  }
  return merged;
}

/** A place to search in, and how much room is wanted: `size` is a power of two, and the result is aligned to it. */
export interface Search extends Range {
  readonly size: bigint;
}

/** The lowest aligned block inside the search that no barred range touches; undefined where there is none. */
export function nextOutside(barred: readonly Range[], search: Search): bigint | undefined {
  const { last, size } = search;
  let base = alignUp(search.first, size);
  for (const range of barred) {
    if (base + size - 1n > last) return undefined;
    if (range.last < base) continue;
    if (range.first > base + size - 1n) break;
    base = alignUp(range.last + 1n, size);
  }
  return base + size - 1n > last ? undefined : base;
}

function alignUp(value: bigint, size: bigint): bigint {
  return ((value + size - 1n) / size) * size;
}
