// The rows that a monitor shows, kept up to date by the server's updates: full rows (`update`, RFC 7047 section
// 4.1.6) or differences (`update2`, ovsdb-server(7) section 4.1.14: symmetric difference of a set, changed pairs of a
// map, the new value otherwise; default values are left out of new rows).
// Invariant: a row is handed out complete, whichever of the two the server speaks; at most `rowsMax` are kept.

import { NsmError } from '../errors.ts';
import { matchesWhere } from './ovsdb-conditions.ts';
import type { Where } from './ovsdb-operations.ts';
import type { OvsdbColumn, OvsdbSchema } from './ovsdb-schema.ts';
import type { OvsdbAtom, OvsdbMap, OvsdbRow, OvsdbValue } from './ovsdb-values.ts';
import { asRow, atomsOf } from './ovsdb-values.ts';

/** What a monitor is to show of one table. */
export interface MonitoredTable {
  readonly table: string;
  readonly columns: readonly string[];
  /** Only rows for which all of it holds; its columns must be among `columns`. */
  readonly where?: Where;
}

export type RowChange =
  | {
      readonly kind: 'inserted';
      readonly table: string;
      readonly uuid: string;
      readonly row: OvsdbRow;
    }
  | {
      readonly kind: 'modified';
      readonly table: string;
      readonly uuid: string;
      readonly row: OvsdbRow;
      readonly before: OvsdbRow;
    }
  | {
      readonly kind: 'deleted';
      readonly table: string;
      readonly uuid: string;
      readonly before: OvsdbRow;
    };

export interface RowView {
  /** From a monitor's answer or `update`. */
  applyUpdates(updates: unknown): RowChange[];
  /** From a conditional monitor's answer or `update2`. */
  applyDifferences(updates: unknown): RowChange[];
}

type Loose = Readonly<Record<string, unknown>>;

function malformedUpdate(expected: string, found: unknown): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'an OVSDB update breaks its format', {
    rule: 'table updates',
    expected,
    found: JSON.stringify(found)?.slice(0, 120) ?? String(found),
  });
}

function asObject(value: unknown): Loose {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformedUpdate('an object', value);
  }
  return value as Loose;
}

/** NOT_FOUND where the schema lacks a table or column. */
export function createRowView(
  schema: OvsdbSchema,
  tables: readonly MonitoredTable[],
  rowsMax: number,
): RowView {
  return new View(new Map(tables.map((table) => [table.table, checked(schema, table)])), rowsMax);
}

interface TableView {
  readonly columns: ReadonlyMap<string, OvsdbColumn>;
  readonly where: Where;
  readonly rows: Map<string, OvsdbRow>;
}

function checked(schema: OvsdbSchema, { table, columns, where = [] }: MonitoredTable): TableView {
  const known = schema.tables.get(table);
  const refuse = (found: string): NsmError =>
    new NsmError('NOT_FOUND', 'the database has no such column', {
      rule: 'monitor',
      expected: `a table and columns of ${schema.name} ${schema.version}`,
      found,
    });
  if (known === undefined) throw refuse(table);
  const selected = columns.map((column): [string, OvsdbColumn] => {
    const description = known.get(column);
    if (description === undefined) throw refuse(`${table}.${column}`);
    return [column, description];
  });
  const view = new Map(selected);
  const unseen = where.find(([column]) => !view.has(column));
  if (unseen !== undefined) throw refuse(`the condition on ${table}.${unseen[0]}, not monitored`);
  return { columns: view, where, rows: new Map() };
}

class View implements RowView {
  readonly #tables: ReadonlyMap<string, TableView>;
  readonly #rowsMax: number;
  #rowCount = 0;

  constructor(tables: ReadonlyMap<string, TableView>, rowsMax: number) {
    this.#tables = tables;
    this.#rowsMax = rowsMax;
  }

