// Time that moves only when a test says so. `advance` fires what falls due in order of time, then of arming,
// and lets promises settle between two timers, so that a handler sees the time at which it was due.

import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';

export interface ManualClock extends Clock, WallClock {
  /** Moves both clocks on and fires every timer that falls due on the way. */
  advance(byMs: number): Promise<void>;
  /** Moves only the wall clock, as an administrator or NTP would. */
  stepWall(byMs: number): void;
  /** Timers that have neither fired nor been cancelled; 0 at the end of a test shows that nothing leaked. */
  readonly pendingTimers: number;
}

/** Lets everything that is ready run: promise callbacks and the macrotasks that they queue. */
export async function settle(turns = 16): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

export function createManualClock(epochMs = Date.UTC(2026, 0, 1)): ManualClock {
  let nowMs = 0;
  let wallOffsetMs = epochMs;
  let sequence = 0;
  const timers = new Map<number, { dueMs: number; callback: () => void }>();

  function nextDue(untilMs: number): number | undefined {
    let found: number | undefined;
    for (const [id, timer] of timers) {
      if (timer.dueMs > untilMs) continue;
      if (found === undefined || timer.dueMs < (timers.get(found)?.dueMs ?? 0)) found = id;
    }
    return found;
  }

  return {
    nowMs: () => nowMs,
    epochMs: () => wallOffsetMs + nowMs,
    after(delayMs: number, callback: () => void): Timer {
      const id = ++sequence;
      timers.set(id, { dueMs: nowMs + Math.max(0, delayMs), callback });
      return { cancel: () => void timers.delete(id) };
    },
    async advance(byMs: number): Promise<void> {
      const untilMs = nowMs + byMs;
      await settle();
      for (let id = nextDue(untilMs); id !== undefined; id = nextDue(untilMs)) {
        const timer = timers.get(id);
        timers.delete(id);
        nowMs = Math.max(nowMs, timer?.dueMs ?? nowMs);
        timer?.callback();
        await settle();
      }
      nowMs = untilMs;
      await settle();
    },
    stepWall: (byMs) => void (wallOffsetMs += byMs),
    get pendingTimers() {
      return timers.size;
    },
  };
}
