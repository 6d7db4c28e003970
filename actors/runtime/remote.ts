// The runtime's side of the link to other nodes: tells and asks that go out, and those that come in.
// An incoming ask becomes an ordinary local ask, so that a full mailbox, a crash, an end or a late answer mean the
// same from afar. Invariants: only exported actors can be reached; an answer counts only from the node that was
// asked, under an id that nobody can guess; bad bytes cost their sender an error and nobody else anything.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { ActorEnvelope, ActorLink } from '../../protocols/ports/actor-link.ts';
import type { ActorAddress, ActorCodec, Terminated } from './api.ts';
import { PendingAsk, trackAsked } from './ask.ts';
import type { Cell } from './cell.ts';
import type { AddressRef } from './remote-ref.ts';
import { RemoteWatches } from './remote-watches.ts';
import type { Runtime } from './runtime.ts';

type Envelope<Kind extends ActorEnvelope['kind']> = Extract<ActorEnvelope, { kind: Kind }>;

interface Outgoing {
  readonly ask: PendingAsk;
  readonly node: string;
  readonly codec: ActorCodec<unknown>;
}

export class Remote {
  /** Resolves when other nodes can reach this one; at once without a link. */
  readonly linked: Promise<void>;
  private readonly outgoing = new Map<string, Outgoing>();
  /** By asking node and id. */
  private readonly incoming = new Map<string, PendingAsk>();
  private readonly watches: RemoteWatches;
  private readonly runtime: Runtime;
  private readonly link: ActorLink | undefined;
  private asks = 0;

  constructor(runtime: Runtime, link: ActorLink | undefined, unreachableAfterMs: number) {
    this.runtime = runtime;
    this.link = link;
    this.watches = new RemoteWatches(
      runtime,
      (envelope) => this.send(envelope),
      unreachableAfterMs,
    );
    const opened = link?.open(runtime.name, {
      onEnvelope: (envelope) => this.onEnvelope(envelope),
      onUndeliverable: (envelope) => this.onUndeliverable(envelope),
      onConnected: (isConnected) => this.watches.onConnected(isConnected),
    });
    this.linked = opened ?? Promise.resolve();
    // Whoever does not await it still learns of the failure from the log.
    this.linked.catch((error: unknown) => {
      runtime.log.error('the actor link did not open', { error: describeError(error) });
    });
  }

  tell(ref: AddressRef<never>, message: unknown): void {
    const { address, codec } = ref;
    if (address.node === this.runtime.name) {
      const cell = this.runtime.find(address);
      if (cell === undefined) this.runtime.deadLetter(ref, message, 'noSuchActor');
      else cell.ref.tell(message);
      return;
    }
    try {
      const body = codec.encode(message);
      this.send({ ...this.routeTo(address.node), kind: 'tell', target: address, body });
    } catch (error) {
      this.runtime.log.warn('a message was not sent', { error: describeError(error) });
      this.runtime.deadLetter(ref, message, 'unreachable');
    }
  }

  /** Sends the message of an ask; its answer, or the lack of one, settles the ask. */
  ask(ref: AddressRef<never>, ask: PendingAsk, timeoutMs: number): void {
    const { address, codec } = ref;
    const id = this.drawId();
    this.outgoing.set(id, { ask, node: address.node, codec });
    ask.onOver = (isAnswered) => {
      if (this.outgoing.delete(id) && !isAnswered) {
        this.trySend({ ...this.routeTo(address.node), kind: 'cancel', id });
      }
    };
    try {
      const body = codec.encode(ask.message);
      const route = this.routeTo(address.node);
      this.send({ ...route, kind: 'ask', target: address, id, timeoutMs, body });
    } catch (error) {
      this.outgoing.delete(id);
      ask.giveUp(asNsmError(error));
    }
  }

  watch(address: ActorAddress, onEnd: (reason: Terminated['reason']) => void): () => void {
    return this.watches.open(address, onEnd);
  }

  async close(): Promise<void> {
    this.watches.close();
    for (const { ask } of this.outgoing.values()) ask.cancel('the actor system stopped');
    await this.link?.close();
  }

  private onEnvelope(envelope: ActorEnvelope): void {
    switch (envelope.kind) {
      case 'tell':
        this.onTell(envelope);
        return;
      case 'ask':
        this.onAsk(envelope);
        return;
      case 'cancel':
        this.incoming.get(keyOf(envelope))?.cancel('the caller gave up');
        return;
      case 'reply':
      case 'failure':
        this.onAnswer(envelope);
        return;
      case 'watch':
      case 'unwatch':
      case 'terminated':
      case 'ping':
      case 'pong':
        this.watches.onEnvelope(envelope);
    }
  }

