// Death watch across nodes, both sides. The watching side pings a node while it has watches there; the watched side
// answers how many it knows, and what was lost on the way is sent again. Invariants: an id ends once; the own bus
// being away is no evidence against a peer; watches of a node that has gone quiet are dropped.

import type { Timer } from '../../protocols/ports/clock.ts';
import { type ActorEnvelope, anyIncarnation } from '../../protocols/ports/actor-link.ts';
import type { ActorAddress, Terminated } from './api.ts';
import type { Runtime } from './runtime.ts';

/** The kinds that belong to death watch. */
export type WatchEnvelope = Extract<
  ActorEnvelope,
  { kind: 'watch' | 'unwatch' | 'terminated' | 'ping' | 'pong' }
>;

type Send = (envelope: ActorEnvelope) => void;
type OnEnd = (reason: Terminated['reason']) => void;

/** Unanswered pings that make a node unreachable. */
const pingsMissedMax = 4;
/** The watched side waits longer than the watching one, so that it forgets last. */
const lapseFactor = 4;

/** A node that we watch actors on. */
interface Watched {
  readonly watches: Map<string, { readonly address: ActorAddress; readonly onEnd: OnEnd }>;
  pingsMissed: number;
  timer: Timer;
}

/** A node that watches actors here. */
interface Watching {
  /** What ends each watch, by id. */
  readonly cancels: Map<string, () => void>;
  timer: Timer;
}

export class RemoteWatches {
  private readonly watched = new Map<string, Watched>();
  private readonly watching = new Map<string, Watching>();
  private isConnected = true;
  private opened = 0;
  private readonly runtime: Runtime;
  private readonly send: Send;
  private readonly unreachableAfterMs: number;

  constructor(runtime: Runtime, send: Send, unreachableAfterMs: number) {
    this.runtime = runtime;
    this.unreachableAfterMs = unreachableAfterMs;
    this.send = (envelope) => {
      try {
        send(envelope);
      } catch {
        // As good as lost on the way: the next ping repairs it or finds the node unreachable.
      }
    };
  }

  open(address: ActorAddress, onEnd: OnEnd): () => void {
    this.opened += 1;
    const id = `${this.runtime.incarnation}.${this.opened.toString(36)}`;
    const { node } = address;
    let peer = this.watched.get(node);
    if (peer === undefined) {
      peer = { watches: new Map(), pingsMissed: 0, timer: this.pingLater(node) };
      this.watched.set(node, peer);
    }
    peer.watches.set(id, { address, onEnd });
    this.send({ ...this.routeTo(node), kind: 'watch', target: address, id });
    return () => {
      if (!this.forget(node, id)) return;
      this.send({ ...this.routeTo(node), kind: 'unwatch', id });
    };
  }

  onConnected(isConnected: boolean): void {
    this.isConnected = isConnected;
    for (const peer of this.watched.values()) peer.pingsMissed = 0;
  }

  onEnvelope(envelope: WatchEnvelope): void {
    const { from } = envelope;
    switch (envelope.kind) {
      case 'watch':
        this.serve(from, envelope.id, envelope.target);
        return;
      case 'unwatch':
        this.drop(from, envelope.id);
        return;
      case 'ping':
        this.send({
          ...this.routeTo(from),
          kind: 'pong',
          watchCount: this.watching.get(from)?.cancels.size ?? 0,
        });
        this.renewLapse(from);
        return;
      case 'terminated':
        this.end(from, envelope.id, envelope.reason);
        return;
      case 'pong':
        this.onPong(from, envelope.watchCount);
    }
  }

  close(): void {
    for (const { timer } of this.watched.values()) timer.cancel();
    this.watched.clear();
    for (const node of Array.from(this.watching.keys())) this.lapse(node);
  }

  private onPong(node: string, watchCount: number): void {
    const peer = this.watched.get(node);
    if (peer === undefined) return;
    peer.pingsMissed = 0;
    if (watchCount === peer.watches.size) return;
    for (const [id, { address }] of peer.watches) {
      this.send({ ...this.routeTo(node), kind: 'watch', target: address, id });
    }
  }

  private pingLater(node: string): Timer {
    return this.runtime.clock.after(this.unreachableAfterMs / pingsMissedMax, () => {
      const peer = this.watched.get(node);
      if (peer === undefined) return;
      if (peer.pingsMissed >= pingsMissedMax) {
        this.watched.delete(node);
        for (const { onEnd } of peer.watches.values()) onEnd('unreachable');
        return;
      }
      if (this.isConnected) {
        peer.pingsMissed += 1;
        this.send({ ...this.routeTo(node), kind: 'ping' });
      }
      peer.timer = this.pingLater(node);
    });
  }

  private end(node: string, id: string, reason: Terminated['reason']): void {
    const watch = this.watched.get(node)?.watches.get(id);
    if (watch === undefined) return;
    this.forget(node, id);
    watch.onEnd(reason);
  }

  private forget(node: string, id: string): boolean {
    const peer = this.watched.get(node);
    if (peer === undefined || !peer.watches.delete(id)) return false;
    if (peer.watches.size === 0) {
      peer.timer.cancel();
      this.watched.delete(node);
    }
    return true;
  }

  private serve(node: string, id: string, target: ActorAddress): void {
    const peer = this.watching.get(node);
    if (peer?.cancels.has(id) === true) return;
    const tellEnd = (reason: 'stopped' | 'crashed'): void => {
      this.drop(node, id);
      this.send({ ...this.routeTo(node), kind: 'terminated', id, reason });
    };
    const cell = this.runtime.find(target);
    if (cell?.extras?.codec === undefined) {
      // An earlier life of this process did not end its actors in order.
      const { incarnation } = target;
      const isOfThisLife =
        incarnation === anyIncarnation || incarnation.startsWith(this.runtime.incarnation);
      tellEnd(isOfThisLife ? 'stopped' : 'crashed');
      return;
    }
    const cancel = this.runtime.watch(cell.ref, (reason) =>
      tellEnd(reason === 'crashed' ? 'crashed' : 'stopped'),
    );
    if (peer !== undefined) peer.cancels.set(id, cancel);
    else {
      this.watching.set(node, { cancels: new Map([[id, cancel]]), timer: this.lapseLater(node) });
    }
  }

  private drop(node: string, id: string): void {
    const peer = this.watching.get(node);
    if (peer === undefined) return;
    peer.cancels.get(id)?.();
    peer.cancels.delete(id);
    if (peer.cancels.size > 0) return;
    peer.timer.cancel();
    this.watching.delete(node);
  }

  private renewLapse(node: string): void {
    const peer = this.watching.get(node);
    if (peer === undefined) return;
    peer.timer.cancel();
    peer.timer = this.lapseLater(node);
  }

  private lapseLater(node: string): Timer {
    const delayMs = this.unreachableAfterMs * lapseFactor;
    return this.runtime.clock.after(delayMs, () => this.lapse(node));
  }

  private lapse(node: string): void {
    const peer = this.watching.get(node);
    if (peer === undefined) return;
    peer.timer.cancel();
    this.watching.delete(node);
    for (const cancel of peer.cancels.values()) cancel();
  }

  private routeTo(to: string): { to: string; from: string } {
    return { to, from: this.runtime.name };
  }
}
