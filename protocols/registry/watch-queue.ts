// What one watcher of a Find has still to be told: first the entries that matched when it came, then changes.
// NSM concept: Find with watch=true. Invariants: per name only the newest change waits, so a slow watcher costs at most one event per
// entry; past the bound it is ended with RESOURCE_EXHAUSTED and resyncs; it never holds anybody else up.

import { NsmError } from '../errors.ts';

export interface WatchEvent<Value> {
  readonly value: Value;
  readonly deleted: boolean;
}

interface Named {
  readonly name: string;
}

export class WatchQueue<Value extends Named> implements AsyncIterable<WatchEvent<Value>> {
  #initial: readonly Value[] = [];
  #initialAt = 0;
  #changes = new Map<string, WatchEvent<Value>>();
  #changesMax: number;
  #wake: (() => void) | undefined;
  #endedWith: NsmError | 'done' | undefined;

  /** `changesMax` bounds the changes that wait; the entries that matched at first do not count. */
  constructor(changesMax: number) {
    this.#changesMax = changesMax;
  }

  get isEnded(): boolean {
    return this.#endedWith !== undefined;
  }

  /** The entries that match now. Called once, before the first change. */
  start(initial: readonly Value[]): void {
    this.#initial = initial;
    this.#notify();
  }

  /** Returns false where the watcher was too slow and has been ended. */
  push(event: WatchEvent<Value>): boolean {
    if (this.#endedWith !== undefined) return false;
    // Deleted first, so that the newest change of a name is told in the order of the newest changes.
    this.#changes.delete(event.value.name);
    if (this.#changes.size >= this.#changesMax) {
      this.end(
        new NsmError('RESOURCE_EXHAUSTED', 'the watcher did not keep up', {
          rule: 'registry-watch-queue',
          expected: `at most ${this.#changesMax} changed entries waiting`,
          remedy: 'open the watch again: it begins with the current entries',
        }),
      );
      return false;
    }
    this.#changes.set(event.value.name, event);
    this.#notify();
    return true;
  }

  /** Ends the watch; with an error what still waits is dropped, since the watcher starts over anyway. */
  end(error?: NsmError): void {
    if (this.#endedWith !== undefined) return;
    this.#endedWith = error ?? 'done';
    if (error !== undefined) {
      this.#initial = [];
      this.#changes.clear();
    }
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent<Value>, void, undefined> {
    for (;;) {
      const event = this.#take();
      if (event !== undefined) {
        yield event;
      } else if (this.#endedWith === undefined) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      } else if (this.#endedWith === 'done') {
        return;
      } else {
        throw this.#endedWith;
      }
    }
  }

  #take(): WatchEvent<Value> | undefined {
    while (this.#initialAt < this.#initial.length) {
      const value = this.#initial[this.#initialAt];
      this.#initialAt += 1;
      // A newer state of the same entry waits already.
      if (value === undefined || this.#changes.has(value.name)) continue;
      return { value, deleted: false };
    }
    this.#initial = [];
    this.#initialAt = 0;
    const next = this.#changes.entries().next();
    if (next.done === true) return undefined;
    this.#changes.delete(next.value[0]);
    return next.value[1];
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
