// Protects the order and the pace of repairs: at once at first, ever later for a wire that keeps being broken or cannot
// be repaired, one at a time per wire, a bounded number at once, and no memory for wires that are at peace.

import { beforeEach, describe, expect, it } from 'vitest';
import { type RepairOutcome, RepairQueue } from '../../../actors/forwarder/repair-queue.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';

let clock: ManualClock;
let outcome: RepairOutcome;
let times: number[];
let queue: RepairQueue;

beforeEach(() => {
  clock = createManualClock();
  outcome = 'repaired';
  times = [];
  queue = new RepairQueue({
    clock,
    random: seededRandom(1),
    repair: async () => {
      times.push(clock.nowMs());
      return outcome;
    },
  });
});

const gaps = () => times.map((each, index) => each - (times[index - 1] ?? 0));

describe('repairs', () => {
  it('gathers what happens together, and repairs once, within some milliseconds', async () => {
    for (let event = 0; event < 10; event += 1) queue.add('a');
    await clock.advance(1_000);
    expect(times).toEqual([5]);
  });

  it('waits ever longer while a repair fails, at most half a minute, and starts anew then', async () => {
    outcome = 'failed';
    queue.add('a');
    await clock.advance(300_000);
    const [first, ...later] = gaps();
    expect(first).toBe(5);
    for (const [index, gap] of later.entries()) {
      const full = Math.min(30_000, 100 * 2 ** index);
      expect(gap).toBeGreaterThanOrEqual(full / 2);
      expect(gap).toBeLessThanOrEqual(full);
    }
    expect(times.length).toBeLessThan(40);
    outcome = 'repaired';
    await clock.advance(31_000);
    const count = times.length;
    await clock.advance(300_000);
    expect(times).toHaveLength(count);
    queue.add('a');
    await clock.advance(5);
    expect(times).toHaveLength(count + 1);
  });

  it('slows down where somebody keeps breaking the wire, and forgives after a while', async () => {
    for (let deed = 0; deed < 600; deed += 1) {
      queue.add('a');
      await clock.advance(100);
    }
    expect(times.slice(0, 3)).toEqual([5, 105, 205]);
    expect(times.length).toBeLessThan(15);
    await clock.advance(120_000);
    const count = times.length;
    queue.add('a');
    await clock.advance(5);
    expect(times).toHaveLength(count + 1);
  });

  it('comes at once each time where a wire is broken now and then', async () => {
    for (let deed = 0; deed < 20; deed += 1) {
      queue.add('a');
      await clock.advance(6_000);
    }
    expect(times).toEqual(Array.from({ length: 20 }, (_, deed) => 5 + 6_000 * deed));
  });

  it('repairs again what is harmed while it is being repaired', async () => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    let runs = 0;
    const slow = new RepairQueue({
      clock,
      random: seededRandom(1),
      repair: async () => {
        runs += 1;
        await held;
        return 'repaired';
      },
    });
    slow.add('a');
    await clock.advance(5);
    slow.add('a');
    await clock.advance(1_000);
    expect(runs).toBe(1);
    release();
    await clock.advance(5);
    expect(runs).toBe(2);
    slow.close();
  });

  it('repairs many wires, a bounded number at the same time', async () => {
    let atWork = 0;
    let most = 0;
    const many = new RepairQueue({
      clock,
      random: seededRandom(1),
      repair: async () => {
        atWork += 1;
        most = Math.max(most, atWork);
        await new Promise<void>((resolve) => clock.after(1, resolve));
        atWork -= 1;
        return 'repaired';
      },
    });
    for (let number = 0; number < 200; number += 1) many.add(`w${number}`);
    await clock.advance(100);
    expect(atWork).toBe(0);
    expect(most).toBe(32);
    expect(many.size).toBe(200);
    await clock.advance(60_000);
    many.prune();
    expect(many.size).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each(['whole', 'gone'] as const)('keeps nothing of a wire that is %s', async (found) => {
    outcome = found;
    queue.add('a');
    await clock.advance(5);
    expect(queue.size).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('ends with its owner', async () => {
    outcome = 'failed';
    queue.add('a');
    queue.add('b');
    await clock.advance(5);
    queue.close();
    queue.add('c');
    await clock.advance(300_000);
    expect(times).toHaveLength(2);
    expect(clock.pendingTimers).toBe(0);
  });
});
