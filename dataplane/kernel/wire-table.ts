// What the driver remembers of its wires, so that the usual operation needs no look at the kernel first, and
// which wire a link event is about.
// Invariants: a wire whose state is in doubt is `unknown` and is looked at before the next operation; what the
// driver removes itself is forgotten first and therefore causes no event.

import type { DataplaneEvent } from '../../protocols/ports/dataplane.ts';
import type { LinkEvent } from '../../protocols/ports/netlink.ts';
import type { CurrentWire, Side } from './wire-state.ts';
import { sides } from './wire-state.ts';

export interface WatchedLink {
  readonly wireId: string;
  readonly side: Side;
  isDown: boolean;
}

export class WireTable {
  readonly #wires = new Map<string, CurrentWire | 'unknown'>();
  readonly #watched = new Map<number, WatchedLink>();
  /** Watched links by wire. */
  readonly #indexes = new Map<string, readonly number[]>();

  get(id: string): CurrentWire | 'unknown' | undefined {
    return this.#wires.get(id);
  }

  set(id: string, wire: CurrentWire): void {
    const before = this.forget(id);
    this.#wires.set(id, wire);
    for (const side of sides) {
      const end = wire[side];
      if (end === undefined) continue;
      const isDown = before.get(end.index)?.isDown ?? false;
      this.watch(end.index, { wireId: id, side, isDown });
    }
  }

  /** The next operation looks at the kernel first. */
  doubt(id: string): void {
    this.#wires.set(id, 'unknown');
  }

  /** Returns what was watched of the wire. */
  forget(id: string): ReadonlyMap<number, WatchedLink> {
    this.#wires.delete(id);
    const indexes = this.#indexes.get(id) ?? [];
    this.#indexes.delete(id);
    const forgotten = new Map<number, WatchedLink>();
    for (const index of indexes) {
      const link = this.#watched.get(index);
      if (link !== undefined) forgotten.set(index, link);
      this.#watched.delete(index);
    }
    return forgotten;
  }

  /** Reports events of a link whose wire was only listed. */
  watch(index: number, link: WatchedLink): void {
    this.#watched.set(index, link);
    this.#indexes.set(link.wireId, [...(this.#indexes.get(link.wireId) ?? []), index]);
  }

  isWatched(index: number): boolean {
    return this.#watched.has(index);
  }

  watchedIndexes(): number[] {
    return [...this.#watched.keys()];
  }

  /** What a link event means, if it is about a wire and news. */
  interpret(event: Exclude<LinkEvent, { kind: 'lost' }>): DataplaneEvent | undefined {
    const link = this.#watched.get(event.index);
    if (link === undefined) return undefined;
    const { wireId, side } = link;
    if (event.kind === 'gone') {
      this.#watched.delete(event.index);
      this.doubt(wireId);
      return { kind: 'objectGone', wireId, side };
    }
    const isDown = event.kind === 'notRunning';
    if (link.isDown === isDown) return undefined;
    link.isDown = isDown;
    return { kind: isDown ? 'linkDown' : 'linkUp', wireId, side };
  }
}
