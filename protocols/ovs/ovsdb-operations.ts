// Operations of a transaction (RFC 7047 section 5.2), made by functions, so that their JSON is always complete.
// All of a transaction's operations happen, or none.

import type { OvsdbRow, OvsdbValue } from './ovsdb-values.ts';

export type ConditionFunction = '==' | '!=' | '<' | '<=' | '>' | '>=' | 'includes' | 'excludes';
export type Mutator = '+=' | '-=' | '*=' | '/=' | '%=' | 'insert' | 'delete';
/** Column `_uuid` selects a row by its identity. */
export type Condition = readonly [column: string, test: ConditionFunction, value: OvsdbValue];
export type Mutation = readonly [column: string, mutator: Mutator, value: OvsdbValue];
/** Every condition must hold; none selects every row. */
export type Where = readonly Condition[];

export type OvsdbOperation =
  | {
      readonly op: 'insert';
      readonly table: string;
      readonly row: OvsdbRow;
      readonly 'uuid-name'?: string;
    }
  | {
      readonly op: 'select';
      readonly table: string;
      readonly where: Where;
      readonly columns?: readonly string[];
    }
  | {
      readonly op: 'update';
      readonly table: string;
      readonly where: Where;
      readonly row: OvsdbRow;
    }
  | {
      readonly op: 'mutate';
      readonly table: string;
      readonly where: Where;
      readonly mutations: readonly Mutation[];
    }
  | { readonly op: 'delete'; readonly table: string; readonly where: Where }
  | {
      readonly op: 'wait';
      readonly table: string;
      readonly where: Where;
      readonly columns: readonly string[];
      readonly until: '==' | '!=';
      readonly rows: readonly OvsdbRow[];
      readonly timeout: number;
    }
  | { readonly op: 'comment'; readonly comment: string }
  | { readonly op: 'abort' };

/** `name` (an identifier: letters, digits, underscores) lets other operations refer to the row by `namedUuid`. */
export function insert(table: string, row: OvsdbRow, name?: string): OvsdbOperation {
  return { op: 'insert', table, row, ...(name === undefined ? {} : { 'uuid-name': name }) };
}

/** Without `columns` all of them, `_uuid` and `_version` too. */
export function select(table: string, where: Where, columns?: readonly string[]): OvsdbOperation {
  return { op: 'select', table, where, ...(columns === undefined ? {} : { columns }) };
}

export function update(table: string, where: Where, row: OvsdbRow): OvsdbOperation {
  return { op: 'update', table, where, row };
}

export function mutate(
  table: string,
  where: Where,
  mutations: readonly Mutation[],
): OvsdbOperation {
  return { op: 'mutate', table, where, mutations };
}

export function remove(table: string, where: Where): OvsdbOperation {
  return { op: 'delete', table, where };
}

/** The transaction goes on only where the selected rows, seen through the columns of `rows`, are these. */
export function expectRows(
  table: string,
  where: Where,
  expected: { readonly columns: readonly string[]; readonly rows: readonly OvsdbRow[] },
): OvsdbOperation {
  return { op: 'wait', table, where, ...expected, until: '==', timeout: 0 };
}

/** The transaction goes on only where no row is selected; `column` may be any column of the table. */
export function expectNone(table: string, where: Where, column: string): OvsdbOperation {
  return expectRows(table, where, { columns: [column], rows: [] });
}

/** Goes to the database's own log. */
export function comment(text: string): OvsdbOperation {
  return { op: 'comment', comment: text };
}

/** Ends the transaction without effect: what it would have answered can be seen. */
export function abort(): OvsdbOperation {
  return { op: 'abort' };
}

/** One line for a person, as errors quote it: the server does not name the column whose value it refuses. */
export function describeOperation(operation: OvsdbOperation): string {
  if (!('table' in operation)) return operation.op;
  const { op, table } = operation;
  const columns = columnsWritten(operation);
  return columns.length === 0 ? `${op} ${table}` : `${op} ${table} (${columns.join(', ')})`;
}

function columnsWritten(operation: OvsdbOperation): string[] {
  if ('row' in operation) return Object.keys(operation.row);
  if ('mutations' in operation) return operation.mutations.map(([column]) => column);
  return [];
}
