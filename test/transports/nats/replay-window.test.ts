// Protects messages against being heard twice: whatever the order and the gaps of the counts that come, each is taken once,
// and none that is further behind than the window. The model remembers every count.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ReplayWindow, windowSize } from '../../../transports/nats/replay-window.ts';

const step = fc.oneof(
  fc.integer({ min: -2 * windowSize, max: 64 }),
  fc.integer({ min: 1, max: 3 * windowSize }),
  fc.constantFrom(-windowSize, 1 - windowSize, -1, 0, 1, 31, 32, windowSize, windowSize + 32, 1e12),
);

it('takes each count once, and none behind the window', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const window = new ReplayWindow();
      const taken = new Set<number>();
      let highest = 0;
      for (const offset of steps) {
        const count = Math.max(1, highest + offset);
        const isTaken = taken.has(count) || count <= highest - windowSize;
        expect(window.isTaken(count)).toBe(isTaken);
        if (isTaken) continue;
        window.take(count);
        taken.add(count);
        highest = Math.max(highest, count);
      }
    }),
    { numRuns: 500 },
  );
});

it('opens a row of every message, whatever overtook what', () => {
  const window = new ReplayWindow();
  const counts = Array.from({ length: 5000 }, (_, index) => index + 1);
  // Each 700 in reverse: none is passed by more than the window holds.
  for (let start = 0; start < counts.length; start += 700) {
    for (const count of counts.slice(start, start + 700).reverse()) {
      expect(window.isTaken(count)).toBe(false);
      window.take(count);
    }
  }
  expect(counts.every((count) => window.isTaken(count))).toBe(true);
});
