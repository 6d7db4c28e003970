// A clock that the test moves: timers fire in order of their time, and nothing happens between.

import type { Clock, Timer } from '../../../protocols/ports/clock.ts';
import { turns } from './turns.ts';

interface Armed {
  readonly atMs: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  private now = 0;
  private readonly armed = new Set<Armed>();

  get armedCount(): number {
    return this.armed.size;
  }

  nowMs(): number {
    return this.now;
  }

  after(delayMs: number, callback: () => void): Timer {
    const armed = { atMs: this.now + delayMs, callback };
    this.armed.add(armed);
    return { cancel: () => void this.armed.delete(armed) };
  }

  /** Moves time on, letting actors work before and after each timer. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.now + byMs;
    await turns();
    for (let next = this.first(untilMs); next !== undefined; next = this.first(untilMs)) {
      this.armed.delete(next);
      this.now = Math.max(this.now, next.atMs);
      next.callback();
      await turns();
    }
    this.now = untilMs;
  }

  private first(untilMs: number): Armed | undefined {
    let first: Armed | undefined;
    for (const armed of this.armed) {
      if (armed.atMs <= untilMs && (first === undefined || armed.atMs < first.atMs)) first = armed;
    }
    return first;
  }
}
