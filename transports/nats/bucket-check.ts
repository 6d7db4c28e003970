// Whether a KV bucket is still what a watch of it began with. A watch on a stream that was deleted or emptied by somebody
// hears nothing and does not end, so the bucket itself has to be asked from time to time.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';

/** What the server says of the stream. */
export interface BucketState {
  /** Of the stream: another one means that it was made anew. */
  readonly created: string;
  readonly messages: number;
  readonly lastSequence: number;
}

export interface Expected {
  readonly created: string | undefined;
  readonly lastSequence: number;
  /** Keys that have a value, each of which is one message at least. */
  readonly liveKeys: number;
}

/** Why the bucket has to be read anew; undefined where it is what it was. */
export function lossOf(state: BucketState | undefined, expected: Expected): string | undefined {
  if (state === undefined) return 'it was deleted';
  if (state.created !== expected.created) return 'it was made anew';
  // What the watch has not heard of yet would be counted wrongly.
  if (state.lastSequence !== expected.lastSequence) return undefined;
  return state.messages < expected.liveKeys ? 'entries were taken out of it' : undefined;
}

/** Calls `look` every now and then, one at a time, and at once when asked. */
export class Checks {
  readonly #clock: Clock;
  readonly #everyMs: number;
  readonly #look: () => Promise<void>;
  #timer: Timer | undefined;
  #isLooking = false;
  #isStopped = false;

  constructor(clock: Clock, everyMs: number, look: () => Promise<void>) {
    this.#clock = clock;
    this.#everyMs = everyMs;
    this.#look = look;
    this.#arm(everyMs);
  }

  soon(): void {
    if (!this.#isLooking) this.#arm(0);
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #arm(afterMs: number): void {
    if (this.#isStopped) return;
    this.#timer?.cancel();
    this.#timer = this.#clock.after(afterMs, () => {
      this.#isLooking = true;
      void this.#look().finally(() => {
        this.#isLooking = false;
        this.#arm(this.#everyMs);
      });
    });
  }
}
