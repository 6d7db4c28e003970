// Protects the drain from the levels above it: a supervisor waits longer than its child may take by the child's own
// limit, and the parts of one role share one time instead of getting all of it each.

import { describe, expect, it } from 'vitest';
import * as times from '../../../bin/roles/stop-times.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

describe('times to stop', () => {
  it('grow from the inside to the outside', () => {
    const inside = times.unregisterStopMs + times.roleStopMs + times.platformStopMs;
    expect(times.processStopMs).toBeGreaterThan(inside);
    expect(times.childGraceMs).toBeGreaterThan(times.processStopMs);
    const children = 2 * times.childGraceMs + times.platformStopMs;
    expect(times.nodeStopMs).toBeGreaterThan(children);
    expect(times.nodeGraceMs).toBeGreaterThan(times.nodeStopMs);
    const parts = times.nodeGraceMs + times.childGraceMs + times.busGraceMs;
    expect(times.upStopMs).toBeGreaterThan(parts);
    expect(times.upStopMs).toBeGreaterThan(3 * times.roleStopMs + times.platformStopMs);
  });

  it('are shared by what is done one after the other', async () => {
    const clock = createManualClock();
    const left = times.timeLeft(clock, 1_000);
    await clock.advance(400);
    expect(left()).toBe(600);
    await clock.advance(5_000);
    expect(left()).toBe(1);
  });
});
