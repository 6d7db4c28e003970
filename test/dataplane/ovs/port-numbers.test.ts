// Protects flows from packets of others: a port gets a number that nobody has or asks for, and not one that was free a
// moment ago.

import { describe, expect, test } from 'vitest';

import { PortNumbers } from '../../../dataplane/ovs/port-numbers.ts';

describe('numbers of ports', () => {
  test('those that somebody has or asks for are not free', () => {
    const numbers = new PortNumbers();
    numbers.set('first', [1, 3]);
    numbers.set('second', [3]);
    expect(numbers.free(3)).toEqual([2, 4, 5]);
    numbers.set('first', []);
    // The second still has 3.
    expect(new Set(numbers.free(65_278))).not.toContain(3);
  });

  test('one that has just become free is the last to be given again', () => {
    const numbers = new PortNumbers();
    const [given = 0] = numbers.free(1);
    numbers.set('port', [given]);
    numbers.set('port', []);
    const all = numbers.free(65_279);
    expect(all.at(-1)).toBe(given);
  });

  test('a switch that has none left says so', () => {
    const numbers = new PortNumbers();
    numbers.set(
      'all',
      Array.from({ length: 65_279 }, (_, index) => index + 1),
    );
    expect(() => numbers.free(1)).toThrow(expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }));
  });
});
