// What the runtime itself puts into a mailbox: due timers, ends of watched actors, a child's escalation.
// Invariant: a notice is judged when it is taken, not when it was queued, so that a cancelled one never delivers.

import type { Terminated } from './api.ts';

/** Stands for "no message"; a message may be any other value, undefined included. */
export const noMessage: unique symbol = Symbol('no message');

export abstract class Notice {
  /** Goes ahead of the mailbox. */
  abstract readonly isUrgent: boolean;
  /** The message to deliver, or `noMessage` if it no longer applies. A throw is a crash of the taking actor. */
  abstract take(): unknown;
}

export class EscalationNotice extends Notice {
  readonly isUrgent = true;
  private readonly error: unknown;

  constructor(error: unknown) {
    super();
    this.error = error;
  }

  take(): never {
    throw this.error;
  }
}

/** Keeps its place among the messages that the ended actor had sent. */
export class TerminatedNotice extends Notice {
  readonly isUrgent = false;
  private readonly watch: Watch;
  private readonly event: Terminated;

  constructor(watch: Watch, event: Terminated) {
    super();
    this.watch = watch;
    this.event = event;
  }

  take(): unknown {
    if (!this.watch.isActive) return noMessage;
    this.watch.forget();
    return this.watch.onTerminated(this.event);
  }
}

/** An actor's interest in another's end. */
export interface Watch {
  isActive: boolean;
  onTerminated: (event: Terminated) => unknown;
  /** Nothing more is delivered. */
  cancel: () => void;
  /** It has been delivered. */
  forget: () => void;
}
