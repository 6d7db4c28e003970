// Protects the end of registrations: any run of set, delete and time equals a plain table of deadlines, and the
// heap does not grow with refreshes.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpiryHeap } from '../../../protocols/registry/expiry-heap.ts';

describe('the expiry heap', () => {
  it('equals a table of deadlines', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), name, inMs: fc.nat(100) }),
      fc.record({ kind: fc.constant('delete' as const), name }),
      fc.record({ kind: fc.constant('wait' as const), byMs: fc.nat(60) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = new ExpiryHeap();
        const model = new Map<string, number>();
        let nowMs = 0;
        for (const action of steps) {
          if (action.kind === 'set') {
            heap.set(action.name, nowMs + action.inMs);
            model.set(action.name, nowMs + action.inMs);
          } else if (action.kind === 'delete') {
            heap.delete(action.name);
            model.delete(action.name);
          } else {
            nowMs += action.byMs;
            const due = [...model].filter(([, atMs]) => atMs <= nowMs).map(([each]) => each);
            for (const each of due) model.delete(each);
            expect([...heap.takeDue(nowMs, 1_000)].toSorted()).toEqual(due.toSorted());
          }
          expect(heap.size).toBe(model.size);
          expect(heap.nextMs()).toBeLessThanOrEqual(Math.min(...model.values(), Infinity));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('takes in deadline order, a bounded number at a time', () => {
    const heap = new ExpiryHeap();
    for (const atMs of [5, 3, 9, 1, 7]) heap.set(`at${atMs}`, atMs);
    expect(heap.takeDue(8, 2)).toEqual(['at1', 'at3']);
    expect(heap.takeDue(8, 9)).toEqual(['at5', 'at7']);
    expect(heap.nextMs()).toBe(9);
  });

  it('holds one node per entry however often it is refreshed, and lets go of what came and went', () => {
    const heap = new ExpiryHeap();
    for (let round = 0; round < 1_000; round += 1) heap.set('busy', 60_000 + round);
    expect(heap.nodeCount).toBe(1);
    for (let index = 0; index < 10_000; index += 1) {
      heap.set(`n${index}`, 60_000);
      heap.delete(`n${index}`);
    }
    expect(heap.nodeCount).toBeLessThan(100);
  });
});