  applyUpdates(updates: unknown): RowChange[] {
    return this.#apply(updates, (view, update, before) => {
      const next = update['new'];
      if (next === undefined || next === null) return undefined;
      // Only the columns that changed are certain to be in `old`; `new` has them all.
      const row = { ...before, ...asRow(next) };
      return matchesWhere(row, view.where) ? row : undefined;
    });
  }

  applyDifferences(updates: unknown): RowChange[] {
    return this.#apply(updates, (view, update, before) => {
      const whole = update['initial'] ?? update['insert'];
      if (whole !== undefined) return withDefaults(view, asRow(whole));
      if ('delete' in update) return undefined;
      if (update['modify'] === undefined) throw malformedUpdate('a row update', update);
      if (before === undefined) throw malformedUpdate('a change of a known row', update);
      return changed(view, before, asRow(update['modify']));
    });
  }

  #apply(
    updates: unknown,
    read: (view: TableView, update: Loose, before: OvsdbRow | undefined) => OvsdbRow | undefined,
  ): RowChange[] {
    const changes: RowChange[] = [];
    for (const [table, rows] of Object.entries(asObject(updates))) {
      const view = this.#tables.get(table);
      if (view === undefined) throw malformedUpdate('a monitored table', table);
      for (const [uuid, update] of Object.entries(asObject(rows))) {
        const before = view.rows.get(uuid);
        const row = read(view, asObject(update), before);
        const change = this.#store(view, { table, uuid }, row);
        if (change !== undefined) changes.push(change);
      }
    }
    return changes;
  }

  #store(
    view: TableView,
    place: { readonly table: string; readonly uuid: string },
    row: OvsdbRow | undefined,
  ): RowChange | undefined {
    const before = view.rows.get(place.uuid);
    if (row === undefined) {
      if (before === undefined) return undefined;
      view.rows.delete(place.uuid);
      this.#rowCount -= 1;
      return { kind: 'deleted', ...place, before };
    }
    view.rows.set(place.uuid, row);
    if (before !== undefined) return { kind: 'modified', ...place, row, before };
    this.#rowCount += 1;
    if (this.#rowCount > this.#rowsMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'a monitor shows too many rows', {
        rule: 'monitored rows',
        expected: `at most ${this.#rowsMax}`,
        found: 'more',
        remedy: 'monitor with a condition, or raise the bound',
      });
    }
    return { kind: 'inserted', ...place, row };
  }
}

function withDefaults(view: TableView, row: OvsdbRow): OvsdbRow {
  const complete: Record<string, OvsdbValue> = {};
  for (const [name, column] of view.columns) complete[name] = row[name] ?? column.defaultValue;
  return complete;
}

function changed(view: TableView, before: OvsdbRow, difference: OvsdbRow): OvsdbRow {
  const row: Record<string, OvsdbValue> = { ...before };
  for (const [name, delta] of Object.entries(difference)) {
    const column = view.columns.get(name);
    if (column === undefined) throw malformedUpdate('a monitored column', name);
    const old = before[name] ?? column.defaultValue;
    if (column.holds === 'set') row[name] = toggled(old, delta);
    else if (column.holds === 'map') row[name] = patched(old as OvsdbMap, delta as OvsdbMap);
    else row[name] = delta;
  }
  return row;
}

/** Elements that are in one of the two sets. */
function toggled(old: OvsdbValue, delta: OvsdbValue): OvsdbValue {
  const atoms = new Map(atomsOf(old).map((atom) => [JSON.stringify(atom), atom]));
  for (const atom of atomsOf(delta)) {
    const key = JSON.stringify(atom);
    if (!atoms.delete(key)) atoms.set(key, atom);
  }
  const left = [...atoms.values()];
  const [only] = left;
  return left.length === 1 && only !== undefined ? only : ['set', left];
}

/** A pair that is there already goes, another is set. */
function patched(old: OvsdbMap, delta: OvsdbMap): OvsdbValue {
  const pairs = new Map(
    old[1].map((pair): [string, readonly [OvsdbAtom, OvsdbAtom]] => [
      JSON.stringify(pair[0]),
      pair,
    ]),
  );
  for (const pair of delta[1]) {
    const key = JSON.stringify(pair[0]);
    const isGone = JSON.stringify(pairs.get(key)) === JSON.stringify(pair);
    if (isGone) pairs.delete(key);
    else pairs.set(key, pair);
  }
  return ['map', [...pairs.values()]];
}
