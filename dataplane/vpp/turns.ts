// So many slow calls at a time: VPP does what it has been asked before it answers any of it, and makes or deletes an
// interface over a link of the kernel in some ten milliseconds, in which it does nothing else. Asked for a hundred at once
// it would be silent for seconds, and taken for dead.
// Invariant: whoever waits longer than their budget allows is told, and takes no turn.

import { NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';

export class Turns {
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(clock: Clock, count: number) {
    this.#clock = clock;
    this.#free = count;
  }

  /** Runs the action in its turn, with what is left of the budget. Errors: DEADLINE_EXCEEDED, CANCELLED. */
  async take<Result>(budget: Budget, action: (left: Budget) => Promise<Result>): Promise<Result> {
    const startMs = this.#clock.nowMs();
    await this.#turn(budget);
    try {
      if (budget.signal?.aborted === true) throw givenUp('CANCELLED', 'the caller gave up');
      const timeoutMs = budget.timeoutMs - (this.#clock.nowMs() - startMs);
      return await action({ ...budget, timeoutMs });
    } finally {
      this.#free++;
      this.#waiting.shift()?.();
    }
  }

  #turn({ timeoutMs }: Budget): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const start = (): void => {
        timer.cancel();
        this.#free--;
        resolve();
      };
      const timer = this.#clock.after(timeoutMs, () => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        reject(givenUp('DEADLINE_EXCEEDED', `other wires' for ${timeoutMs} ms`));
      });
      this.#waiting.push(start);
    });
  }
}

const givenUp = (code: 'DEADLINE_EXCEEDED' | 'CANCELLED', found: string): NsmError =>
  new NsmError(code, 'VPP had other interfaces to make', {
    rule: 'turn',
    expected: 'a turn within the time of the call',
    found,
    remedy: 'ask for fewer wires at once, or give them more time',
  });
