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
  const length = parseLength(text, slash + 1);
  if (length === undefined || length > bits) {
    throw invalid('IP prefix', `a prefix length from 0 to ${bits}`, text);
  }
  return { family: address.family, bytes: address.bytes, prefixLengthBits: length };
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
  const bytes = new Uint8Array(6);
  let isMac = text.length === 17;
  for (let index = 0; isMac && index < 6; index += 1) {
    const at = index * 3;
    const [high, low] = [hexDigit(text, at), hexDigit(text, at + 1)];
    isMac = high >= 0 && low >= 0 && (index === 5 || text.charCodeAt(at + 2) === code.colon);
    bytes[index] = (high << 4) | low;
  }
  if (!isMac) throw invalid('MAC address', 'six octets such as 02:00:5e:10:00:01', text);
  const isMulticast = ((bytes[0] ?? 0) & 1) !== 0;
  if (isMulticast || bytes.every((byte) => byte === 0)) {
    throw invalid('MAC address', 'a unicast address', text);
  }
  return bytes;
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

// Read character by character: every Request has addresses to check, and a wire is to be made in little more time than
// the switch takes.

const code = { dot: 0x2e, zero: 0x30, colon: 0x3a, a: 0x61, f: 0x66 } as const;

/** Of a character: 0 to 9, or -1. */
function digit(text: string, at: number): number {
  const value = text.charCodeAt(at) - code.zero;
  return value >= 0 && value <= 9 ? value : -1;
}

/** Of a character: 0 to 15, or -1. */
function hexDigit(text: string, at: number): number {
  const decimal = digit(text, at);
  if (decimal >= 0) return decimal;
  // Letters in lower case differ from those in upper case by this bit.
  const letter = text.charCodeAt(at) | 0x20;
  return letter >= code.a && letter <= code.f ? letter - code.a + 10 : -1;
}

/** One to three digits up to the end, without a leading zero. */
function parseLength(text: string, start: number): number | undefined {
  let at = start;
  let length = 0;
  for (let next = digit(text, at); next >= 0; next = digit(text, ++at)) length = length * 10 + next;
  const isNumber = at === text.length && at > start && at - start <= 3;
  return isNumber && (at - start === 1 || digit(text, start) !== 0) ? length : undefined;
}

function parseIpv4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  return readIpv4(text, 0, bytes) ? bytes : undefined;
}

/** From `start` to the end of the text, into the four bytes. */
function readIpv4(text: string, start: number, bytes: Uint8Array): boolean {
  let at = start;
  for (let index = 0; index < 4; index += 1) {
    if (index > 0 && text.charCodeAt(at++) !== code.dot) return false;
    const first = at;
    let octet = 0;
    for (let next = digit(text, at); next >= 0; next = digit(text, ++at)) octet = octet * 10 + next;
    const hasLeadingZero = at - first > 1 && digit(text, first) === 0;
    if (at === first || at - first > 3 || octet > 255 || hasLeadingZero) return false;
    bytes[index] = octet;
  }
  return at === text.length;
}

function parseIpv6(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  const gap = text.indexOf('::');
  if (gap < 0) return readGroups(text, bytes, true) === 16 ? bytes : undefined;
  const tail = new Uint8Array(16);
  const before = readGroups(text.slice(0, gap), bytes, false);
  const behind = readGroups(text.slice(gap + 2), tail, true);
  // It stands for at least one group.
  if (before === undefined || behind === undefined || before + behind > 14) return undefined;
  bytes.set(tail.subarray(0, behind), 16 - behind);
  return bytes;
}

/** One side of the `::`; an embedded IPv4 address is allowed only at the very end. Returns the bytes written. */
function readGroups(text: string, bytes: Uint8Array, mayEndInIpv4: boolean): number | undefined {
  if (text === '') return 0;
  let written = 0;
  for (let at = 0; ; at += 1) {
    const first = at;
    let group = 0;
    for (let next = hexDigit(text, at); next >= 0; next = hexDigit(text, ++at)) {
      group = (group << 4) | next;
    }
    if (mayEndInIpv4 && text.charCodeAt(at) === code.dot) {
      const hasRoom = written <= 12;
      return hasRoom && readIpv4(text, first, bytes.subarray(written)) ? written + 4 : undefined;
    }
    if (at === first || at - first > 4 || written > 14) return undefined;
    bytes[written++] = group >> 8;
    bytes[written++] = group & 0xff;
    if (at === text.length) return written;
    if (text.charCodeAt(at) !== code.colon) return undefined;
  }
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
