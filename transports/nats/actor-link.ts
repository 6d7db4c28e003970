// Actor messages over NATS. NSM concept: none; it joins vwire's own processes.
// A node is named `<node>/<component>`, or `<domain>/<node>/<component>` outside the own domain; what it is sent
// travels on `nsm.<domain>.<node>.<component>.$actor.in`, what cannot be delivered comes back on `$actor.lost.<number>`.
// Invariants: nothing waits; every message names a reply subject on which the server says that nobody was there.

import type { Msg } from '@nats-io/transport-node';
import { describeError, NsmError } from '../../protocols/errors.ts';
import {
  decodeActorEnvelope,
  encodeActorEnvelope,
} from '../../protocols/messages/actor-envelope.ts';
import { componentSubject } from '../../protocols/messages/subjects.ts';
import type {
  ActorEnvelope,
  ActorLink,
  ActorLinkEvents,
} from '../../protocols/ports/actor-link.ts';
import type { BusSubscription } from './lasting-subscriptions.ts';
import type { NatsBus } from './nats-bus.ts';

/** Never produced by `encodeToken`, so it cannot be mistaken for a service. */
const actorToken = '$actor';
/** Envelopes whose loss can still be reported; the server reports within a round trip. */
const reportableMax = 4_096;
/** Status of the server's message when a subject has no subscriber (nats-server: NoResponders). */
const noResponders = 503;
const nothing = new Uint8Array(0);

export interface NatsActorLinkOptions {
  readonly bus: NatsBus;
  /** Of nodes named without one. */
  readonly domain: string;
}

export function createNatsActorLink(options: NatsActorLinkOptions): ActorLink {
  return new NatsActorLink(options);
}

class NatsActorLink implements ActorLink {
  private readonly bus: NatsBus;
  private readonly domain: string;
  private readonly subjects = new Map<string, string>();
  private readonly sent = new Map<number, ActorEnvelope>();
  private sequence = 0;
  private own = '';
  private events: ActorLinkEvents | undefined;
  private subscriptions: readonly BusSubscription[] = [];
  private stopListening = (): void => {};

  constructor(options: NatsActorLinkOptions) {
    this.bus = options.bus;
    this.domain = options.domain;
  }

  async open(node: string, events: ActorLinkEvents): Promise<void> {
    this.own = `${this.prefixOf(node)}.${actorToken}`;
    this.events = events;
    const callback = (error: Error | null, message: Msg): void => {
      if (error === null) this.onMessage(message, events);
    };
    this.subscriptions = [
      // One gets each envelope while a connection replaces another. The server's notices go to no queue.
      this.bus.subscribe(`${this.own}.in`, { callback, queue: 'in' }),
      this.bus.subscribe(`${this.own}.lost.*`, { callback }),
    ];
    this.stopListening = this.bus.onStatus((status) => events.onConnected(status === 'connected'));
    await this.bus.flush();
  }

  send(envelope: ActorEnvelope): void {
    if (this.events === undefined) {
      throw new NsmError('FAILED_PRECONDITION', 'the actor link is not open', {
        rule: 'actor-link',
      });
    }
    const subject = `${this.prefixOf(envelope.to)}.${actorToken}.in`;
    const body = encodeActorEnvelope(envelope);
    this.sequence += 1;
    const { sequence } = this;
    this.sent.set(sequence, 'body' in envelope ? { ...envelope, body: nothing } : envelope);
    this.sent.delete(sequence - reportableMax);
    const reply = `${this.own}.lost.${sequence}`;
    if (this.bus.publish(subject, { headers: {}, body, reply })) return;
    this.sent.delete(sequence);
    throw new NsmError('UNAVAILABLE', 'the bus is not there', {
      rule: 'actor-link',
      found: `a message for ${envelope.to} while the bus was ${this.bus.status}`,
      remedy: 'look after nats-server; the process reconnects by itself',
    });
  }

  async close(): Promise<void> {
    this.stopListening();
    for (const each of this.subscriptions) each.unsubscribe();
    this.subscriptions = [];
    this.events = undefined;
    this.sent.clear();
    // What was sent last, ends of watched actors for example, should leave before the process does.
    if (this.bus.status === 'connected') await this.bus.flush();
  }

  private onMessage(message: Msg, events: ActorLinkEvents): void {
    if (message.subject.startsWith(`${this.own}.lost.`)) {
      this.onLost(message, events);
      return;
    }
    let envelope: ActorEnvelope;
    try {
      envelope = decodeActorEnvelope(message.data);
    } catch (error) {
      this.bus.log.warn('refused an actor envelope', { error: describeError(error) });
      return;
    }
    events.onEnvelope(envelope);
  }

  private onLost(message: Msg, events: ActorLinkEvents): void {
    if (message.headers?.code !== noResponders) return;
    const sequence = Number(message.subject.slice(message.subject.lastIndexOf('.') + 1));
    const envelope = this.sent.get(sequence);
    this.sent.delete(sequence);
    if (envelope !== undefined) events.onUndeliverable(envelope);
  }

  private prefixOf(node: string): string {
    const known = this.subjects.get(node);
    if (known !== undefined) return known;
    const parts = node.split('/');
    const [domain, name, component] = parts.length === 2 ? [this.domain, ...parts] : parts;
    if (parts.length > 3 || !domain || !name || !component) {
      throw new NsmError('INVALID_ARGUMENT', 'not the name of a node on the bus', {
        rule: 'actor-link.node',
        expected: '<node>/<component> or <domain>/<node>/<component>',
        found: JSON.stringify(node.slice(0, 200)),
      });
    }
    const prefix = componentSubject({ domain, node: name, component });
    this.subjects.set(node, prefix);
    return prefix;
  }
}
