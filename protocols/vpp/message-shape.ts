// Types of messages that are written by hand and can be compared with the definitions at run time: a shape is a value
// from which both the TypeScript type and the comparison come, so the two cannot drift apart.

import type { ValueCodec } from './value-codec.ts';
import type { ValueKind } from './values.ts';

export interface Shape<Value = unknown> {
  readonly kind: ValueKind;
  readonly fields?: Shapes;
  readonly element?: Shape;
  readonly isOptional?: boolean;
  /** Only carries the type; never there. */
  readonly value?: Value;
}

export type Shapes = Readonly<Record<string, Shape>>;

/** What encoding leaves to the definitions' default, or to zero. */
export interface OptionalShape<Value> extends Shape<Value> {
  readonly isOptional: true;
}

type OptionalNames<Fields extends Shapes> = {
  [Name in keyof Fields]: Fields[Name] extends OptionalShape<unknown> ? Name : never;
}[keyof Fields];

type ValueOf<Of extends Shape> = Of extends Shape<infer Value> ? Value : never;

/** As one object type, for people who look at it. */
type Flat<Type> = { readonly [Name in keyof Type]: Type[Name] };

/** What is given. */
export type Given<Fields extends Shapes> = Flat<
  {
    readonly [Name in Exclude<keyof Fields, OptionalNames<Fields>>]: ValueOf<Fields[Name]>;
  } & { readonly [Name in OptionalNames<Fields>]?: ValueOf<Fields[Name]> | undefined }
>;

/** What is received: every field. */
export type Received<Fields extends Shapes> = {
  readonly [Name in keyof Fields]: ValueOf<Fields[Name]>;
};

/** Integers up to 32 bits, enums, f64. */
export const number: Shape<number> = { kind: 'number' };
export const bigint: Shape<bigint> = { kind: 'bigint' };
export const boolean: Shape<boolean> = { kind: 'boolean' };
export const text: Shape<string> = { kind: 'text' };
/** Arrays of u8; also the 16 bytes of an address. */
export const bytes: Shape<Uint8Array> = { kind: 'bytes' };

export function list<Value>(element: Shape<Value>): Shape<readonly Value[]> {
  return { kind: 'list', element };
}

export function struct<Fields extends Shapes>(fields: Fields): Shape<Given<Fields>> {
  return { kind: 'struct', fields };
}

export function optional<Value>(shape: Shape<Value>): OptionalShape<Value> {
  return { ...shape, isOptional: true };
}

/** Where the codec of a running VPP differs from what is written here: `route.paths: expected list, found nothing`. */
export function shapeDifferences(codec: ValueCodec, shape: Shape, path: string): string[] {
  if (codec.kind !== shape.kind) return [`${path}: expected ${shape.kind}, found ${codec.kind}`];
  const { element, fields } = shape;
  if (element !== undefined && codec.element !== undefined) {
    return shapeDifferences(codec.element, element, `${path}[]`);
  }
  return Object.entries(fields ?? {}).flatMap(([name, field]) => {
    const found = codec.fields?.get(name);
    const at = `${path}.${name}`;
    // What need not be given may be missing in another version of VPP; given all the same, it is refused by name.
    if (found === undefined && field.isOptional === true) return [];
    if (found === undefined) return [`${at}: expected ${field.kind}, found nothing`];
    return shapeDifferences(found, field, at);
  });
}
