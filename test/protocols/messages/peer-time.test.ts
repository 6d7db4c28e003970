// Protects the one rule about deadlines on the bus: whatever the clocks show and however long each crossing takes,
// a deadline translated for the callee is never later than the true one, and close to it once one crossing was quick.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PeerTime } from '../../../protocols/messages/peer-time.ts';

const crossing = fc.record({
  /** Time between the callee's sending and our reading it. */
  delayMs: fc.double({ min: 0, max: 60_000, noNaN: true }),
  gapMs: fc.double({ min: 0, max: 600_000, noNaN: true }),
});

it('never translates a deadline to later than it is, with clocks apart and drifting', () => {
  fc.assert(
    fc.property(
      fc.double({ min: -1e9, max: 1e9, noNaN: true }),
      fc.double({ min: -0.0005, max: 0.0005, noNaN: true }),
      fc.array(crossing, { minLength: 1, maxLength: 30 }),
      fc.double({ min: 0, max: 600_000, noNaN: true }),
      (offsetMs, drift, crossings, laterMs) => {
        const callee = (ours: number): number => offsetMs + ours * (1 + drift);
        const peer = new PeerTime();
        let nowMs = 0;
        let bestDelayMs = Infinity;
        for (const { delayMs, gapMs } of crossings) {
          nowMs += gapMs + delayMs;
          peer.observe({ instance: 'i', sentAt: callee(nowMs - delayMs) }, nowMs);
          bestDelayMs = Math.min(bestDelayMs, delayMs);
        }
        const askedMs = nowMs + laterMs;
        const translated = peer.translate(askedMs, askedMs);
        const truth = callee(askedMs);
        expect(translated).toBeLessThanOrEqual(truth + 1e-3);
        // What is given away: the best crossing, and the drift that may have been since.
        expect(truth - translated).toBeLessThanOrEqual(
          bestDelayMs * 1.001 + askedMs * 0.0016 + 1e-3,
        );
      },
    ),
    { numRuns: 3000 },
  );
});

it('starts anew with another instance, whose clock has another origin', () => {
  const peer = new PeerTime();
  expect(peer.instance).toBeUndefined();
  peer.observe({ instance: 'first', sentAt: 1_000_000 }, 10);
  expect(peer.translate(10, 10)).toBeCloseTo(1_000_000);
  peer.observe({ instance: 'second', sentAt: 5 }, 20);
  expect(peer.instance).toBe('second');
  expect(peer.translate(20, 20)).toBeCloseTo(5);
});
