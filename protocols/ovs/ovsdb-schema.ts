// The part of a database's schema (RFC 7047 section 3.2) that monitors need: how many values a column holds, whether
// it is a map, and which value it has by default, since the server leaves default values out.

import { NsmError } from '../errors.ts';
import type { OvsdbAtom, OvsdbValue } from './ovsdb-values.ts';

export interface OvsdbColumn {
  /** A plain value, at most one value (`["set", []]` or the value), several, or pairs. */
  readonly holds: 'one' | 'optional' | 'set' | 'map';
  readonly defaultValue: OvsdbValue;
}

export interface OvsdbSchema {
  readonly name: string;
  /** `8.3.1`; Open vSwitch raises it with each change of the schema. */
  readonly version: string;
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, OvsdbColumn>>;
}

const defaultAtoms: Readonly<Record<string, OvsdbAtom>> = {
  integer: 0,
  real: 0,
  boolean: false,
  string: '',
  uuid: ['uuid', '00000000-0000-0000-0000-000000000000'],
};

type Loose = Readonly<Record<string, unknown>>;

function asObject(value: unknown, where: string): Loose {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Loose;
  throw new NsmError('INVALID_ARGUMENT', 'a database schema breaks its format', {
    rule: where,
    expected: 'an object',
    found: JSON.stringify(value)?.slice(0, 120) ?? String(value),
  });
}

function readColumn(type: unknown, where: string): OvsdbColumn {
  if (typeof type === 'string') return { holds: 'one', defaultValue: defaultAtoms[type] ?? '' };
  const { key, value, min = 1, max = 1 } = asObject(type, where);
  if (value !== undefined) return { holds: 'map', defaultValue: ['map', []] };
  if (max !== 1) return { holds: 'set', defaultValue: ['set', []] };
  if (min === 0) return { holds: 'optional', defaultValue: ['set', []] };
  const keyType = typeof key === 'string' ? key : String(asObject(key, where)['type']);
  return { holds: 'one', defaultValue: defaultAtoms[keyType] ?? '' };
}

/** The result of `get_schema`. */
export function readSchema(result: unknown): OvsdbSchema {
  const { name, version, tables } = asObject(result, 'schema');
  const readTable = (table: unknown, tableName: string): ReadonlyMap<string, OvsdbColumn> => {
    const columns = asObject(asObject(table, tableName)['columns'], `${tableName}.columns`);
    return new Map(
      Object.entries(columns).map(([column, description]) => {
        const where = `${tableName}.${column}`;
        return [column, readColumn(asObject(description, where)['type'], where)];
      }),
    );
  };
  return {
    name: String(name),
    version: String(version),
    tables: new Map(
      Object.entries(asObject(tables, 'schema.tables')).map(([tableName, table]) => [
        tableName,
        readTable(table, tableName),
      ]),
    ),
  };
}
