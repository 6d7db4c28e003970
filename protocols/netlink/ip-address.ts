// IP addresses, prefixes and MAC addresses between text and the bytes that the kernel takes.
// Invariant: text that is not exactly an address is refused with INVALID_ARGUMENT; nothing is guessed.

import { NsmError } from '../errors.ts';
import { family } from './constants.ts';

/** 4 or 16 bytes in network order. */
export interface IpAddress {
  readonly family: typeof family.inet | typeof family.inet6;
  readonly bytes: Uint8Array;
}

export interface IpPrefix extends IpAddress {
  readonly prefixLengthBits: number;
}

function invalid(what: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `${what} is malformed`, {
    rule: what,
    expected,
    found: JSON.stringify(found),
  });
}

/** IPv4 dotted quad without leading zeros, or IPv6 in any of its text forms (RFC 4291 2.2) without a zone. */
export function parseIp(text: string): IpAddress {
  const bytes = text.includes(':') ? parseIpv6(text) : parseIpv4(text);
  if (bytes === undefined) throw invalid('IP address', 'an IPv4 or IPv6 address', text);
  return { family: bytes.length === 4 ? family.inet : family.inet6, bytes };
}

/** `address/length`; an address alone is a host prefix. */
export function parsePrefix(text: string): IpPrefix {
  const slash = text.indexOf('/');
  const address = parseIp(slash < 0 ? text : text.slice(0, slash));
  const bits = address.bytes.length * 8;
  if (slash < 0) return { ...address, prefixLengthBits: bits };
  const length = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > bits) {
    throw invalid('IP prefix', `a prefix length from 0 to ${bits}`, text);
  }
  return { ...address, prefixLengthBits: Number(length) };
}

/** The prefix with its host bits cleared, as the kernel wants a route's destination. */
export function networkOf(prefix: IpPrefix): IpPrefix {
  const bytes = prefix.bytes.map((byte, index) => {
    const keep = Math.min(8, Math.max(0, prefix.prefixLengthBits - index * 8));
    return byte & (0xff << (8 - keep)) & 0xff;
  });
  return { ...prefix, bytes };
}

/** Canonical text; IPv6 after RFC 5952. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  const run = longestZeroRun(groups);
  if (run.length < 2) return groups.join(':');
  const head = groups.slice(0, run.start).join(':');
  return `${head}::${groups.slice(run.start + run.length).join(':')}`;
}

export function formatPrefix(bytes: Uint8Array, prefixLengthBits: number): string {
  return `${formatIp(bytes)}/${prefixLengthBits}`;
}

/** Six hexadecimal octets; multicast and all-zero addresses are refused, since no interface can carry them. */
export function parseMac(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw invalid('MAC address', 'six octets such as 02:00:5e:10:00:01', text);
  }
  const bytes = Uint8Array.from(text.split(':'), (octet) => Number.parseInt(octet, 16));
  const isMulticast = ((bytes[0] ?? 0) & 1) !== 0;
  if (isMulticast || bytes.every((byte) => byte === 0)) {
    throw invalid('MAC address', 'a unicast address', text);
  }
  return bytes;
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function parseIpv4(text: string): Uint8Array | undefined {
  const octets = text.split('.');
  const isValid =
    octets.length === 4 &&
    octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255);
  return isValid ? Uint8Array.from(octets, Number) : undefined;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...Array.from({ length: missing }, () => 0), ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/** Groups of one side of the `::`; an embedded IPv4 address is allowed only at the very end. */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const embedded =
      mayEndInIpv4 && index === parts.length - 1 && part.includes('.')
        ? parseIpv4(part)
        : undefined;
    if (embedded === undefined) return undefined;
    const [a = 0, b = 0, c = 0, d = 0] = embedded;
    groups.push((a << 8) | b, (c << 8) | d);
  }
  return groups;
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let index = 0; index <= groups.length; index++) {
    if (groups[index] === '0') continue;
    if (index - start > best.length) best = { start, length: index - start };
    start = index + 1;
  }
  return best;
}
