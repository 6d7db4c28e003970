// IP addresses and prefixes as numbers: parse, format, compare, contain. Both families, no zones.
// Invariants: parsing accepts exactly what Go's net package accepts without a zone (no leading zeros in IPv4); formatting
// is canonical (RFC 5952), so that parse and format are inverse on canonical text; a prefix's base has no host bits.

import { NsmError } from '../errors.ts';

export type Family = 4 | 6;

export interface Address {
  readonly family: Family;
  /** The address as an unsigned number of 32 or 128 bits. */
  readonly value: bigint;
}

export interface Prefix {
  readonly family: Family;
  /** First address of the prefix. */
  readonly base: bigint;
  /** 0..32 or 0..128. */
  readonly lengthBits: number;
}

/** 32 or 128. */
export function widthBits(family: Family): number {
  return family === 4 ? 32 : 128;
}

/** The address, or undefined where the text is none. */
export function parseAddress(text: string): Address | undefined {
  if (text.length > 45) return undefined;
  if (!text.includes(':')) {
    const value = parseV4(text);
    return value === undefined ? undefined : { family: 4, value: BigInt(value) };
  }
  const value = parseV6(text);
  return value === undefined ? undefined : { family: 6, value };
}

const octet = /^(?:0|[1-9]\d{0,2})$/;

function parseV4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    const number = octet.test(part) ? Number(part) : 256;
    if (number > 255) return undefined;
    value = value * 256 + number;
  }
  return value;
}

const group = /^[0-9a-fA-F]{1,4}$/;

function parseV6(text: string): bigint | undefined {
  const gap = text.indexOf('::');
  if (gap !== -1 && text.includes('::', gap + 1)) return undefined;
  const head = groupsOf(gap === -1 ? text : text.slice(0, gap), gap === -1);
  const tail = groupsOf(gap === -1 ? '' : text.slice(gap + 2), true);
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (gap === -1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const each of head) value = (value << 16n) | BigInt(each);
  value <<= BigInt(16 * missing);
  for (const each of tail) value = (value << 16n) | BigInt(each);
  return value;
}

/** The 16-bit groups of one side of `::`; `last` where a dotted IPv4 may end it. */
function groupsOf(text: string, last: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (group.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else if (last && index === parts.length - 1) {
      const v4 = parseV4(part);
      if (v4 === undefined) return undefined;
      groups.push(Math.floor(v4 / 65_536), v4 % 65_536);
    } else {
      return undefined;
    }
  }
  return groups;
}

/** Canonical text: dotted decimal, or RFC 5952. */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) {
    return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join('.');
  }
  if (value >> 32n === 0xffffn) {
    return `::ffff:${formatAddress({ family: 4, value: value & 0xffff_ffffn })}`;
  }
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) {
    groups.push(((value >> shift) & 0xffffn).toString(16));
  }
  const { start, length } = longestZeroRun(groups);
  if (length < 2) return groups.join(':');
  return `${groups.slice(0, start).join(':')}::${groups.slice(start + length).join(':')}`;
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (const [index, each] of groups.entries()) {
    if (each !== '0') start = index + 1;
    else if (index - start + 1 > best.length) best = { start, length: index - start + 1 };
  }
  return best;
}

/** An address with the length behind its slash, host bits kept: `10.0.0.5/24`. */
export interface AddressWithLength {
  readonly address: Address;
  readonly lengthBits: number;
}

/** CIDR text, or undefined where it is none; a bare address is none. */
export function parseCidr(text: string): AddressWithLength | undefined {
  const slash = text.indexOf('/');
  if (slash === -1) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (address === undefined || !octet.test(length)) return undefined;
  const lengthBits = Number(length);
  return lengthBits > widthBits(address.family) ? undefined : { address, lengthBits };
}

/** The prefix that CIDR text or a bare address (a host prefix) names; undefined where it is neither. */
export function parsePrefix(text: string): Prefix | undefined {
  const cidr = parseCidr(text);
  if (cidr !== undefined) return prefixOf(cidr.address, cidr.lengthBits);
  const address = parseAddress(text);
  return address === undefined ? undefined : hostPrefix(address);
}

/** As `parsePrefix`, but throws INVALID_ARGUMENT; `where` names the place in the message. */
export function requirePrefix(text: string, where: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  throw new NsmError('INVALID_ARGUMENT', 'a text is not an IP prefix', {
    rule: where,
    expected: 'CIDR form, for example 10.0.0.0/24 or 2001:db8::/64',
    found: text.slice(0, 64),
  });
}

/** As `parseAddress`, but throws INVALID_ARGUMENT; `where` names the place in the message. */
export function requireAddress(text: string, where: string): Address {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  throw new NsmError('INVALID_ARGUMENT', 'a text is not an IP address', {
    rule: where,
    expected: 'an IPv4 or IPv6 address without zone',
    found: text.slice(0, 64),
  });
}

/** The prefix of this length that holds the address. */
export function prefixOf({ family, value }: Address, lengthBits: number): Prefix {
  const hostBits = BigInt(widthBits(family) - lengthBits);
  return { family, base: (value >> hostBits) << hostBits, lengthBits };
}

/** /32 or /128. */
export function hostPrefix({ family, value }: Address): Prefix {
  return { family, base: value, lengthBits: widthBits(family) };
}

export function formatPrefix({ family, base, lengthBits }: Prefix): string {
  return `${formatAddress({ family, value: base })}/${lengthBits}`;
}

/** How many addresses the prefix holds. */
export function prefixSize({ family, lengthBits }: Prefix): bigint {
  return 1n << BigInt(widthBits(family) - lengthBits);
}

export function lastOf(prefix: Prefix): bigint {
  return prefix.base + prefixSize(prefix) - 1n;
}

export function isHostPrefix({ family, lengthBits }: Prefix): boolean {
  return lengthBits === widthBits(family);
}

export function containsAddress(prefix: Prefix, address: Address): boolean {
  return (
    prefix.family === address.family &&
    address.value >= prefix.base &&
    address.value <= lastOf(prefix)
  );
}

/** True where the two have an address in common; one then contains the other. */
export function overlaps(left: Prefix, right: Prefix): boolean {
  return left.family === right.family && left.base <= lastOf(right) && right.base <= lastOf(left);
}

/** The address as 128 bits, IPv4 as IPv4-mapped IPv6: the order in which Go compares addresses bytewise. */
export function orderValue({ family, value }: Address): bigint {
  return family === 4 ? (0xffffn << 32n) | value : value;
}
