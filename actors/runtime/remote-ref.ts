// A reference by address: to an actor of another node, or to whichever life has a path on this one.
// Invariant: telling never throws; what the codec or the link refuses is a dead letter.

import type { ActorAddress, ActorCodec, ActorRef } from './api.ts';
import type { Remote } from './remote.ts';

export class AddressRef<Message> implements ActorRef<Message> {
  declare readonly address: ActorAddress;
  /** Internal to the runtime. */
  declare readonly codec: ActorCodec<unknown>;
  declare private readonly remote: Remote;

  constructor(remote: Remote, address: ActorAddress, codec: ActorCodec<unknown>) {
    this.remote = remote;
    this.address = address;
    this.codec = codec;
  }

  tell(message: Message): void {
    this.remote.tell(this, message);
  }

  toString(): string {
    const { node, path, incarnation } = this.address;
    return `${node}:/${path.join('/')}#${incarnation}`;
  }
}
