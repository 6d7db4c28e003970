// Deadlines of asks: many, nearly all cancelled. Those of one duration fall due in the order in which they were
// set, so each duration needs a linked list and one timer for its head, not a timer per ask.
// Invariant: a timer is armed on the clock exactly while its list holds something.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';

/** Something with a deadline; the links belong to `Deadlines`. */
export abstract class Due {
  dueAtMs = 0;
  before: Due | undefined = undefined;
  after: Due | undefined = undefined;
  list: DueList | undefined = undefined;
  abstract expire(): void;
}

export class Deadlines {
  private readonly lists = new Map<number, DueList>();
  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  set(due: Due, delayMs: number): void {
    let list = this.lists.get(delayMs);
    if (list === undefined) {
      list = new DueList(this.clock, () => this.lists.delete(delayMs));
      this.lists.set(delayMs, list);
    }
    due.dueAtMs = this.clock.nowMs() + delayMs;
    list.append(due);
  }

  cancel(due: Due): void {
    due.list?.remove(due);
  }
}

class DueList {
  private head: Due | undefined;
  private tail: Due | undefined;
  private timer: Timer | undefined;
  private readonly clock: Clock;
  private readonly onEmpty: () => void;

  constructor(clock: Clock, onEmpty: () => void) {
    this.clock = clock;
    this.onEmpty = onEmpty;
  }

  append(due: Due): void {
    due.list = this;
    due.before = this.tail;
    if (this.tail === undefined) this.head = due;
    else this.tail.after = due;
    this.tail = due;
    this.timer ??= this.arm(due);
  }

  remove(due: Due): void {
    const { before, after } = due;
    if (before === undefined) this.head = after;
    else before.after = after;
    if (after === undefined) this.tail = before;
    else after.before = before;
    due.before = undefined;
    due.after = undefined;
    due.list = undefined;
    if (this.head !== undefined) return;
    this.timer?.cancel();
    this.timer = undefined;
    this.onEmpty();
  }

  private arm(due: Due): Timer {
    return this.clock.after(due.dueAtMs - this.clock.nowMs(), () => this.fire());
  }

  private fire(): void {
    this.timer = undefined;
    const nowMs = this.clock.nowMs();
    for (let due = this.head; due !== undefined && due.dueAtMs <= nowMs; due = this.head) {
      this.remove(due);
      due.expire();
    }
    if (this.head !== undefined) this.timer ??= this.arm(this.head);
  }
}
