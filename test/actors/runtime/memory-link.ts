// A bus of envelopes inside the test, which can lose what the test wants lost. Delivery is immediate and in order.

import {
  decodeActorEnvelope,
  encodeActorEnvelope,
} from '../../../protocols/messages/actor-envelope.ts';
import type {
  ActorEnvelope,
  ActorLink,
  ActorLinkEvents,
} from '../../../protocols/ports/actor-link.ts';

export class MemoryBus {
  readonly nodes = new Map<string, ActorLinkEvents>();
  readonly sent: ActorEnvelope[] = [];
  /** What it returns true for is lost in silence. */
  loses: (envelope: ActorEnvelope) => boolean = () => false;

  link(): ActorLink {
    let own = '';
    return {
      open: async (node, events) => {
        own = node;
        this.nodes.set(node, events);
      },
      send: (envelope) => this.carry(envelope),
      close: async () => void this.nodes.delete(own),
    };
  }

  /** As if that node had sent it. */
  carry(envelope: ActorEnvelope): void {
    this.sent.push(envelope);
    if (this.loses(envelope)) return;
    const target = this.nodes.get(envelope.to);
    if (target !== undefined) target.onEnvelope(decodeActorEnvelope(encodeActorEnvelope(envelope)));
    else this.nodes.get(envelope.from)?.onUndeliverable(envelope);
  }

  setConnected(node: string, isConnected: boolean): void {
    this.nodes.get(node)?.onConnected(isConnected);
  }
}
