// Protects what people and programs read: aligned tables that foreign names cannot break, stable JSON and YAML, and
// colours only where they are wanted.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createPaint } from '../../bin/output/colours.ts';
import { formatValue } from '../../bin/output/print.ts';
import { type Column, formatTable } from '../../bin/output/table.ts';
import { withProgress } from '../../bin/output/progress.ts';

const plain = createPaint({}, {});
interface Row {
  readonly name: string;
  readonly ms?: number;
}

const columns: readonly Column<Row>[] = [
  { title: 'NAME', cell: (row) => row.name },
  { title: 'MS', cell: (row) => row.ms, align: 'right' },
];

describe('a table', () => {
  it('aligns its columns', () => {
    const rows = [{ name: 'nsc-0', ms: 4 }, { name: '線路', ms: 120 }, { name: 'long-name' }];
    expect(formatTable(rows, columns, plain)).toBe(
      'NAME        MS\nnsc-0        4\n線路       120\nlong-name    -\n',
    );
    expect(formatTable([], columns, plain)).toBe('none\n');
  });

  it('has one line per row without control characters, whatever the names hold', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ name: fc.string({ unit: 'binary' }) }), { minLength: 1 }),
        (rows) => {
          const lines = formatTable(rows, columns, plain).split('\n');
          expect(lines).toHaveLength(rows.length + 2);
          expect(lines.join('')).not.toMatch(/\p{Cc}/u);
        },
      ),
    );
  });
});

describe('colours', () => {
  it.each([
    [{ isTTY: true }, {}, '\x1b[31mx\x1b[0m'],
    [{ isTTY: true }, { NO_COLOR: '' }, '\x1b[31mx\x1b[0m'],
    [{ isTTY: true }, { NO_COLOR: '1' }, 'x'],
    [{}, {}, 'x'],
  ])('terminal %j with %j', (terminal, environment, expected) => {
    expect(createPaint(terminal, environment)('red', 'x')).toBe(expected);
  });
});

it('JSON and YAML hold the same value, large counters as text', () => {
  const value = { id: 'a', rx: 5n, tx: 2n ** 60n, none: null };
  const expected = { id: 'a', rx: 5, tx: '1152921504606846976', none: null };
  expect(JSON.parse(formatValue(value, 'json'))).toEqual(expected);
  expect(parse(formatValue(value, 'yaml'))).toEqual(expected);
});

it('progress hands results and errors through', async () => {
  await expect(withProgress('work', async () => 1)).resolves.toBe(1);
  await expect(withProgress('work', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
});
