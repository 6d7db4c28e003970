// What a command shows: a table for people, JSON or YAML for programs, chosen by `-o`. Invariant: for programs every
// field is there under a stable name; the table may leave some out.

import { stringify } from 'yaml';
import { createPaint } from './colours.ts';
import { type Column, formatTable } from './table.ts';

export type OutputFormat = 'table' | 'json' | 'yaml';

/** bigint has no JSON form; beyond 2^53 its digits are kept as text. */
const plain = (_: string, value: unknown): unknown => {
  if (typeof value !== 'bigint') return value;
  return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
};

/** The value as JSON or YAML with its final line break. */
export function formatValue(value: unknown, format: 'json' | 'yaml'): string {
  const json = JSON.stringify(value, plain, 2);
  return format === 'json' ? `${json}\n` : stringify(JSON.parse(json));
}

export interface Listing<Row> {
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
}

/** Writes a listing to stdout in the format asked for. */
export function printListing<Row>({ rows, columns }: Listing<Row>, format: OutputFormat): void {
  const text =
    format === 'table'
      ? formatTable(rows, columns, createPaint(process.stdout, process.env))
      : formatValue(rows, format);
  process.stdout.write(text);
}
