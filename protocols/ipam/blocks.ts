// How replicas cut a prefix that they share into blocks: all replicas reckon alike from the prefix alone.
// Invariants: blocks are of one size, cover the prefix and never overlap; there are at most 256 of one prefix; a
// block holds an address pair wherever the prefix does.

import { type Prefix, prefixSize, widthBits } from './address.ts';

const blocksMaxBits = 8;

/** About as many blocks as addresses in each: /24 gives 16 of /28, /16 gives 256 of /24. */
function blockLengthBits({ family, lengthBits }: Prefix): number {
  const hostBits = widthBits(family) - lengthBits;
  const inBlock = Math.max(Math.ceil(hostBits / 2), hostBits - blocksMaxBits);
  return widthBits(family) - Math.max(inBlock, Math.min(hostBits, 1));
}

export function blocksOf(prefix: Prefix): readonly Prefix[] {
  const lengthBits = blockLengthBits(prefix);
  const size = prefixSize({ ...prefix, lengthBits });
  const count = 2 ** (lengthBits - prefix.lengthBits);
  return Array.from({ length: count }, (_, index) => ({
    family: prefix.family,
    base: prefix.base + BigInt(index) * size,
    lengthBits,
  }));
}
