// The queue of an actor. Most actors have one message waiting at most, so the oldest one has a slot of its own and
// the ring is made only for what comes behind it. It is a base class to spare an object per actor.
// Invariant: what is in the slot is older than everything in the ring.

import { noMessage } from './notice.ts';
import { Ring } from './ring.ts';

/** A ring that a burst has made larger is given back once it is empty. */
const keptCapacity = 64;

export class Mailbox {
  private slot: unknown;
  private ring: Ring<unknown> | undefined;

  constructor() {
    this.slot = noMessage;
    this.ring = undefined;
  }

  get depth(): number {
    return (this.slot === noMessage ? 0 : 1) + (this.ring === undefined ? 0 : this.ring.size);
  }

  get isEmpty(): boolean {
    return this.slot === noMessage && (this.ring === undefined || this.ring.size === 0);
  }

  pushLast(message: unknown): void {
    if (this.isEmpty) this.slot = message;
    else (this.ring ??= new Ring()).push(message);
  }

  pushFirst(message: unknown): void {
    if (this.slot !== noMessage) (this.ring ??= new Ring()).unshift(this.slot);
    this.slot = message;
  }

  /** Takes the oldest message, or `noMessage`. */
  takeFirst(): unknown {
    const { slot, ring } = this;
    if (slot !== noMessage) {
      this.slot = noMessage;
      return slot;
    }
    return ring === undefined || ring.size === 0 ? noMessage : ring.shift();
  }

  protected giveBackRing(): void {
    if (this.ring !== undefined && this.ring.capacity > keptCapacity) this.ring = undefined;
  }
}
