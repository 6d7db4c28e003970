// The real clocks of a process. Monotonic time comes from the performance timer, so a step of the wall clock
// never moves it; the wall clock is the operating system's.

import { performance } from 'node:perf_hooks';
import type { Clock, Timer, WallClock } from '../../protocols/ports/clock.ts';

/** Node fires a timer of more than 2^31-1 ms at once, so a longer wait is made of steps of at most this. */
const timeoutMsMax = 2 ** 31 - 1;

/** Added so that times in a journal mean the same to the next process of this boot (CLOCK_MONOTONIC counts from boot). */
const startedMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();

export const systemClock: Clock = {
  nowMs: () => startedMs + performance.now(),
  after: (delayMs, callback) => new SystemTimer(delayMs, callback),
};

export const systemWallClock: WallClock = { epochMs: () => Date.now() };

/** As small as can be: every connection of a process keeps one for as long as it lives. */
class SystemTimer implements Timer {
  #handle: NodeJS.Timeout;

  constructor(delayMs: number, callback: () => void) {
    this.#handle =
      delayMs <= timeoutMsMax
        ? setTimeout(callback, Math.max(0, delayMs))
        : this.#step(delayMs, callback);
  }

  cancel(): void {
    clearTimeout(this.#handle);
  }

  #step(remainingMs: number, callback: () => void): NodeJS.Timeout {
    const stepMs = Math.min(remainingMs, timeoutMsMax);
    return setTimeout(() => {
      if (remainingMs > stepMs) this.#handle = this.#step(remainingMs - stepMs, callback);
      else callback();
    }, stepMs);
  }
}
