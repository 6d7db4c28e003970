// Hostile inputs made from good ones: what a broken peer, a bad link or an attacker would send. Seeded, so that a
// failing input can be made again from its seed.

import type { Random } from '../../protocols/ports/random.ts';

/** A small deterministic source (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const hex = (digits: number): string => next().toString(16).padStart(8, '0').slice(0, digits);
  return {
    integer: (exclusiveMax) => Math.floor((next() / 2 ** 32) * exclusiveMax),
    uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(8)}${hex(4)}`,
  };
}

export function pick<T>(random: Random, choices: readonly T[]): T {
  return choices[random.integer(choices.length)] as T;
}

export function randomBytes(random: Random, lengthMax: number): Uint8Array {
  return Uint8Array.from({ length: random.integer(lengthMax + 1) }, () => random.integer(256));
}

/** Bytes that decoders stumble over: lengths, ends of varints, signs. */
const awkward = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];

type Edit = (random: Random, bytes: number[], other: Uint8Array) => void;

const edits: readonly Edit[] = [
  (random, bytes) => {
    const at = random.integer(bytes.length + 1);
    if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.integer(8));
  },
  (random, bytes) => {
    if (bytes.length > 0) bytes[random.integer(bytes.length)] = pick(random, awkward);
  },
  (random, bytes) => {
    bytes.splice(random.integer(bytes.length + 1), 0, random.integer(256));
  },
  (random, bytes) => {
    bytes.splice(random.integer(bytes.length + 1), 1 + random.integer(4));
  },
  (random, bytes) => {
    bytes.length = random.integer(bytes.length + 1);
  },
  (random, bytes) => {
    const start = random.integer(bytes.length + 1);
    const copy = bytes.slice(start, start + 1 + random.integer(32));
    bytes.splice(random.integer(bytes.length + 1), 0, ...copy);
  },
  (random, bytes, other) => {
    const start = random.integer(other.length + 1);
    const piece = other.subarray(start, start + 1 + random.integer(64));
    bytes.splice(random.integer(bytes.length + 1), random.integer(8), ...piece);
  },
];

/** An endless sequence of inputs that are one to four edits away from `validBytes` (or from another of `others`). */
export function* mutations(
  random: Random,
  validBytes: Uint8Array,
  others: readonly Uint8Array[] = [validBytes],
): Generator<Uint8Array, never> {
  for (;;) {
    const bytes = [...validBytes];
    const count = 1 + random.integer(4);
    for (let edit = 0; edit < count; edit += 1)
      pick(random, edits)(random, bytes, pick(random, others));
    yield Uint8Array.from(bytes);
  }
}

/** Pieces that text parsers stumble over. */
const fragments = [
  '',
  ' ',
  '\n',
  '\t',
  '\0',
  '"',
  "'",
  '`',
  '\\',
  '/',
  '//',
  '://',
  ':',
  ',',
  '@',
  '?',
  '&',
  '=',
  '#',
  '%',
  '%zz',
  '%00',
  '[',
  ']',
  '{',
  '}',
  '{{',
  '}}',
  '{{.',
  '-',
  '--',
  '.',
  '..',
  '0',
  '-1',
  '4294967296',
  '99999999999999999999',
  '1e9',
  'NaN',
  'null',
  'true',
  '__proto__',
  'constructor',
  '::',
  '/33',
  '*',
  '&a',
  '*a',
  '!!js',
  '---',
  '|',
  'é',
  '\ud800',
  '\u202e',
  '😀',
  'x'.repeat(300),
] as const;

/** One text that is one to four edits away from `valid`. */
export function mutateText(
  random: Random,
  valid: string,
  others: readonly string[] = [valid],
): string {
  let text = valid;
  const count = 1 + random.integer(4);
  for (let edit = 0; edit < count; edit += 1) {
    const at = random.integer(text.length + 1);
    const other = pick(random, others);
    const from = random.integer(other.length + 1);
    const inserted = pick(random, [
      pick(random, fragments),
      String.fromCharCode(random.integer(128)),
      other.slice(from, from + random.integer(16)),
      text.slice(at, at + random.integer(24)),
    ]);
    text = text.slice(0, at) + inserted + text.slice(at + random.integer(4));
  }
  return text;
}

/** A text without any shape. */
export function randomText(random: Random, piecesMax: number): string {
  return Array.from({ length: random.integer(piecesMax + 1) }, () =>
    pick(random, [pick(random, fragments), String.fromCharCode(random.integer(0x250))]),
  ).join('');
}

/**
 * A copy of a plain value (a protobuf message, say) with one to four of its parts changed: texts mutated, numbers made
 * extreme, list items repeated or dropped, map entries added. What is left still has the shape of the original.
 */
export function mutateValue<T>(random: Random, value: T): T {
  const copy = structuredClone(value);
  const places: Place[] = [];
  collectPlaces(copy, places);
  const count = 1 + random.integer(4);
  for (let edit = 0; edit < count && places.length > 0; edit += 1)
    changePlace(random, pick(random, places));
  return copy;
}

interface Place {
  readonly holder: Record<string, unknown> | unknown[];
  readonly key: string;
}

function collectPlaces(value: unknown, places: Place[]): void {
  if (typeof value !== 'object' || value === null) return;
  const holder = value as Place['holder'];
  for (const key of Object.keys(holder)) {
    if (key.startsWith('$')) continue;
    places.push({ holder, key });
    collectPlaces((holder as Record<string, unknown>)[key], places);
  }
}

const extremes = [0, 1, 2, 3, 4, 33, 129, 4096, 65_536, 999_999_999, 1_000_000_000, 2_147_483_647];

function changePlace(random: Random, { holder, key }: Place): void {
  const holding = holder as Record<string, unknown>;
  const value = holding[key];
  if (typeof value === 'string') {
    holding[key] = random.integer(20) === 0 ? 'x'.repeat(10_000) : mutateText(random, value);
  } else if (typeof value === 'number') {
    holding[key] = pick(random, extremes);
  } else if (typeof value === 'bigint') {
    holding[key] = pick(random, [0n, -1n, 1n << 62n, -(1n << 62n), 253_402_300_800n]);
  } else if (typeof value === 'boolean') {
    holding[key] = !value;
  } else if (Array.isArray(value)) {
    changeList(random, value);
  } else if (typeof value === 'object' && value !== null && !('$typeName' in value)) {
    growMap(random, value);
  }
}

/** Now and then a size that only a hostile peer sends. */
function repetitions(random: Random, many: number): number {
  return random.integer(24) === 0 ? many : 1;
}

function changeList(random: Random, list: unknown[]): void {
  if (list.length === 0 || random.integer(2) === 0) {
    list.splice(random.integer(list.length + 1), 1);
    return;
  }
  const item = list[random.integer(list.length)];
  const times = repetitions(random, pick(random, [40, 300, 4100]));
  for (let at = 0; at < times; at += 1) list.push(item);
}

function growMap(random: Random, map: object): void {
  const [sample] = Object.values(map);
  const times = repetitions(random, 300);
  for (let at = 0; at < times; at += 1) {
    const odd = pick(random, ['', 'constructor', '__proto__', 'toString', 'x']);
    // Assigning to __proto__ would change the prototype instead of adding an entry.
    Object.defineProperty(map, at === 0 ? odd : `k${at}`, {
      value: sample ?? '',
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
}
