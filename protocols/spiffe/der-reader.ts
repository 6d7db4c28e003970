// Reading DER (ITU-T X.690), as much of it as X.509 certificates use. Strict: definite lengths in their shortest
// form, low tag numbers. Invariant: never reads outside the bytes given; bad input gives INVALID_ARGUMENT.

import { NsmError } from '../errors.ts';

/** Universal tags (X.680 8.4), the constructed bit included where DER sets it. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  sequence: 0x30,
  set: 0x31,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

export interface DerValue {
  readonly tag: number;
  /** What the value holds, without tag and length. */
  readonly content: Uint8Array;
  /** Tag and length included. */
  readonly whole: Uint8Array;
}

/** Walks over the values that stand side by side in `bytes`. */
export class DerReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag of the next value; undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The next value, which must have that tag where one is given. */
  read(what: string, tag?: number): DerValue {
    const value = readValue(this.#bytes, this.#at, what);
    if (tag !== undefined && value.tag !== tag) {
      throw derError(what, `tag 0x${tag.toString(16)}`, `tag 0x${value.tag.toString(16)}`);
    }
    this.#at += value.whole.length;
    return value;
  }

  /** The next value where it has that tag; else undefined, and nothing is consumed. */
  readOptional(what: string, tag: number): DerValue | undefined {
    return this.nextTag === tag ? this.read(what, tag) : undefined;
  }

  /** A reader of what the next value, of that tag, holds. */
  enter(what: string, tag: number = derTag.sequence): DerReader {
    return new DerReader(this.read(what, tag).content);
  }

  end(what: string): void {
    if (!this.isAtEnd) {
      throw derError(what, 'nothing more', `${this.#bytes.length - this.#at} more bytes`);
    }
  }
}

function readValue(bytes: Uint8Array, at: number, what: string): DerValue {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) throw derError(what, 'a value', 'the end');
  if ((tag & 0x1f) === 0x1f) throw derError(what, 'a tag of one byte', 'a longer one');
  const { length, headerLength } = readLength(bytes, at, first, what);
  const start = at + headerLength;
  const end = start + length;
  if (end > bytes.length) {
    throw derError(what, `${length} bytes`, `${Math.max(0, bytes.length - start)} bytes`);
  }
  return { tag, content: bytes.subarray(start, end), whole: bytes.subarray(at, end) };
}

function readLength(
  bytes: Uint8Array,
  at: number,
  first: number,
  what: string,
): { readonly length: number; readonly headerLength: number } {
  if (first < 0x80) return { length: first, headerLength: 2 };
  const count = first & 0x7f;
  // Three bytes count 16 MB, far beyond what any caller accepts.
  if (count === 0 || count > 3) throw derError(what, 'a length of at most 3 bytes', `${count}`);
  let length = 0;
  for (let index = 0; index < count; index += 1) {
    length = length * 256 + (bytes[at + 2 + index] ?? 0);
  }
  if (length < 0x80 || length < 256 ** (count - 1)) {
    throw derError(what, 'the shortest form of a length', 'a longer one');
  }
  return { length, headerLength: 2 + count };
}

/**
 * The values that stand side by side, as the Workload API sends certificates. Errors: INVALID_ARGUMENT, also where
 * there are more than `countMax`.
 */
export function splitDer(bytes: Uint8Array, what: string, countMax: number): Uint8Array[] {
  const reader = new DerReader(bytes);
  const values: Uint8Array[] = [];
  while (!reader.isAtEnd) {
    if (values.length === countMax) throw derError(what, `at most ${countMax}`, 'more');
    values.push(reader.read(what, derTag.sequence).whole);
  }
  return values;
}

/** Dotted text of an object identifier: `2.5.29.17`. Arcs beyond 2^53 are refused. */
export function readObjectIdentifier(content: Uint8Array, what: string): string {
  const arcs: number[] = [];
  let arc = 0;
  let isOpen = false;
  for (const byte of content) {
    if (!isOpen && byte === 0x80) throw derError(what, 'the shortest form of an arc', 'padding');
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER) throw derError(what, 'arcs below 2^53', 'a larger one');
    isOpen = byte >= 0x80;
    if (isOpen) continue;
    if (arcs.length === 0) {
      const top = Math.min(2, Math.floor(arc / 40));
      arcs.push(top, arc - top * 40);
    } else arcs.push(arc);
    arc = 0;
  }
  if (isOpen || arcs.length === 0) throw derError(what, 'an object identifier', 'a cut one');
  return arcs.join('.');
}

export function readBoolean(content: Uint8Array, what: string): boolean {
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) {
    throw derError(what, 'a boolean of one byte, 00 or ff', 'another');
  }
  return content[0] === 0xff;
}

/** A non-negative integer below 2^31. */
export function readSmallInteger(content: Uint8Array, what: string): number {
  const isShortest = content.length < 2 || content[0] !== 0 || (content[1] ?? 0) >= 0x80;
  const isSmall = content.length >= 1 && content.length <= 4 && (content[0] ?? 0) < 0x80;
  if (!isShortest || !isSmall) throw derError(what, 'an integer from 0 to 2^31-1', 'another');
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

/** Text of 7-bit characters (IA5String and the like). */
export function readAscii(content: Uint8Array, what: string): string {
  if (content.some((byte) => byte > 0x7f)) throw derError(what, '7-bit characters', 'others');
  return Array.from(content, (byte) => String.fromCharCode(byte)).join('');
}

export function derError(what: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `bad encoding of ${what}`, {
    rule: 'der',
    expected,
    found,
  });
}
