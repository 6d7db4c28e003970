// What the driver remembers of its wires, so that the usual operation needs no look at the kernel first, and
// which wire a link event is about.
// Invariants: a wire whose state is in doubt is `unknown` and is looked at before the next operation; what the
// driver removes itself is forgotten first and therefore causes no event; what is removed during a look at
// everything is not remembered again because of it.

import type {
  DataplaneEvent,
  KernelEnd,
  VxlanEnd,
  WireguardEnd,
} from '../../protocols/ports/dataplane.ts';
import type { ChangeOfLink } from '../../protocols/ports/netlink.ts';
import type { Tag } from './owner.ts';
import type { CurrentWire } from './wire-state.ts';
import { sides } from './wire-state.ts';

export interface WatchedLink {
  readonly wireId: string;
  readonly tag: Tag;
  readonly name: string;
  readonly isDown: boolean;
}

/** What an event means: news, or that the wire has to be looked at. */
export type Meaning = { readonly news: DataplaneEvent } | { readonly suspect: string } | undefined;

export interface Tunnel {
  readonly id: string;
  readonly end: VxlanEnd | WireguardEnd;
  /** What it carries packets for; absent where the wire only passes through this node. */
  readonly workload?: KernelEnd;
}

export class WireTable {
  readonly #wires = new Map<string, CurrentWire | 'unknown'>();
  /** What was known of each before it was doubted, if anything was. */
  readonly #lastKnown = new Map<string, CurrentWire>();
  readonly #watched = new Map<number, WatchedLink>();
  /** Watched links by wire. */
  readonly #indexes = new Map<string, readonly number[]>();
  /** Of each look that is under way: what has been forgotten since it began. */
  readonly #looks = new Set<Set<string>>();
  /** Wires whose damage has been told. */
  readonly #told = new Set<string>();

  get(id: string): CurrentWire | 'unknown' | undefined {
    return this.#wires.get(id);
  }

  /** Tells where its ends are, also while what is there of them is in doubt. */
  lastKnown(id: string): CurrentWire | undefined {
    return this.#lastKnown.get(id);
  }

  /** Tunnel ends of the wires whose state is known. */
  *tunnels(): Generator<Tunnel> {
    for (const [id, wire] of this.#wires) {
      if (wire === 'unknown') continue;
      for (const side of sides) {
        const end = wire[side]?.end;
        if (end?.kind !== 'vxlan' && end?.kind !== 'wireguard') continue;
        const other = wire[side === 'client' ? 'endpoint' : 'client']?.end;
        yield { id, end, ...(other?.kind === 'kernel' ? { workload: other } : {}) };
      }
    }
  }

  set(id: string, wire: CurrentWire): void {
    const before = this.#unwatch(id);
    this.#wires.set(id, wire);
    this.#lastKnown.set(id, wire);
    this.#told.delete(id);
    const watch = (index: number, name: string, tag: Tag) => {
      this.watch(index, { wireId: id, tag, name, isDown: before.get(index)?.isDown ?? false });
    };
    for (const side of sides) {
      const end = wire[side];
      if (end !== undefined) watch(end.index, end.name, end.tag);
    }
    if (wire.bridge !== undefined) watch(wire.bridge.index, wire.bridge.name, wire.bridge.tag);
  }

  /** The next operation looks at the kernel first. */
  doubt(id: string): void {
    this.#wires.set(id, 'unknown');
  }

  forget(id: string): void {
    this.#wires.delete(id);
    this.#lastKnown.delete(id);
    this.#told.delete(id);
    this.#unwatch(id);
    for (const forgotten of this.#looks) forgotten.add(id);
  }

  /** A wire is damaged: what is there of it, if known, is what its repair starts from. False where it is no news. */
  tell(id: string, actual: CurrentWire | undefined): boolean {
    const isNews = !this.#told.has(id);
    if (actual === undefined) this.doubt(id);
    else this.set(id, actual);
    this.#told.add(id);
    return isNews;
  }

  /** Begins a look at everything: the ids that are forgotten from now until `endLook`. */
  beginLook(): ReadonlySet<string> {
    const forgotten = new Set<string>();
    this.#looks.add(forgotten);
    return forgotten;
  }

  endLook(forgotten: ReadonlySet<string>): void {
    this.#looks.delete(forgotten as Set<string>);
  }

  /** Reports events of a link whose wire was only listed. */
  watch(index: number, link: WatchedLink): void {
    this.#watched.set(index, link);
    this.#indexes.set(link.wireId, [...(this.#indexes.get(link.wireId) ?? []), index]);
  }

  watched(index: number): WatchedLink | undefined {
    return this.#watched.get(index);
  }

  /** Every link that is watched now, by its index: one that is made or changes later is another object. */
  watchedLinks(): ReadonlyMap<number, WatchedLink> {
    return new Map(this.#watched);
  }

  /** What a link event means, if it is about a wire and news. */
  interpret(event: ChangeOfLink): Meaning {
    const link = this.#watched.get(event.index);
    if (link === undefined) return undefined;
    const { wireId, tag } = link;
    const side = tag.role === 'bridge' ? undefined : tag.role;
    switch (event.kind) {
      case 'changed':
        return { suspect: wireId };
      case 'gone':
        this.#watched.delete(event.index);
        return { suspect: wireId };
      case 'namespaceGone':
        if (side === undefined) return undefined;
        this.#watched.delete(event.index);
        this.doubt(wireId);
        return { news: { kind: 'namespaceGone', wireId, side } };
      case 'running':
      case 'notRunning': {
        const isDown = event.kind === 'notRunning';
        if (side === undefined || link.isDown === isDown) return undefined;
        this.#watched.set(event.index, { ...link, isDown });
        return { news: { kind: isDown ? 'linkDown' : 'linkUp', wireId, side } };
      }
    }
  }

  /** Returns what was watched of the wire. */
  #unwatch(id: string): ReadonlyMap<number, WatchedLink> {
    const indexes = this.#indexes.get(id) ?? [];
    this.#indexes.delete(id);
    const before = new Map<number, WatchedLink>();
    for (const index of indexes) {
      const link = this.#watched.get(index);
      if (link !== undefined) before.set(index, link);
      this.#watched.delete(index);
    }
    return before;
  }
}
