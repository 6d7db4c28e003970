// Writing DER (ITU-T X.690), as much of it as issuing certificates takes: values are byte strings, put together from
// the inside out.

import { derTag } from './der-reader.ts';

export function derValue(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(contents);
  return concatBytes([Uint8Array.of(tag, ...lengthOf(content.length)), content]);
}

function lengthOf(length: number): readonly number[] {
  if (length < 0x80) return [length];
  const bytes: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  return [0x80 | bytes.length, ...bytes];
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const derSequence = (...contents: readonly Uint8Array[]): Uint8Array =>
  derValue(derTag.sequence, ...contents);

export const derBoolean = (value: boolean): Uint8Array =>
  derValue(derTag.boolean, Uint8Array.of(value ? 0xff : 0));

/** A non-negative integer, given as big-endian bytes. */
export function derInteger(bytes: Uint8Array): Uint8Array {
  const firstSet = bytes.findIndex((byte) => byte !== 0);
  const shortest = firstSet < 0 ? Uint8Array.of(0) : bytes.subarray(firstSet);
  const isNegative = (shortest[0] ?? 0) >= 0x80;
  return derValue(derTag.integer, ...(isNegative ? [Uint8Array.of(0), shortest] : [shortest]));
}

export function derObjectIdentifier(dotted: string): Uint8Array {
  const [top = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [top * 40 + second, ...rest].flatMap((arc) => {
    const septets = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) {
      septets.unshift((high % 128) | 0x80);
    }
    return septets;
  });
  return derValue(derTag.objectIdentifier, Uint8Array.from(bytes));
}

export const derText = (tag: number, text: string): Uint8Array =>
  derValue(tag, new TextEncoder().encode(text));

export const derBitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
  derValue(derTag.bitString, Uint8Array.of(unusedBits), bytes);

/** A bit string with named bits (X.690 11.2.2): trailing zeros are left out. */
export function derNamedBits(bits: readonly number[]): Uint8Array {
  if (bits.length === 0) return derBitString(new Uint8Array());
  const highest = Math.max(...bits);
  const bytes = new Uint8Array((highest >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return derBitString(bytes, 7 - (highest & 7));
}

/** RFC 5280 4.1.2.5: UTCTime to the year 2049, GeneralizedTime from then on. `iso`: `2030-01-02T03:04:05Z`. */
export function derTime(iso: string): Uint8Array {
  const digits = `${iso.slice(0, 19).replace(/\D/g, '')}Z`;
  return Number(iso.slice(0, 4)) < 2050
    ? derText(derTag.utcTime, digits.slice(2))
    : derText(derTag.generalizedTime, digits);
}
