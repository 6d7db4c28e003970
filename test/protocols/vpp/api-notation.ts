// A short notation for API definitions, and the `.api.json` objects that vppapigen would write for it. One line is one
// definition; lines that begin with blanks continue the one before.
//
//   alias NAME TYPE[LENGTH]      enum|flags NAME INTEGER LABEL=NUMBER ...      type|union NAME FIELD ...
//   module NAME                  request|reply|event|bare NAME CRC FIELD ... [deprecated]
//   service REQUEST REPLY [many | of STREAM_MESSAGE] [events EVENT ...]
//
// FIELD is name:type, name:type[LENGTH], name:type[] or name:type[COUNT_FIELD], then =DEFAULT; `max` is all ones.

export type ModuleJson = Readonly<Record<string, unknown>>;

const scalars = new Set('u8 u16 u32 u64 i8 i16 i32 i64 f64 bool string'.split(' '));

const headers: Readonly<Record<string, readonly (readonly [string, string])[]>> = {
  request: [
    ['u32', 'client_index'],
    ['u32', 'context'],
  ],
  reply: [['u32', 'context']],
  event: [['u32', 'client_index']],
  bare: [],
};

const linesOf = (text: string): string[][] =>
  text
    .trim()
    .replace(/\n {2}/g, ' ')
    .split('\n')
    .map((line) => line.split(' '));

const typeOf = (type: string): string => (scalars.has(type) ? type : `vl_api_${type}_t`);

function fieldOf(text: string): unknown[] {
  const [, name, type, isArray, length, given] =
    /^(\w+):(\w+)(\[(\w*)\])?(?:=(\S+))?$/.exec(text) ?? [];
  if (name === undefined || type === undefined) throw new Error(`no field: ${text}`);
  const isNumber = /^\d+$/.test(length ?? '');
  const array = isArray === undefined ? [] : length === '' ? [0] : [isNumber ? +length! : 0];
  const count = isArray !== undefined && length !== '' && !isNumber ? [length] : [];
  return [typeOf(type), name, ...array, ...count, ...defaultOf(given)];
}

function defaultOf(text: string | undefined): unknown[] {
  if (text === undefined) return [];
  // vppapigen writes "true" as text, and false as false.
  if (text === 'true' || text === 'false') return [{ default: text === 'true' ? text : false }];
  return [{ default: text === 'max' ? 0xffff_ffff : Number(text) }];
}

interface Types {
  readonly types: unknown[];
  readonly unions: unknown[];
  readonly enums: unknown[];
  readonly enumflags: unknown[];
  readonly aliases: Record<string, unknown>;
}

/** Every module has all the types, as if it imported them. */
export function modulesOf(types: string, messages: string): ModuleJson[] {
  const shared = typesOf(types);
  const modules: { module: string; messages: unknown[]; services: Record<string, unknown> }[] = [];
  for (const [kind = '', name = '', ...rest] of linesOf(messages)) {
    const module = modules.at(-1);
    if (kind === 'module') modules.push({ module: name, messages: [], services: {} });
    else if (kind === 'service' && module !== undefined) module.services[name] = serviceOf(rest);
    else module?.messages.push(messageOf(kind, name, rest));
  }
  const rest = { options: { version: '1.0.0' }, imports: [], vl_api_version: '0x1' };
  return modules.map((module) => ({ ...module, ...shared, ...rest }));
}

function typesOf(text: string): Types {
  const found: Types = { types: [], unions: [], enums: [], enumflags: [], aliases: {} };
  const lists = { type: found.types, union: found.unions };
  const enums = { enum: found.enums, flags: found.enumflags };
  for (const [kind = '', name = '', first = '', ...rest] of linesOf(text)) {
    if (kind === 'alias') found.aliases[name] = aliasOf(first);
    else if (kind === 'enum' || kind === 'flags') {
      const values = rest.map((value) => value.split('=')).map(([label, n]) => [label, Number(n)]);
      enums[kind].push([name, ...values, { enumtype: first }]);
    } else if (kind === 'type' || kind === 'union') {
      lists[kind].push([name, ...[first, ...rest].map(fieldOf)]);
    }
  }
  return found;
}

function aliasOf(text: string): unknown {
  const [, type = '', length] = /^(\w+)(?:\[(\d+)\])?$/.exec(text) ?? [];
  return {
    type: typeOf(type),
    ...(length === undefined ? {} : { length: Number(length) }),
  };
}

function messageOf(kind: string, name: string, [crc = '', ...fields]: string[]): unknown[] {
  const isDeprecated = fields.at(-1) === 'deprecated';
  const options = isDeprecated ? { deprecated: null } : {};
  const body = (isDeprecated ? fields.slice(0, -1) : fields).map(fieldOf);
  const meta = { crc: `0x${crc}`, options };
  return [name, ['u16', '_vl_msg_id'], ...(headers[kind] ?? []), ...body, meta];
}

function serviceOf([reply, ...words]: string[]): Record<string, unknown> {
  const at = words.indexOf('events');
  const of = words.indexOf('of');
  return {
    reply,
    ...(words[0] === 'many' || of >= 0 ? { stream: true } : {}),
    ...(of >= 0 ? { stream_msg: words[of + 1] } : {}),
    ...(at >= 0 ? { events: words.slice(at + 1) } : {}),
  };
}
