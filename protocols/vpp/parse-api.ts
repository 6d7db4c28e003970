// Reads VPP's API definitions (`*.api.json`, and what a running VPP answers to get_api_json) as vppapigen writes them
// since 2018: older files have no unions, aliases, options or imports, and some have an empty list of services.
// Invariant: bad input is one NsmError that names file, message, field, what was expected and what was found.

import { NsmError } from '../errors.ts';
import type {
  ApiAlias,
  ApiEnum,
  ApiField,
  ApiMessage,
  ApiModule,
  ApiService,
  ApiStruct,
  FieldDefault,
  IntegerType,
} from './api-definition.ts';
import { integerTypes } from './api-definition.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/** Elements of one fixed array or bytes of one string; the longest of VPP 26.10 has 256. */
const lengthMax = 65_536;
const excerptLength = 60;

/** `where` names message, type or section, and field. */
export function malformedDefinition(
  file: string,
  where: string,
  { expected, found }: { readonly expected: string; readonly found: unknown },
): NsmError {
  const text = typeof found === 'string' ? found : (JSON.stringify(found) ?? 'nothing');
  return new NsmError('INVALID_ARGUMENT', `the API definitions of ${file} break their format`, {
    rule: where,
    expected,
    found: text.slice(0, excerptLength),
    remedy: 'use the files that were built with the VPP that runs',
  });
}

/** One module, or a list of them as a running VPP sends it. Errors: INVALID_ARGUMENT. */
export function parseApiJson(text: string, file: string): ApiModule[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : '';
    throw malformedDefinition(file, 'file', { expected: 'JSON', found: reason });
  }
  const modules = Array.isArray(json) ? json : [json];
  return modules.map((module, index) => parseModule(module, moduleName(module, file, index)));
}

function moduleName(json: unknown, file: string, index: number): string {
  const module = isObject(json) ? json['module'] : undefined;
  if (!Array.isArray(json) && index === 0 && file.endsWith('.json')) return file;
  return typeof module === 'string' ? `${file} (${module})` : `${file} (module ${index})`;
}

/** One parsed `.api.json`; see parseApiJson. */
export function parseModule(json: unknown, file: string): ApiModule {
  if (!isObject(json)) {
    throw malformedDefinition(file, 'module', { expected: 'an object', found: json });
  }
  const reader = new ModuleReader(file);
  const list = (name: string): readonly unknown[] => reader.list(json, name);
  if (json['messages'] === undefined) {
    const found = Object.keys(json).join(', ');
    throw malformedDefinition(file, 'module', { expected: 'messages', found });
  }
  return {
    file,
    types: byName(list('types').map((entry) => reader.struct(entry, 'type'))),
    unions: byName(list('unions').map((entry) => reader.struct(entry, 'union'))),
    enums: byName([...list('enums'), ...list('enumflags')].map((entry) => reader.enum(entry))),
    aliases: byName(reader.entries(json, 'aliases').map((entry) => reader.alias(entry))),
    messages: list('messages').map((entry) => reader.message(entry)),
    services: reader.entries(json, 'services').map((entry) => reader.service(entry)),
  };
}

/** `vl_api_address_t` and `address` are the same type. */
function typeName(text: string): string {
  return /^vl_api_(.+)_t$/.exec(text)?.[1] ?? text;
}

