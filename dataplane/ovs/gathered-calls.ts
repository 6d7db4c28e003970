// What several wires ask of the switch at the same time goes to it as one: what comes in one moment at once, and what
// comes while that is under way together after it, since each answer of the switch costs it a turn of its main loop.
// Invariants: in the order of asking; whoever is refused is refused alone; nobody waits longer than they allow.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';

export interface GatheredCallsOptions<Part, Answer> {
  readonly clock: Clock;
  /** For errors: one of the calls. */
  readonly what: string;
  /** Where some are refused they are sent again, each caller's alone: all or none happens, or twice is as once. */
  readonly send: (parts: readonly Part[], budget: Budget) => Promise<Answer>;
  /** Parts in one call; those of one caller are never split. */
  readonly partsMax: number;
  /** What the next call waits for beside the answer; never fails. */
  readonly digested?: (answer: Answer) => Promise<void>;
}

interface Asked<Part, Answer> {
  readonly parts: readonly Part[];
  readonly budget: Budget;
  readonly deadlineMs: number;
  /** Of whoever waits for others or with them; who is sent alone leaves that to `send`. */
  timer: Timer | undefined;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** After these nobody knows whether it has happened. */
const uncertain = ['DEADLINE_EXCEEDED', 'CANCELLED', 'UNAVAILABLE'];

export class GatheredCalls<Part, Answer> {
  readonly #options: GatheredCallsOptions<Part, Answer>;
  #waiting: Asked<Part, Answer>[] = [];
  #isSending = false;

  constructor(options: GatheredCallsOptions<Part, Answer>) {
    this.#options = options;
  }

  /** Errors: those of `send`, DEADLINE_EXCEEDED, CANCELLED. */
  ask(parts: readonly Part[], budget: Budget): Promise<Answer> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const asked: Asked<Part, Answer> = {
        parts,
        budget,
        deadlineMs: clock.nowMs() + budget.timeoutMs,
        timer: undefined,
        resolve(answer) {
          asked.timer?.cancel();
          resolve(answer);
        },
        reject(error) {
          asked.timer?.cancel();
          reject(error);
        },
      };
      this.#waiting.push(asked);
      if (this.#isSending) this.#watch(asked);
      else void this.#sendAll();
    });
  }

  #watch(asked: Asked<Part, Answer>): void {
    const { clock } = this.#options;
    const { budget, deadlineMs, reject } = asked;
    asked.timer ??= clock.after(deadlineMs - clock.nowMs(), () => {
      const isWaiting = this.#waiting.includes(asked);
      this.#waiting = this.#waiting.filter((each) => each !== asked);
      const found = isWaiting ? 'not sent' : 'sent, so that it may have happened';
      reject(this.#gaveUp('DEADLINE_EXCEEDED', found, budget));
    });
  }

  async #sendAll(): Promise<void> {
    this.#isSending = true;
    // Operations that began together get here one after the other, before anything else happens.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#send(this.#nextGroup());
    this.#isSending = false;
  }

  #nextGroup(): Asked<Part, Answer>[] {
    const group: Asked<Part, Answer>[] = [];
    let size = 0;
    for (const asked of this.#waiting) {
      size += asked.parts.length;
      if (group.length > 0 && size > this.#options.partsMax) break;
      group.push(asked);
    }
    this.#waiting.splice(0, group.length);
    return group.filter(({ budget, reject }) => {
      if (budget.signal?.aborted !== true) return true;
      reject(this.#gaveUp('CANCELLED', 'not sent', budget));
      return false;
    });
  }

  async #send(group: readonly Asked<Part, Answer>[]): Promise<void> {
    const [only, ...others] = group;
    if (only === undefined) return;
    const isAlone = others.length === 0;
    const lastMs = isAlone ? only.deadlineMs : Math.max(...group.map((each) => each.deadlineMs));
    const timeoutMs = lastMs - this.#options.clock.nowMs();
    if (!isAlone) this.#watch(only);
    // Where one of several gives up, the others go on.
    const budget = isAlone ? { ...only.budget, timeoutMs } : { timeoutMs };
    const parts = isAlone ? only.parts : group.flatMap((each) => each.parts);
    try {
      const answer = await this.#options.send(parts, budget);
      for (const { resolve } of group) resolve(answer);
      await this.#options.digested?.(answer);
    } catch (error) {
      if (isAlone || uncertain.includes(asNsmError(error).code)) {
        for (const { reject } of group) reject(error);
        return;
      }
      for (const asked of group) await this.#send([asked]);
    }
  }

  #gaveUp(code: 'DEADLINE_EXCEEDED' | 'CANCELLED', found: string, { timeoutMs }: Budget): NsmError {
    return new NsmError(code, `${this.#options.what} was given up`, {
      rule: 'ovs-vswitchd',
      expected: `an answer within ${timeoutMs} ms`,
      found,
      remedy: 'see whether ovs-vswitchd and ovsdb-server run',
    });
  }
}
