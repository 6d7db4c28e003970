// Aligned tables for people. Invariant: what a cell shows cannot break the table or steer the terminal: control
// characters of foreign names are shown as `?`.

import { stripVTControlCharacters } from 'node:util';
import type { Paint } from './colours.ts';

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => string | number | undefined;
  /** Numbers read better aligned to the right. */
  readonly align?: 'left' | 'right';
}

/** Control characters, line separators, and what turns the direction of text. */
const controls = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu;

/** Foreign text made harmless for a terminal. */
export const printable = (text: string): string =>
  stripVTControlCharacters(text).replace(controls, '?');

/** Characters wide enough for two columns: CJK, Hangul, full-width forms, emoji (Unicode UAX #11, coarsely). */
const wide =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\u{1f300}-\u{1faff}]/u;

const width = (text: string): number =>
  Array.from(text).reduce((sum, letter) => sum + (wide.test(letter) ? 2 : 1), 0);

/** The table with its line breaks; without rows the one line `none`. */
export function formatTable<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  paint: Paint,
): string {
  if (rows.length === 0) return 'none\n';
  const cells = rows.map((row) => columns.map(({ cell }) => printable(String(cell(row) ?? '-'))));
  const widths = columns.map(({ title }, index) =>
    Math.max(width(title), ...cells.map((line) => width(line[index] ?? ''))),
  );
  const align = (text: string, index: number): string => {
    const gap = ' '.repeat(Math.max(0, (widths[index] ?? 0) - width(text)));
    return columns[index]?.align === 'right' ? gap + text : text + gap;
  };
  const join = (line: readonly string[]): string => line.map(align).join('  ').trimEnd();
  const title = paint('bold', join(columns.map((column) => column.title)));
  return `${[title, ...cells.map(join)].join('\n')}\n`;
}
