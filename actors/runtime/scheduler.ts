// Hands ready actors to nact, and keeps asynchronous context from leaking between messages.
// A turn asked for by the teller would run, with everything that follows in its batch, in the teller's
// asynchronous context (trace, log). So tellers only put the actor on a list, and one loop, started with the system,
// asks for the turns: a continuation after `await` runs in the context of the loop, whoever woke it.

import { Ring } from './ring.ts';

/** Turns asked for at a time: what nact makes for a turn is then still young when the turn is over, cheap to collect. */
const outstandingMax = 512;

export interface Schedulable {
  requestTurn(): void;
}

export class Scheduler {
  private readonly ready = new Ring<Schedulable>();
  private wake: (() => void) | undefined;
  private isClosed = false;
  private readonly setWake = (resolve: () => void): void => {
    this.wake = resolve;
  };

  constructor() {
    void this.loop();
  }

  add(item: Schedulable): void {
    this.ready.push(item);
    const { wake } = this;
    if (wake === undefined) return;
    this.wake = undefined;
    wake();
  }

  close(): void {
    this.isClosed = true;
    this.wake?.();
  }

  private async loop(): Promise<void> {
    while (!this.isClosed) {
      if (this.ready.size === 0) await new Promise<void>(this.setWake);
      for (let asked = 0; asked < outstandingMax && this.ready.size > 0; asked += 1) {
        this.ready.shift().requestTurn();
      }
      if (this.ready.size > 0) await new Promise<void>(nextTurn);
    }
  }
}

/** Immediates run in order, so this one follows the turns asked for before it. */
function nextTurn(resolve: () => void): void {
  setImmediate(resolve);
}
