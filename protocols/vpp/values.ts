// How values of the API look in TypeScript: integers up to 32 bits, f64 and enums are numbers, 64-bit integers bigints,
// arrays of u8 (MAC and IP addresses among them) and unions bytes, other arrays lists, types objects by field.

export type VppValue =
  | number
  | bigint
  | boolean
  | string
  | Uint8Array
  | readonly VppValue[]
  | VppFields;

export interface VppFields {
  readonly [field: string]: VppValue | undefined;
}

export type ValueKind = 'number' | 'bigint' | 'boolean' | 'text' | 'bytes' | 'list' | 'struct';
