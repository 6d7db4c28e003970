// The codec of one type, put together at run time, and those of the scalar types and of strings.
// Invariants: what is decoded was checked against what is left before anything is allocated for it; a value out of its
// range is refused, never cut; undefined encodes as zero, or as the default of the definitions.

import type { FieldDefault, IntegerType } from './api-definition.ts';
import type { ValueKind, VppFields, VppValue } from './values.ts';
import { FieldProblem } from './wire-bytes.ts';
import type { VppReader, VppWriter } from './wire-bytes.ts';

/** `encode` and `decode` throw FieldProblem. */
export interface ValueCodec {
  readonly kind: ValueKind;
  /** The fewest bytes that a value takes. */
  readonly minBytes: number;
  /** True where every value takes `minBytes`. */
  readonly isFixed: boolean;
  /** Of a struct. */
  readonly fields?: ReadonlyMap<string, ValueCodec>;
  /** Of a list. */
  readonly element?: ValueCodec;
  encode(writer: VppWriter, value: unknown): void;
  decode(reader: VppReader): VppValue;
}

export function describeValue(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return JSON.stringify(value).slice(0, 60);
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** Bits and sign of each integer type. */
const integers: Readonly<Record<IntegerType, readonly [bits: number, isSigned: boolean]>> = {
  u8: [8, false],
  u16: [16, false],
  u32: [32, false],
  u64: [64, false],
  i8: [8, true],
  i16: [16, true],
  i32: [32, true],
  i64: [64, true],
};

export function integerCodec(type: IntegerType): ValueCodec {
  const [bits, isSigned] = integers[type];
  return bits === 64 ? longCodec(isSigned) : shortCodec(bits, isSigned);
}

function shortCodec(bits: number, isSigned: boolean): ValueCodec {
  const range = 2 ** bits;
  const min = isSigned ? -range / 2 : 0;
  const max = isSigned ? range / 2 - 1 : range - 1;
  const signed = (raw: number): number => (raw > max ? raw - range : raw);
  return {
    kind: 'number',
    minBytes: bits / 8,
    isFixed: true,
    encode(writer, value = 0) {
      if (!Number.isInteger(value) || Number(value) < min || Number(value) > max) {
        throw new FieldProblem(`an integer from ${min} to ${max}`, describeValue(value));
      }
      if (bits === 8) writer.u8(Number(value));
      else if (bits === 16) writer.u16(Number(value));
      else writer.u32(Number(value));
    },
    decode(reader) {
      if (bits === 8) return signed(reader.u8());
      return signed(bits === 16 ? reader.u16() : reader.u32());
    },
  };
}

function longCodec(isSigned: boolean): ValueCodec {
  const min = isSigned ? -(2n ** 63n) : 0n;
  const max = isSigned ? 2n ** 63n - 1n : 2n ** 64n - 1n;
  return {
    kind: 'bigint',
    minBytes: 8,
    isFixed: true,
    encode(writer, value = 0n) {
      if (typeof value !== 'bigint' || value < min || value > max) {
        throw new FieldProblem(`a bigint from ${min} to ${max}`, describeValue(value));
      }
      writer.u64(BigInt.asUintN(64, value));
    },
    decode: (reader) => (isSigned ? BigInt.asIntN(64, reader.u64()) : reader.u64()),
  };
}

export const doubleCodec: ValueCodec = {
  kind: 'number',
  minBytes: 8,
  isFixed: true,
  encode(writer, value = 0) {
    if (typeof value !== 'number') throw new FieldProblem('a number', describeValue(value));
    writer.f64(value);
  },
  decode: (reader) => reader.f64(),
};

export const booleanCodec: ValueCodec = {
  kind: 'boolean',
  minBytes: 1,
  isFixed: true,
  encode(writer, value = false) {
    if (typeof value !== 'boolean') throw new FieldProblem('true or false', describeValue(value));
    writer.u8(value ? 1 : 0);
  },
  decode: (reader) => reader.u8() !== 0,
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Text up to the first NUL; bytes that are no UTF-8 become U+FFFD. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function bytesOf(value: unknown): Uint8Array {
  if (typeof value !== 'string' || value.includes('\0')) {
    throw new FieldProblem('text without NUL', describeValue(value));
  }
  return encoder.encode(value);
}

/** NUL-padded. VPP wants at least one NUL, and cuts what is longer. */
export function paddedTextCodec(length: number): ValueCodec {
  return {
    kind: 'text',
    minBytes: length,
    isFixed: true,
    encode(writer, value = '') {
      const bytes = bytesOf(value);
      if (bytes.length > 0 && bytes.length >= length) {
        throw new FieldProblem(`at most ${length - 1} bytes`, `${bytes.length}`);
      }
      writer.bytes(bytes);
      writer.zeros(length - bytes.length);
    },
    decode: (reader) => textOf(reader.bytes(length)),
  };
}

/** A 32-bit length and that many bytes. */
export const sizedTextCodec: ValueCodec = {
  kind: 'text',
  minBytes: 4,
  isFixed: false,
  encode(writer, value = '') {
    const bytes = bytesOf(value);
    writer.u32(bytes.length);
    writer.bytes(bytes);
  },
  decode: (reader) => textOf(reader.bytes(reader.u32())),
};

/** The value that a field has where none is given, as the definitions write it: numbers, and "true" for booleans. */
export function defaultValue(codec: ValueCodec, text: FieldDefault): VppValue {
  if (codec.kind === 'boolean') return text === true || text === 'true' || Number(text) > 0;
  if (codec.kind === 'bigint') return BigInt(text);
  return codec.kind === 'number' ? Number(text) : String(text);
}

export function isFields(value: unknown): value is VppFields {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array)
  );
}
