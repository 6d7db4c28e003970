// Arrays, types and unions. Fixed arrays have their length from the definitions; that of the others is sent earlier as
// a field of its own, which the codec fills in, so that callers give the array alone.
// Invariant: no count makes the decoder allocate more than the bytes that are there can hold.

import type { VppFields, VppValue } from './values.ts';
import type { ValueCodec } from './value-codec.ts';
import { describeValue, isFields } from './value-codec.ts';
import type { VppReader, VppWriter } from './wire-bytes.ts';
import { FieldProblem } from './wire-bytes.ts';

export function bytesCodec(length: number): ValueCodec {
  return {
    kind: 'bytes',
    minBytes: length,
    isFixed: true,
    encode(writer, value) {
      if (value === undefined) return writer.zeros(length);
      if (!(value instanceof Uint8Array) || value.length !== length) {
        throw new FieldProblem(`${length} bytes`, describeValue(value));
      }
      writer.bytes(value);
    },
    decode: (reader) => reader.bytes(length),
  };
}

export function listCodec(element: ValueCodec, length: number): ValueCodec {
  return {
    kind: 'list',
    minBytes: length * element.minBytes,
    isFixed: element.isFixed,
    element,
    encode(writer, value) {
      if (value === undefined) {
        for (let index = 0; index < length; index += 1) element.encode(writer, undefined);
        return;
      }
      if (!Array.isArray(value) || value.length !== length) {
        throw new FieldProblem(`a list of ${length}`, describeValue(value));
      }
      encodeElements(writer, element, value);
    },
    decode: (reader) => decodeElements(reader, element, length),
  };
}

/** An array whose count is a field; `undefined` stands for none. */
export interface CountedCodec {
  readonly kind: 'bytes' | 'list';
  readonly element: ValueCodec;
  countOf(value: unknown): number;
  encode(writer: VppWriter, value: unknown): void;
  decode(reader: VppReader, count: number): VppValue;
}

export function countedCodec(element: ValueCodec, isBytes: boolean): CountedCodec {
  const isRight = (value: unknown): value is ArrayLike<unknown> =>
    isBytes ? value instanceof Uint8Array : Array.isArray(value);
  return {
    kind: isBytes ? 'bytes' : 'list',
    element,
    countOf(value) {
      if (value === undefined) return 0;
      if (isRight(value)) return value.length;
      throw new FieldProblem(isBytes ? 'bytes' : 'a list', describeValue(value));
    },
    encode(writer, value) {
      if (value === undefined) return;
      if (value instanceof Uint8Array) writer.bytes(value);
      else encodeElements(writer, element, value as readonly unknown[]);
    },
    decode(reader, count) {
      const bytes = count * Math.max(1, element.minBytes);
      if (bytes > reader.remaining) {
        throw new FieldProblem(`${count} elements, at least ${bytes} bytes`, `${reader.remaining}`);
      }
      return isBytes ? reader.bytes(count) : decodeElements(reader, element, count);
    },
  };
}

/**
 * The bytes of the largest member, whichever is meant. Encodes such bytes, as they were decoded, or one member by name;
 * the rest is then zero.
 */
export function unionCodec(members: ReadonlyMap<string, ValueCodec>): ValueCodec {
  const length = Math.max(0, ...[...members.values()].map(({ minBytes }) => minBytes));
  const raw = bytesCodec(length);
  const names = [...members.keys()].join(', ');
  return {
    ...raw,
    encode(writer, value) {
      if (!isFields(value)) return raw.encode(writer, value);
      const [name, ...others] = Object.keys(value);
      const member = name === undefined ? undefined : members.get(name);
      if (name === undefined || member === undefined || others.length > 0) {
        const found = Object.keys(value).join(', ');
        throw new FieldProblem(`bytes, or one of: ${names}`, found === '' ? 'none' : found);
      }
      within(name, () => member.encode(writer, value[name]));
      writer.zeros(length - member.minBytes);
    },
  };
}

export function within<Result>(name: string, act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    throw error instanceof FieldProblem ? error.within(name) : error;
  }
}

