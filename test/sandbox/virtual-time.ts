// Virtual time that is fast: timers in a heap, and a queue in place of `setImmediate`, so that after each event exactly
// as many turns are made as there is work. Between two events all promise callbacks have run: one real turn of the
// event loop drains them, and a second one is needed only where an immediate was asked for meanwhile.
// Invariant: while it is installed, a real timer, clock or random number in simulated code is an error.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';

interface Armed {
  readonly dueMs: number;
  readonly order: number;
  /** Undefined once it has fired or was cancelled. */
  callback: (() => void) | undefined;
}

interface Immediate {
  callback: (() => void) | undefined;
}

/**
 * Times are whole parts of a millisecond that a double holds exactly: otherwise a sum of times may lie a rounding error
 * before the moment that a timer was armed for, and whoever arms it again for the rest would never get there.
 */
const grid = 1024;
/** Turns without a timer between them: beyond, somebody goes round for ever. */
const turnsMax = 1_000_000;

const realSetImmediate = globalThis.setImmediate;

export class VirtualTime implements Clock {
  #nowMs = 0;
  #order = 0;
  #pending = 0;
  readonly #heap: Armed[] = [];
  readonly #immediates: Immediate[] = [];
  /** Events that have fired. */
  events = 0;

  nowMs(): number {
    return this.#nowMs;
  }

  get pendingTimers(): number {
    return this.#pending;
  }

  after(delayMs: number, callback: () => void): Timer {
    this.#order += 1;
    const armed: Armed = {
      dueMs: Math.ceil((this.#nowMs + Math.max(0, delayMs)) * grid) / grid,
      order: this.#order,
      callback,
    };
    this.#pending += 1;
    push(this.#heap, armed);
    return {
      cancel: () => {
        if (armed.callback === undefined) return;
        armed.callback = undefined;
        this.#pending -= 1;
      },
    };
  }

  /** Fires what falls due, in order of time, then of arming, until `untilMs` or until `isOver` says so. */
  async advanceTo(untilMs: number, isOver: () => boolean = () => false): Promise<void> {
    await this.settle();
    while (!isOver()) {
      const armed = this.#heap[0];
      if (armed === undefined || armed.dueMs > untilMs) break;
      pop(this.#heap);
      const { callback } = armed;
      if (callback === undefined) continue;
      armed.callback = undefined;
      this.#pending -= 1;
      this.#nowMs = Math.max(this.#nowMs, armed.dueMs);
      this.events += 1;
      callback();
      await this.settle();
    }
    if (!isOver()) this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Resolves when no promise callback and no immediate is left to run. */
  async settle(): Promise<void> {
    await realTurn();
    for (let turns = 0; this.#immediates.length > 0; turns += 1) {
      if (turns > turnsMax) throw new Error('immediates go round without an end');
      for (const each of this.#immediates.splice(0)) {
        const { callback } = each;
        each.callback = undefined;
        callback?.();
      }
      await realTurn();
    }
  }

  /** Takes the place of the process's immediates, and forbids its timers, clocks and dice; returns how to give back. */
  install(onReal: (what: string) => void): () => void {
    const { setImmediate, clearImmediate, setTimeout, setInterval } = globalThis;
    const { now } = Date;
    const { random } = Math;
    const refuse =
      <Args extends unknown[], Result>(what: string, real: (...args: Args) => Result) =>
      (...args: Args): Result => {
        onReal(what);
        return real(...args);
      };
    Object.assign(globalThis, {
      setImmediate: (callback: (...args: unknown[]) => void, ...args: unknown[]): Immediate => {
        const immediate: Immediate = { callback: () => callback(...args) };
        this.#immediates.push(immediate);
        return immediate;
      },
      clearImmediate: (immediate: Immediate | undefined): void => {
        if (immediate !== undefined) immediate.callback = undefined;
      },
      setTimeout: refuse('setTimeout', setTimeout),
      setInterval: refuse('setInterval', setInterval),
    });
    Date.now = refuse('Date.now', now);
    Math.random = refuse('Math.random', random);
    return () => {
      Object.assign(globalThis, { setImmediate, clearImmediate, setTimeout, setInterval });
      Date.now = now;
      Math.random = random;
    };
  }
}

function realTurn(): Promise<void> {
  return new Promise((resolve) => realSetImmediate(resolve));
}

function isBefore(left: Armed, right: Armed): boolean {
  return left.dueMs < right.dueMs || (left.dueMs === right.dueMs && left.order < right.order);
}

function push(heap: Armed[], item: Armed): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above] as Armed;
    if (!isBefore(item, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = item;
}

/** Takes the first out of a heap that is not empty. */
function pop(heap: Armed[]): void {
  const item = heap.pop() as Armed;
  const { length } = heap;
  if (length === 0) return;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= length) break;
    const right = heap[below + 1];
    if (right !== undefined && isBefore(right, heap[below] as Armed)) below += 1;
    const child = heap[below] as Armed;
    if (!isBefore(child, item)) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = item;
}
