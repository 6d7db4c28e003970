// What the driver remembers of its wires, so that the usual operation needs no look at the kernel first, and
// which wire a link event is about.
// Invariants: a wire whose state is in doubt is `unknown` and is looked at before the next operation; what the
// driver removes itself is forgotten first and therefore causes no event.

import type { DataplaneEvent } from '../../protocols/ports/dataplane.ts';
import type { LinkEvent } from '../../protocols/ports/netlink.ts';
import type { CurrentWire, EndState, Side } from './wire-state.ts';
import { sides } from './wire-state.ts';

export interface WatchedLink {
  readonly wireId: string;
  readonly side: Side;
  isDown: boolean;
}

export class WireTable {
  readonly #wires = new Map<string, CurrentWire | 'unknown'>();
  readonly #watched = new Map<number, WatchedLink>();

  get(id: string): CurrentWire | 'unknown' | undefined {
    return this.#wires.get(id);
  }

  ids(): string[] {
    return [...this.#wires.keys()];
  }

  set(id: string, wire: CurrentWire): void {
    this.forget(id);
    this.#wires.set(id, wire);
    for (const side of sides) {
      const end = wire[side];
      if (end !== undefined) this.watch(end.index, { wireId: id, side, isDown: false });
    }
  }

  /** The next operation looks at the kernel first. */
  doubt(id: string): void {
    this.#wires.set(id, 'unknown');
  }

  forget(id: string): void {
    this.#wires.delete(id);
    for (const [index, link] of this.#watched) {
      if (link.wireId === id) this.#watched.delete(index);
    }
  }

  /** Reports events of a link whose wire was only listed. */
  watch(index: number, link: WatchedLink): void {
    this.#watched.set(index, link);
  }

  isWatched(index: number): boolean {
    return this.#watched.has(index);
  }

  watchedIndexes(): number[] {
    return [...this.#watched.keys()];
  }

  ends(): EndState[] {
    return [...this.#wires.values()].flatMap((wire) =>
      wire === 'unknown' ? [] : sides.flatMap((side) => wire[side] ?? []),
    );
  }

  hasUnknown(): boolean {
    return [...this.#wires.values()].includes('unknown');
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