  private onTell(envelope: Envelope<'tell'>): void {
    const { target, body } = envelope;
    const cell = this.reachable(target);
    if (cell === undefined) {
      this.runtime.deadLetter({ address: target }, body, 'noSuchActor');
      return;
    }
    try {
      cell.ref.tell(codecOf(cell).decode(body, undefined));
    } catch (error) {
      this.runtime.log.warn('a message from another node was refused', {
        from: envelope.from,
        error: describeError(error),
      });
      this.runtime.deadLetter(cell.ref, body, 'undecodable');
    }
  }

  private onAsk(envelope: Envelope<'ask'>): void {
    const { target, id, body, timeoutMs } = envelope;
    const route = this.routeTo(envelope.from);
    const cell = this.reachable(target);
    const key = keyOf(envelope);
    // A bus may deliver twice; the first delivery answers.
    if (this.incoming.has(key)) return;
    if (cell === undefined) {
      this.trySend({ ...route, kind: 'failure', id, error: noSuchActor(target) });
      return;
    }
    const codec = codecOf(cell);
    const fail = (error: unknown): void => {
      const { code, message, details } = asNsmError(error);
      this.trySend({ ...route, kind: 'failure', id, error: { code, message, details } });
    };
    const resolve = (reply: unknown): void => {
      try {
        this.send({ ...route, kind: 'reply', id, body: codec.encodeReply(reply) });
      } catch (error) {
        fail(error);
      }
    };
    const ask = new PendingAsk(this.runtime, cell.ref, { timeoutMs }, { resolve, reject: fail });
    this.incoming.set(key, ask);
    ask.onOver = () => void this.incoming.delete(key);
    this.deliver(ask, cell, () => codec.decode(body, ask));
  }

  private deliver(ask: PendingAsk, cell: Cell, decode: () => unknown): void {
    try {
      ask.message = decode();
    } catch (error) {
      ask.giveUp(asNsmError(error));
      return;
    }
    const refusal = cell.accept(ask.message);
    if (refusal === undefined) trackAsked(cell, ask);
    else {
      this.runtime.deadLetter(cell.ref, ask.message, refusal);
      ask.refused(refusal);
    }
  }

  private onAnswer(envelope: Envelope<'reply' | 'failure'>): void {
    const known = this.outgoing.get(envelope.id);
    if (known === undefined || known.node !== envelope.from) return;
    this.outgoing.delete(envelope.id);
    if (envelope.kind === 'failure') {
      const { code, message, details } = envelope.error;
      known.ask.fail(new NsmError(code, message, details));
      return;
    }
    try {
      known.ask.tell(known.codec.decodeReply(envelope.body));
    } catch (error) {
      known.ask.fail(asNsmError(error));
    }
  }

  private onUndeliverable(envelope: ActorEnvelope): void {
    if (envelope.kind === 'tell') {
      this.runtime.deadLetter({ address: envelope.target }, undefined, 'unreachable');
    } else if (envelope.kind === 'ask') {
      const known = this.outgoing.get(envelope.id);
      this.outgoing.delete(envelope.id);
      known?.ask.refused('unreachable');
    }
  }

  private reachable(target: ActorAddress): Cell | undefined {
    const cell = this.runtime.find(target);
    return cell?.extras?.codec === undefined ? undefined : cell;
  }

  /** The count makes it unique, the draw keeps others from guessing it. */
  private drawId(): string {
    this.asks += 1;
    const { random } = this.runtime;
    return `${this.asks.toString(36)}.${random.integer(2 ** 32).toString(36)}${random.integer(2 ** 32).toString(36)}`;
  }

  private routeTo(to: string): { to: string; from: string } {
    return { to, from: this.runtime.name };
  }

  private send(envelope: ActorEnvelope): void {
    if (this.link === undefined) {
      throw new NsmError('UNAVAILABLE', 'this actor system has no link to other nodes', {
        hop: this.runtime.name,
        found: `a message for ${envelope.to}`,
      });
    }
    this.link.send(envelope);
  }

  private trySend(envelope: ActorEnvelope): void {
    try {
      this.send(envelope);
    } catch (error) {
      this.runtime.log.warn('an envelope was not sent', {
        kind: envelope.kind,
        error: describeError(error),
      });
    }
  }
}

function keyOf(envelope: { from: string; id: string }): string {
  return `${envelope.from} ${envelope.id}`;
}

function codecOf(cell: Cell): ActorCodec<unknown> {
  return cell.more.codec as ActorCodec<unknown>;
}

function noSuchActor(target: ActorAddress): Envelope<'failure'>['error'] {
  return {
    code: 'UNAVAILABLE',
    message: 'the actor is not there',
    details: { hop: `${target.node}:/${target.path.join('/')}`, found: 'noSuchActor' },
  };
}