function byName<Named extends { readonly name: string }>(
  entries: readonly Named[],
): ReadonlyMap<string, Named> {
  return new Map(entries.map((entry) => [entry.name, entry]));
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

class ModuleReader {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  list(json: JsonObject, name: string): readonly unknown[] {
    const value = json[name] ?? [];
    if (!Array.isArray(value)) this.#refuse(name, 'a list', value);
    return value as readonly unknown[];
  }

  /** Name and content of an object; older files write an empty one as a list. */
  entries(json: JsonObject, name: string): readonly (readonly [string, unknown])[] {
    const value = json[name] ?? {};
    if (Array.isArray(value) && value.length === 0) return [];
    if (!isObject(value)) return this.#refuse(name, 'an object', value);
    return Object.entries(value);
  }

  struct(entry: unknown, section: string): ApiStruct {
    const { name, parts } = this.#named(entry, section);
    const fields = parts.filter((part) => !isObject(part));
    return { name, fields: fields.map((field) => this.#field(field, `${section} ${name}`)) };
  }

  message(entry: unknown): ApiMessage {
    const { name, fields } = this.struct(entry, 'message');
    const where = `message ${name}`;
    const meta = (entry as readonly unknown[]).find(isObject) ?? {};
    const crc = /^0x([0-9a-f]{1,8})$/i.exec(String(meta['crc']))?.[1];
    if (crc === undefined) return this.#refuse(where, 'a crc such as "0x51077d14"', meta['crc']);
    const [first, ...rest] = fields;
    if (first?.name !== '_vl_msg_id' || first.type !== 'u16') {
      return this.#refuse(where, 'u16 _vl_msg_id as its first field', first?.name);
    }
    const options = isObject(meta['options']) ? meta['options'] : {};
    return {
      name,
      fields: rest,
      crc: crc.toLowerCase().padStart(8, '0'),
      isDeprecated: 'deprecated' in options,
    };
  }

  enum(entry: unknown): ApiEnum {
    const { name, parts } = this.#named(entry, 'enum');
    const where = `enum ${name}`;
    const meta = parts.find(isObject) ?? {};
    const type = meta['enumtype'] ?? 'u32';
    if (!isIntegerType(type)) return this.#refuse(where, 'an integer as enumtype', type);
    const values = parts
      .filter((part) => !isObject(part))
      .map((part): [string, number] => {
        const [label, value] = Array.isArray(part) ? (part as unknown[]) : [];
        if (typeof label === 'string' && Number.isInteger(value)) return [label, Number(value)];
        return this.#refuse(where, 'values as [name, number]', part);
      });
    return { name, type, values: new Map(values) };
  }

  alias([name, entry]: readonly [string, unknown]): ApiAlias {
    const where = `alias ${name}`;
    const { type, length } = isObject(entry) ? entry : {};
    if (typeof type !== 'string') return this.#refuse(where, 'a type', entry);
    if (length === undefined) return { name, type: typeName(type) };
    return { name, type: typeName(type), length: this.#length(length, where) };
  }

  service([request, entry]: readonly [string, unknown]): ApiService {
    const where = `service ${request}`;
    if (!isObject(entry)) return this.#refuse(where, 'an object', entry);
    const { reply, stream = false, stream_msg: streamMessage, events = [] } = entry;
    if (typeof reply !== 'string') return this.#refuse(where, 'the name of its reply', reply);
    const isText = (value: unknown): value is string => typeof value === 'string';
    if (!Array.isArray(events) || !events.every(isText)) {
      return this.#refuse(where, 'names of events', events);
    }
    if (streamMessage !== undefined && !isText(streamMessage)) {
      return this.#refuse(where, 'the name of its stream_msg', streamMessage);
    }
    return {
      request,
      reply: reply === 'null' ? undefined : reply,
      isStream: stream === true && streamMessage === undefined,
      streamMessage,
      events,
    };
  }

  #named(entry: unknown, section: string): { name: string; parts: readonly unknown[] } {
    const [name, ...parts] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof name === 'string') return { name, parts };
    return this.#refuse(section, 'a list that begins with its name', entry);
  }

  /** `[type, name]`, then a length, the name of a count field, an object of options: each only where it applies. */
  #field(entry: unknown, within: string): ApiField {
    const [type, name, ...more] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof type !== 'string' || typeof name !== 'string') {
      return this.#refuse(within, 'fields as [type, name, ...]', entry);
    }
    const where = `${within}, field ${name}`;
    const options = more.find(isObject) ?? {};
    const [length, countField, ...unknown] = more.filter((part) => !isObject(part));
    if (unknown.length > 0) return this.#refuse(where, 'nothing after the count field', entry);
    if (countField !== undefined && typeof countField !== 'string') {
      return this.#refuse(where, 'the name of a count field', countField);
    }
    if (countField !== undefined && length !== 0) {
      return this.#refuse(where, 'length 0 beside a count field', length);
    }
    return {
      type: typeName(type),
      name,
      ...(length === undefined ? {} : { length: this.#length(length, where) }),
      ...(countField === undefined ? {} : { countField }),
      ...this.#default(options['default'], where),
    };
  }

  #default(value: unknown, where: string): { readonly default?: FieldDefault } {
    if (value === undefined || value === null) return {};
    if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') {
      return { default: value };
    }
    return this.#refuse(where, 'a number, text, true or false as default', value);
  }

  #length(value: unknown, where: string): number {
    if (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= lengthMax) {
      return Number(value);
    }
    return this.#refuse(where, `a length from 0 to ${lengthMax}`, value);
  }

  #refuse(where: string, expected: string, found: unknown): never {
    throw malformedDefinition(this.#file, where, { expected, found });
  }
}

function isIntegerType(value: unknown): value is IntegerType {
  return integerTypes.some((type) => type === value);
}
