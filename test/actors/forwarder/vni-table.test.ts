// Protects the one table of VNIs of a forwarder: a VNI has one holder, and a connection holds one VNI.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createVniTable } from '../../../actors/forwarder/vni-table.ts';

describe('the VNI table', () => {
  it('refuses a VNI that another connection holds, and says who holds it', () => {
    const table = createVniTable();
    table.take('c-1', 7);
    table.take('c-1', 7);
    expect(() => table.take('c-2', 7)).toThrow(
      expect.objectContaining({
        code: 'ALREADY_EXISTS',
        details: expect.objectContaining({ rule: 'vni', found: 'held by connection c-1' }),
      }),
    );
    table.release('c-1');
    table.take('c-2', 7);
    expect(table.of('c-2')).toBe(7);
  });

  it('gives back what a connection held before when it takes another', () => {
    const table = createVniTable();
    table.take('c-1', 7);
    table.take('c-1', 8);
    expect([table.isTaken(7), table.isTaken(8), table.of('c-1')]).toEqual([false, true, 8]);
  });

  it('knows of each VNI exactly who holds it, after any takes and releases', () => {
    const step = fc.record({
      id: fc.constantFrom('a', 'b', 'c'),
      vni: fc.integer({ min: 1, max: 4 }),
      isRelease: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const table = createVniTable();
        const held = new Map<string, number>();
        for (const { id, vni, isRelease } of steps) {
          const isFree = [...held].every(([other, each]) => other === id || each !== vni);
          if (isRelease) {
            table.release(id);
            held.delete(id);
          } else if (isFree) {
            table.take(id, vni);
            held.set(id, vni);
          } else {
            expect(() => table.take(id, vni)).toThrow();
          }
        }
        for (const id of ['a', 'b', 'c']) expect(table.of(id)).toBe(held.get(id));
        for (const vni of [1, 2, 3, 4]) {
          expect(table.isTaken(vni)).toBe([...held.values()].includes(vni));
        }
      }),
    );
  });
});
