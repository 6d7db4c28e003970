// Conditions on rows (RFC 7047 section 5.1, <condition>), for servers that cannot apply them in a monitor.

import { NsmError } from '../errors.ts';
import type { Condition, Where } from './ovsdb-operations.ts';
import type { OvsdbRow, OvsdbValue } from './ovsdb-values.ts';

export function matchesWhere(row: OvsdbRow, where: Where): boolean {
  return where.every((condition) => matches(row, condition));
}

/** Elements of a set, or pairs of a map, in a form that can be compared. */
function itemsOf(value: OvsdbValue | undefined): ReadonlySet<string> {
  if (value === undefined) return new Set();
  const isMany = Array.isArray(value) && (value[0] === 'set' || value[0] === 'map');
  const items = isMany ? (value[1] as readonly unknown[]) : [value];
  return new Set(items.map((item) => JSON.stringify(item)));
}

function matches(row: OvsdbRow, [column, test, value]: Condition): boolean {
  const found = itemsOf(row[column]);
  const wanted = itemsOf(value);
  const includesAll = [...wanted].every((item) => found.has(item));
  switch (test) {
    case '==':
      return includesAll && found.size === wanted.size;
    case '!=':
      return !includesAll || found.size !== wanted.size;
    case 'includes':
      return includesAll;
    case 'excludes':
      return ![...wanted].some((item) => found.has(item));
    case '<':
    case '<=':
    case '>':
    case '>=':
      return isOrdered(row[column], test, value);
  }
}

function isOrdered(
  found: OvsdbValue | undefined,
  test: '<' | '<=' | '>' | '>=',
  value: OvsdbValue,
): boolean {
  if (typeof value !== 'number') {
    throw new NsmError('INVALID_ARGUMENT', 'a condition compares what has no order', {
      rule: 'monitor condition',
      expected: `a number after ${test}`,
      found: JSON.stringify(value),
    });
  }
  if (typeof found !== 'number') return false;
  if (test === '<') return found < value;
  if (test === '<=') return found <= value;
  return test === '>' ? found > value : found >= value;
}
