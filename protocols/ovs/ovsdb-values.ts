// Values of OVSDB in their JSON notation (RFC 7047 section 5.1), made and read. A set of one element is written as
// that element, so a column is read by what the reader expects of it, not by its looks.
// Integers beyond 2^53 lose their last digits, since JSON numbers are doubles here; counters stay far below.

import { NsmError } from '../errors.ts';

export type OvsdbAtom = string | number | boolean | OvsdbUuid | OvsdbNamedUuid;
export type OvsdbUuid = readonly ['uuid', string];
/** A row that the same transaction inserts under this name. */
export type OvsdbNamedUuid = readonly ['named-uuid', string];
export type OvsdbSet = readonly ['set', readonly OvsdbAtom[]];
export type OvsdbMap = readonly ['map', readonly (readonly [OvsdbAtom, OvsdbAtom])[]];
export type OvsdbValue = OvsdbAtom | OvsdbSet | OvsdbMap;
/** Column name to value. */
export type OvsdbRow = Readonly<Record<string, OvsdbValue>>;

export function uuid(value: string): OvsdbUuid {
  return ['uuid', value];
}

export function namedUuid(name: string): OvsdbNamedUuid {
  return ['named-uuid', name];
}

export function setOf(...atoms: readonly OvsdbAtom[]): OvsdbSet {
  return ['set', atoms];
}

/** A map with text keys, as external_ids, options and other_config are. */
export function mapOf(entries: Readonly<Record<string, OvsdbAtom>>): OvsdbMap {
  return ['map', Object.entries(entries)];
}

function unexpected(expected: string, found: unknown): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an OVSDB value is not of the kind that was expected', {
    rule: 'OVSDB value',
    expected,
    found: JSON.stringify(found)?.slice(0, 120) ?? String(found),
  });
}

function isAtom(value: unknown): value is OvsdbAtom {
  if (Array.isArray(value)) {
    const [tag, id] = value as readonly unknown[];
    return value.length === 2 && (tag === 'uuid' || tag === 'named-uuid') && typeof id === 'string';
  }
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

/** Checks a value that came over the wire. */
export function asValue(value: unknown): OvsdbValue {
  if (isAtom(value)) return value;
  if (Array.isArray(value) && value.length === 2 && Array.isArray(value[1])) {
    const [tag, items] = value as [unknown, readonly unknown[]];
    if (tag === 'set' && items.every(isAtom)) return ['set', items];
    if (tag === 'map' && items.every(isPair)) return ['map', items];
  }
  throw unexpected('an atom, a set or a map', value);
}

function isPair(value: unknown): value is readonly [OvsdbAtom, OvsdbAtom] {
  return Array.isArray(value) && value.length === 2 && isAtom(value[0]) && isAtom(value[1]);
}

/** Checks a row that came over the wire. */
export function asRow(value: unknown): OvsdbRow {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unexpected('a row', value);
  }
  for (const content of Object.values(value)) asValue(content);
  return value as OvsdbRow;
}

/** The elements of a set, of none, one or many; an atom counts as a set of one. */
export function atomsOf(value: OvsdbValue | undefined): readonly OvsdbAtom[] {
  if (value === undefined) return [];
  if (isAtom(value)) return [value];
  if (value[0] === 'set') return value[1] as readonly OvsdbAtom[];
  throw unexpected('a set', value);
}

/** The rows that a reference column points to. */
export function uuidsOf(value: OvsdbValue | undefined): string[] {
  return atomsOf(value).map((atom) => {
    if (Array.isArray(atom)) return String(atom[1]);
    throw unexpected('references', value);
  });
}

/** The only text of a column that may be empty. */
export function textOf(value: OvsdbValue | undefined): string | undefined {
  const [atom] = atomsOf(value);
  if (atom === undefined || typeof atom === 'string') return atom;
  throw unexpected('a text', value);
}

/** The only number of a column that may be empty. */
export function numberOf(value: OvsdbValue | undefined): number | undefined {
  const [atom] = atomsOf(value);
  if (atom === undefined || typeof atom === 'number') return atom;
  throw unexpected('a number', value);
}

/** A map with text keys; values become text, as external_ids holds, or numbers, as statistics does. */
export function entriesOf(value: OvsdbValue | undefined): ReadonlyMap<string, OvsdbAtom> {
  if (value === undefined) return new Map();
  if (!isAtom(value) && value[0] === 'map') {
    const pairs = value[1] as readonly (readonly [OvsdbAtom, OvsdbAtom])[];
    return new Map(pairs.map(([key, content]) => [String(key), content]));
  }
  throw unexpected('a map', value);
}
