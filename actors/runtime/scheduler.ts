// Hands ready actors to nact, and keeps asynchronous context from leaking between messages.
// A turn asked for by the teller would run, with everything that follows in its batch, in the teller's
// asynchronous context (trace, log). So tellers only put the actor on a list, and one loop, started with the system, asks
// for the turns: a continuation after `await` runs in the context of the loop, whoever woke it.

export interface Schedulable {
  requestTurn(): void;
}

export class Scheduler {
  private ready: Schedulable[] = [];
  private spare: Schedulable[] = [];
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
      if (this.ready.length === 0) await new Promise<void>(this.setWake);
      const batch = this.ready;
      this.ready = this.spare;
      for (const item of batch) item.requestTurn();
      batch.length = 0;
      this.spare = batch;
    }
  }
}
