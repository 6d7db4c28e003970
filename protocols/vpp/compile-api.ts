// Makes codecs of definitions at run time: names of types resolved within their module, which repeats what it imports.
// Invariants: a type is compiled once; what cannot be resolved, contains itself or is too long is refused with one
// NsmError before anything is encoded with it.

import type { ApiField, ApiModule, ApiStruct } from './api-definition.ts';
import { integerTypes } from './api-definition.ts';
import type { CountedArray, CountedCodec, StructField } from './array-codec.ts';
import {
  bytesCodec,
  countedCodec,
  listCodec,
  structCodec,
  unionCodec,
  within,
} from './array-codec.ts';
import { malformedDefinition } from './parse-api.ts';
import type { ValueCodec } from './value-codec.ts';
import {
  booleanCodec,
  defaultValue,
  doubleCodec,
  integerCodec,
  paddedTextCodec,
  sizedTextCodec,
} from './value-codec.ts';
import { FieldProblem, VppWriter } from './wire-bytes.ts';

/** Of one value without its variable parts; the largest of VPP 26.10 is under 20 KiB. */
const fixedBytesMax = 1024 * 1024;

const scalars: ReadonlyMap<string, ValueCodec> = new Map<string, ValueCodec>([
  ...integerTypes.map((type): [string, ValueCodec] => [type, integerCodec(type)]),
  ['f64', doubleCodec],
  ['bool', booleanCodec],
]);

export interface ModuleCompiler {
  /** The codec of a message's body. Errors: INVALID_ARGUMENT with file, message and field. */
  struct(struct: ApiStruct, section: 'message' | 'type'): ValueCodec;
}

export function createCompiler(module: ApiModule): ModuleCompiler {
  return new Compiler(module);
}

class Compiler implements ModuleCompiler {
  readonly #module: ApiModule;
  readonly #compiled = new Map<string, ValueCodec>();
  /** Types being compiled now, outermost first. */
  readonly #open: string[] = [];

  constructor(module: ApiModule) {
    this.#module = module;
  }

  struct({ name, fields }: ApiStruct, section: 'message' | 'type' | 'union'): ValueCodec {
    const where = `${section} ${name}`;
    const arrays = this.#countedArrays(fields, where);
    const seen = new Set<string>();
    const plan = fields.map((field): StructField => {
      const at = `${where}, field ${field.name}`;
      if (seen.has(field.name)) this.#refuse(at, 'a name used once', 'a second one');
      seen.add(field.name);
      return this.#structField(field, arrays, at);
    });
    for (const [countField, [first]] of arrays) {
      const position = fields.findIndex((field) => field.name === countField);
      if (position < 0 || position > fields.findIndex((field) => field.name === first?.name)) {
        this.#refuse(`${where}, field ${first?.name}`, 'its count in an earlier field', countField);
      }
    }
    const codec = structCodec(where, plan);
    if (codec.minBytes > fixedBytesMax) {
      this.#refuse(where, `at most ${fixedBytesMax} bytes`, `${codec.minBytes}`);
    }
    return codec;
  }

  #structField(
    field: ApiField,
    arrays: ReadonlyMap<string, readonly CountedArray[]>,
    where: string,
  ): StructField {
    const { name, countField } = field;
    if (countField !== undefined) {
      const codec = arrays.get(countField)?.find((array) => array.name === name)?.codec;
      if (codec !== undefined) return { is: 'array', name, codec, countField };
    }
    const codec = this.#field(field, where);
    const counted = arrays.get(name);
    if (counted === undefined) {
      return { is: 'value', name, codec, default: this.#default(field, codec, where) };
    }
    if (codec.kind !== 'number' && codec.kind !== 'bigint') {
      this.#refuse(where, 'an integer, since it counts', field.type);
    }
    return { is: 'count', name, codec, arrays: counted };
  }

  #countedArrays(
    fields: readonly ApiField[],
    where: string,
  ): ReadonlyMap<string, readonly CountedArray[]> {
    const arrays = new Map<string, CountedArray[]>();
    for (const { name, type, countField } of fields) {
      if (countField === undefined) continue;
      const element = this.#element(type, `${where}, field ${name}`);
      const codec: CountedCodec = countedCodec(element, type === 'u8');
      arrays.set(countField, [...(arrays.get(countField) ?? []), { name, codec }]);
    }
    return arrays;
  }

  #field({ type, length }: ApiField, where: string): ValueCodec {
    if (type === 'string') {
      return length === undefined || length === 0 ? sizedTextCodec : paddedTextCodec(length);
    }
    if (length === undefined) return this.#type(type, where);
    if (length === 0) this.#refuse(where, 'a count field beside length 0', 'none');
    return this.#array(type, length, where);
  }

  #array(type: string, length: number, where: string): ValueCodec {
    return type === 'u8' ? bytesCodec(length) : listCodec(this.#element(type, where), length);
  }

  /** What takes no bytes could be had in any number without sending one. */
  #element(type: string, where: string): ValueCodec {
    const codec = this.#type(type, where);
    return codec.minBytes > 0 ? codec : this.#refuse(where, 'elements of at least a byte', type);
  }

  #type(type: string, where: string): ValueCodec {
    const known = scalars.get(type) ?? this.#compiled.get(type);
    if (known !== undefined) return known;
    if (this.#open.includes(type)) {
      this.#refuse(where, 'types that do not contain themselves', this.#open.join(' in '));
    }
    this.#open.push(type);
    const codec = this.#compile(type, where);
    this.#open.pop();
    this.#compiled.set(type, codec);
    return codec;
  }

  #compile(type: string, where: string): ValueCodec {
    const { types, unions, enums, aliases } = this.#module;
    const struct = types.get(type);
    if (struct !== undefined) return this.struct(struct, 'type');
    const union = unions.get(type);
    if (union !== undefined) return this.#union(union);
    const integer = enums.get(type)?.type;
    if (integer !== undefined) return integerCodec(integer);
    const alias = aliases.get(type);
    if (alias === undefined) return this.#refuse(where, 'a type of this module', type);
    const at = `alias ${type}`;
    return alias.length === undefined
      ? this.#field({ type: alias.type, name: type }, at)
      : this.#field({ type: alias.type, name: type, length: alias.length }, at);
  }

  #union({ name, fields }: ApiStruct): ValueCodec {
    const members = fields.map((field): [string, ValueCodec] => {
      const where = `union ${name}, field ${field.name}`;
      const codec = this.#field(field, where);
      if (!codec.isFixed) this.#refuse(where, 'a member of one size', field.type);
      return [field.name, codec];
    });
    return unionCodec(new Map(members));
  }

  /** Tried once, so that a default out of range is no surprise to a caller. */
  #default(field: ApiField, codec: ValueCodec, where: string) {
    if (field.default === undefined) return undefined;
    try {
      const value = defaultValue(codec, field.default);
      within('default', () => codec.encode(new VppWriter(), value));
      return value;
    } catch (error) {
      const expected = error instanceof FieldProblem ? error.expected : 'a default of its type';
      return this.#refuse(where, expected, `the default ${field.default}`);
    }
  }

  #refuse(where: string, expected: string, found: string): never {
    throw malformedDefinition(this.#module.file, where, { expected, found });
  }
}
