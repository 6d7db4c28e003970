// What a file of VPP's API definitions says, as the codec needs it: messages and types, field by field. One module is
// one `.api` file, its JSON made by vppapigen; it repeats the types that it imports.

/** The scalar types of the API language. */
export const integerTypes = ['u8', 'u16', 'u32', 'u64', 'i8', 'i16', 'i32', 'i64'] as const;
export type IntegerType = (typeof integerTypes)[number];

export type FieldDefault = number | boolean | string;

export interface ApiField {
  /** A scalar's name, `string`, or a name of this module, without the `vl_api_..._t` around it. */
  readonly type: string;
  readonly name: string;
  /** Elements of a fixed array, bytes of a NUL-padded string; 0 where the length is sent. */
  readonly length?: number;
  /** The earlier field of the same message or type that says how many elements follow. */
  readonly countField?: string;
  readonly default?: FieldDefault;
}

/** A type, a union or the body of a message. */
export interface ApiStruct {
  readonly name: string;
  readonly fields: readonly ApiField[];
}

export interface ApiMessage extends ApiStruct {
  /** Eight hexadecimal digits: VPP's own checksum of the message with all its types. */
  readonly crc: string;
  readonly isDeprecated: boolean;
}

export interface ApiEnum {
  readonly name: string;
  readonly type: IntegerType;
  readonly values: ReadonlyMap<string, number>;
}

export interface ApiAlias {
  readonly name: string;
  readonly type: string;
  /** Elements, where the alias is an array. */
  readonly length?: number;
}

/** How a request is answered. */
export interface ApiService {
  readonly request: string;
  /** Undefined where nothing answers. */
  readonly reply: string | undefined;
  /** A dump: any number of `reply`, without an end of their own. */
  readonly isStream: boolean;
  /** Any number of these, ended by one `reply`. */
  readonly streamMessage: string | undefined;
  /** What comes unasked from then on. */
  readonly events: readonly string[];
}

export interface ApiModule {
  /** The file or module, for errors. */
  readonly file: string;
  readonly types: ReadonlyMap<string, ApiStruct>;
  readonly unions: ReadonlyMap<string, ApiStruct>;
  readonly enums: ReadonlyMap<string, ApiEnum>;
  readonly aliases: ReadonlyMap<string, ApiAlias>;
  readonly messages: readonly ApiMessage[];
  readonly services: readonly ApiService[];
}
