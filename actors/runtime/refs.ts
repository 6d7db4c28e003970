// References to actors of this process. A reference points at one life of an actor, never at whoever has its
// name now; its address is made only when somebody asks.

import type { ActorAddress, ActorRef } from './api.ts';
import type { Cell } from './cell.ts';

export class LocalRef<Message> implements ActorRef<Message> {
  /** Internal to the runtime. */
  declare readonly cell: Cell;

  constructor(cell: Cell) {
    this.cell = cell;
  }

  get address(): ActorAddress {
    return this.cell.address;
  }

  tell(message: Message): void {
    const { cell } = this;
    const refusal = cell.accept(message);
    if (refusal !== undefined) cell.runtime.deadLetter(this, message, refusal);
  }

  toString(): string {
    const { node, path, incarnation } = this.address;
    return `${node}:/${path.join('/')}#${incarnation}`;
  }
}
