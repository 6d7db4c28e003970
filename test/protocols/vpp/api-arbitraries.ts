// Values for any message, made from its definition alone: every field given, counts included, so that what is decoded
// must be equal to what was encoded.

import fc from 'fast-check';
import type { ApiField, ApiModule, ApiStruct } from '../../../protocols/vpp/api-definition.ts';
import type { VppFields, VppValue } from '../../../protocols/vpp/values.ts';

type Value = fc.Arbitrary<VppValue>;

const bounds: Readonly<Record<string, readonly [number, number]>> = {
  u8: [0, 0xff],
  u16: [0, 0xffff],
  u32: [0, 0xffff_ffff],
  i8: [-0x80, 0x7f],
  i16: [-0x8000, 0x7fff],
  i32: [-0x8000_0000, 0x7fff_ffff],
};

const sizes: Readonly<Record<string, number>> = { u64: 8, i64: 8, f64: 8, bool: 1 };

/** The fields after client_index and context. */
export function bodyOf({ fields }: ApiStruct): readonly ApiField[] {
  const names = fields.map(({ name }) => name);
  const isHeader = (name: string | undefined) => name === 'client_index' || name === 'context';
  const count = isHeader(names[0]) ? (isHeader(names[1]) ? 2 : 1) : 0;
  return fields.slice(count);
}

export function fieldsArbitrary(
  module: ApiModule,
  fields: readonly ApiField[],
): fc.Arbitrary<VppFields> {
  const counts = new Set(fields.flatMap(({ countField }) => countField ?? []));
  return fc.record(Object.fromEntries([...counts].map((name) => [name, fc.nat(4)]))).chain((n) => {
    const all = fields.map(({ name, type, length, countField }): [string, Value] => {
      if (counts.has(name)) {
        const count = Number(n[name]);
        return [name, fc.constant(type === 'u64' ? BigInt(count) : count)];
      }
      if (countField !== undefined) return [name, array(module, type, Number(n[countField]))];
      return [name, valueArbitrary(module, type, length)];
    });
    return fc.record(Object.fromEntries(all));
  });
}

function array(module: ApiModule, type: string, length: number): Value {
  if (type === 'u8') return fc.uint8Array({ minLength: length, maxLength: length });
  return fc.array(valueArbitrary(module, type), { minLength: length, maxLength: length });
}

function valueArbitrary(module: ApiModule, type: string, length?: number): Value {
  if (type === 'string') return text(length ?? 0);
  if (length !== undefined) return array(module, type, length);
  const [min, max] = bounds[type] ?? [];
  if (min !== undefined && max !== undefined) return fc.integer({ min, max });
  if (type === 'u64') return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  if (type === 'i64') return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  if (type === 'f64') return fc.double();
  if (type === 'bool') return fc.boolean();
  const { types, unions, enums, aliases } = module;
  const struct = types.get(type);
  if (struct !== undefined) return fieldsArbitrary(module, struct.fields);
  const integer = enums.get(type);
  if (integer !== undefined) return valueArbitrary(module, integer.type);
  if (unions.has(type)) {
    const bytes = sizeOf(module, { name: '', type });
    return fc.uint8Array({ minLength: bytes, maxLength: bytes });
  }
  const alias = aliases.get(type);
  if (alias === undefined) throw new Error(`no type ${type} in ${module.file}`);
  return valueArbitrary(module, alias.type, alias.length);
}

function text(length: number): Value {
  const bytesMax = length === 0 ? 40 : length - 1;
  return fc
    .string({ unit: 'grapheme', maxLength: Math.min(bytesMax, 20) })
    .filter((value) => new TextEncoder().encode(value).length <= bytesMax && !value.includes('\0'));
}

function sizeOf(module: ApiModule, { type, length }: ApiField): number {
  if (type === 'string') return length ?? 0;
  const [, max] = bounds[type] ?? [];
  const { types, unions, enums, aliases } = module;
  const sizeOfFields = (struct: ApiStruct | undefined) =>
    (struct?.fields ?? []).map((field) => sizeOf(module, field));
  const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0);
  const alias = aliases.get(type);
  const one =
    (max === undefined ? sizes[type] : Math.ceil(Math.log2(Math.abs(max)) / 8)) ??
    (enums.has(type)
      ? sizeOf(module, { name: '', type: enums.get(type)?.type ?? '' })
      : undefined) ??
    (alias === undefined ? undefined : sizeOf(module, { ...alias })) ??
    (types.has(type) ? sum(sizeOfFields(types.get(type))) : undefined) ??
    Math.max(0, ...sizeOfFields(unions.get(type)));
  return one * (length ?? 1);
}
