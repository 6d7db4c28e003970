// Connections and calls that a listener turned away: told to whoever keeps account of them, and lines of the log, each
// one while they are few, a number where somebody keeps knocking.

import { describeError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { OnRefused, Refusal } from '../../protocols/ports/refusal.ts';

/** Lines within a window; what comes beyond is told as a number when it ends. */
const linesMax = 20;
const windowMs = 10_000;

export interface RefusalLogSetup {
  readonly clock: Clock;
  readonly log: Log;
  readonly url: string;
  /** Told of each one, besides the log. */
  readonly onRefused?: OnRefused | undefined;
}

export class RefusalLog {
  readonly #setup: RefusalLogSetup;
  #lines = 0;
  #more = 0;
  #window: Timer | undefined;
  #isClosed = false;

  constructor(setup: RefusalLogSetup) {
    this.#setup = setup;
  }

  write(refusal: Refusal): void {
    const { clock, log, url, onRefused } = this.#setup;
    if (this.#isClosed) return;
    onRefused?.(refusal);
    this.#window ??= clock.after(windowMs, () => this.#endWindow());
    if (this.#lines < linesMax) {
      this.#lines += 1;
      const { error, ...who } = refusal;
      const what = refusal.operation === undefined ? 'a connection' : 'a call';
      log.warn(`refused ${what}`, { url, ...who, error: describeError(error) });
    } else this.#more += 1;
  }

  /** Says what was only counted so far, and nothing more. */
  close(): void {
    this.#isClosed = true;
    this.#endWindow();
  }

  #endWindow(): void {
    const { log, url } = this.#setup;
    this.#window?.cancel();
    this.#window = undefined;
    if (this.#more > 0) log.warn('refused more', { url, connectionsAndCalls: this.#more });
    this.#lines = 0;
    this.#more = 0;
  }
}
