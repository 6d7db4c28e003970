// The actor of one connection and those who wait for its answers. Invariant: an actor that is over goes only when
// nobody waits, since a message of theirs may still stand in its queue.

import type { ActorRef, ActorSystem, AskOptions, ReplyTo } from '../runtime/api.ts';
import type { ConnectionMessage } from './connection.ts';

export class LiveConnection {
  readonly ref: ActorRef<ConnectionMessage>;
  readonly #system: ActorSystem;
  #asks = 0;
  #isOver = false;

  constructor(system: ActorSystem, ref: ActorRef<ConnectionMessage>) {
    this.#system = system;
    this.ref = ref;
  }

  /** Asked by an actor that is over; after a false one `retire` follows. */
  mayEnd(): boolean {
    this.#isOver = this.#asks > 0;
    return !this.#isOver;
  }

  async ask<Reply>(
    build: (replyTo: ReplyTo<Reply>) => ConnectionMessage,
    options: AskOptions,
  ): Promise<Reply> {
    this.#asks += 1;
    try {
      return await this.#system.ask<ConnectionMessage, Reply>(this.ref, build, options);
    } finally {
      this.#asks -= 1;
      if (this.#isOver && this.#asks === 0) {
        this.#isOver = false;
        this.ref.tell({ type: 'retire' });
      }
    }
  }
}
