// Protects what remembers operations: an entry is found until its time is over and not after it, the bound holds whatever
// is put in, the one used last stays, and what is old is forgotten without being asked for.

import { expect, it } from 'vitest';
import { LastUsed } from '../../../protocols/messages/last-used.ts';

it('finds an entry until its time is over, and forgets it later', () => {
  const entries = new LastUsed({ keepMs: 1600, entriesMax: 10 });
  entries.put('a', { keepUntilMs: 1600 });
  entries.forgetOld(1599);
  expect(entries.get('a', 1599)).toEqual({ keepUntilMs: 1600 });
  expect(entries.get('a', 1600)).toBeUndefined();
  entries.forgetOld(1698);
  expect(entries.size).toBe(1);
  entries.forgetOld(1699);
  expect(entries.size).toBe(0);
});

it('keeps the bound, and what was used last', () => {
  const entries = new LastUsed({ keepMs: 1000, entriesMax: 32 });
  for (let index = 0; index < 1000; index += 1) {
    entries.forgetOld(0);
    entries.put('first', { keepUntilMs: 1000 });
    entries.put(`${index}`, { keepUntilMs: 1000 });
    expect(entries.size).toBeLessThanOrEqual(34);
  }
  expect(entries.size).toBeGreaterThanOrEqual(30);
  expect(entries.get('first', 0)).toBeDefined();
  expect(entries.get('999', 0)).toBeDefined();
  expect(entries.get('900', 0)).toBeUndefined();
});