function encodeElements(writer: VppWriter, element: ValueCodec, values: readonly unknown[]): void {
  let index = 0;
  try {
    for (; index < values.length; index += 1) element.encode(writer, values[index]);
  } catch (error) {
    throw error instanceof FieldProblem ? error.within(`[${index}]`) : error;
  }
}

function decodeElements(reader: VppReader, element: ValueCodec, count: number): VppValue[] {
  const values: VppValue[] = [];
  try {
    while (values.length < count) values.push(element.decode(reader));
  } catch (error) {
    throw error instanceof FieldProblem ? error.within(`[${values.length}]`) : error;
  }
  return values;
}

/** One field of a type or message, in wire order. */
export type StructField = { readonly name: string } & (
  | { readonly is: 'value'; readonly codec: ValueCodec; readonly default: VppValue | undefined }
  /** Says how many elements the arrays named `arrays` have. */
  | { readonly is: 'count'; readonly codec: ValueCodec; readonly arrays: readonly CountedArray[] }
  | { readonly is: 'array'; readonly codec: CountedCodec; readonly countField: string }
);

export interface CountedArray {
  readonly name: string;
  readonly codec: CountedCodec;
}

export function structCodec(title: string, fields: readonly StructField[]): ValueCodec {
  const names = new Set(fields.map(({ name }) => name));
  const minBytes = fields.reduce(
    (sum, { is, codec }) => sum + (is === 'array' ? 0 : codec.minBytes),
    0,
  );
  const isFixed = fields.every(({ is, codec }) => is !== 'array' && codec.isFixed);
  return {
    kind: 'struct',
    minBytes,
    isFixed,
    fields: new Map(fields.map((field) => [field.name, seenAs(field)])),
    encode: (writer, value = {}) => encodeStruct(writer, value, { title, fields, names }),
    decode: (reader) => decodeStruct(reader, fields),
  };
}

/** An array with a count, as whoever compares shapes sees it. */
function seenAs(field: StructField): ValueCodec {
  if (field.is !== 'array') return field.codec;
  const { kind, element } = field.codec;
  return { ...listCodec(element, 0), kind, isFixed: false };
}

interface StructPlan {
  readonly title: string;
  readonly fields: readonly StructField[];
  readonly names: ReadonlySet<string>;
}

function encodeStruct(writer: VppWriter, value: unknown, plan: StructPlan): void {
  if (!isFields(value)) throw new FieldProblem('an object of fields', describeValue(value));
  for (const name of Object.keys(value)) {
    if (!plan.names.has(name)) throw new FieldProblem(`a field of ${plan.title}`, 'none', name);
  }
  let at = '';
  try {
    for (const field of plan.fields) {
      at = field.name;
      if (field.is === 'value') field.codec.encode(writer, value[at] ?? field.default);
      else if (field.is === 'array') field.codec.encode(writer, value[at]);
      else field.codec.encode(writer, asCount(field.codec, countOf(field, value)));
    }
  } catch (error) {
    throw error instanceof FieldProblem ? error.within(at) : error;
  }
}

function asCount({ kind }: ValueCodec, count: number): number | bigint {
  return kind === 'bigint' ? BigInt(count) : count;
}

/** Given counts must be right, so that what was decoded can be encoded again. */
function countOf(field: Extract<StructField, { readonly is: 'count' }>, value: VppFields): number {
  const given = value[field.name];
  let count: number | undefined;
  for (const { name, codec } of field.arrays) {
    const length = codec.countOf(value[name]);
    if (count !== undefined && count !== length) {
      throw new FieldProblem(`arrays of one length`, `${count} and ${length} of ${name}`);
    }
    count = length;
  }
  if (given !== undefined && Number(given) !== count) {
    throw new FieldProblem(`${count}, as many as there are, or nothing`, describeValue(given));
  }
  return count ?? 0;
}

function decodeStruct(reader: VppReader, fields: readonly StructField[]): VppFields {
  const values: Record<string, VppValue> = {};
  let at = '';
  try {
    for (const field of fields) {
      at = field.name;
      values[at] =
        field.is === 'array'
          ? field.codec.decode(reader, Number(values[field.countField]))
          : field.codec.decode(reader);
    }
  } catch (error) {
    throw error instanceof FieldProblem ? error.within(at) : error;
  }
  return values;
}
