// The sending end of a stream: takes messages out of an async iterable as fast as the receiver has room for them.
// Invariants: at most one message is held that the receiver has no room for; after a stop nothing is written and
// the source is told to return, without waiting for a source that ignores it.

import type { NsmError } from '../errors.ts';
import { asNsmError } from '../errors.ts';

export interface Sink<Item> {
  /** Undefined where there is room now, else a promise of room. */
  room(): Promise<void> | undefined;
  write(item: Item): void;
  /** The source has ended, by itself or with an error. Not called after `stop`. */
  end(error: NsmError | undefined): void;
}

export interface Pump {
  stop(): void;
}

export function startPump<Item>(source: () => AsyncIterable<Item>, sink: Sink<Item>): Pump {
  let stopped = false;
  let iterator: AsyncIterator<Item> | undefined;
  const run = async (): Promise<void> => {
    try {
      iterator = source()[Symbol.asyncIterator]();
      while (!stopped) {
        const result = await iterator.next();
        if (stopped) return;
        if (result.done === true) break;
        const room = sink.room();
        if (room !== undefined) await room;
        if (stopped) return;
        sink.write(result.value);
      }
      if (stopped) return;
      stopped = true;
      sink.end(undefined);
    } catch (error) {
      if (stopped) return;
      stopped = true;
      leave(iterator);
      sink.end(asNsmError(error));
    }
  };
  void run();
  return {
    stop: () => {
      if (stopped) return;
      stopped = true;
      leave(iterator);
    },
  };
}

/** A bounded count of messages that may be written; the waiting pump is woken by `grant`. */
export class Room {
  #granted: number;
  #used = 0;
  #wake: (() => void) | undefined;

  constructor(granted: number) {
    this.#granted = granted;
  }

  get used(): number {
    return this.#used;
  }

  /** Raises the number of messages that may have been written in all; a lower number than before is ignored. */
  grant(total: number): void {
    if (total <= this.#granted) return;
    this.#granted = total;
    if (this.#used < total) this.#release();
  }

  wait(): Promise<void> | undefined {
    if (this.#used < this.#granted) return undefined;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  take(): number {
    this.#used += 1;
    return this.#used;
  }

  #release(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

function leave(iterator: AsyncIterator<unknown> | undefined): void {
  const returned = iterator?.return?.();
  // The source is no longer anybody's business; a failure while it leaves has no reader.
  returned?.then(undefined, () => {});
}
