// Whether the workloads at the other ends of memifs are there: VPP tells when one connects or ends, and a namespace in which
// no process is any more has ended for its wire. VPP's own socket would keep it alive for ever.
// Invariants: only news is told, each namespace's end once; a memif that no workload has taken up yet is no news.

import { asNsmError } from '../../protocols/errors.ts';
import type { DataplaneEvent, Wire } from '../../protocols/ports/dataplane.ts';
import { interfaceFlags } from '../../protocols/vpp/messages/enums.ts';
import type { EventFields } from '../../protocols/vpp/messages/known-messages.ts';
import type { Inventory } from './inventory.ts';
import type { PathOf } from './memif-socket.ts';
import type { EndTag } from './tags.ts';

export interface MemifWatchSetup {
  readonly inventory: Inventory;
  readonly pathOf: PathOf;
  readonly wireOf: (id: string) => Wire | undefined;
  readonly publish: (event: DataplaneEvent) => void;
}

export class MemifWatch {
  readonly #setup: MemifWatchSetup;
  /** Ends that carried frames and do not now, by `sw_if_index`. */
  readonly #down = new Map<number, EndTag>();

  constructor(setup: MemifWatchSetup) {
    this.#setup = setup;
  }

  changed({ sw_if_index: index, flags, deleted }: EventFields<'sw_interface_event'>): void {
    const { inventory, publish } = this.#setup;
    const { memif, tag } = inventory.at(index) ?? {};
    if (deleted) this.#down.delete(index);
    if (deleted || memif === undefined || tag === undefined) return;
    const { wireId, side } = tag;
    const isConnected = (flags & interfaceFlags.linkUp) !== 0;
    const wasConnected = inventory.connected(index, isConnected);
    if (isConnected && this.#down.delete(index)) publish({ kind: 'linkUp', wireId, side });
    if (isConnected || wasConnected !== true) return;
    this.#down.set(index, tag);
    publish({ kind: 'linkDown', wireId, side });
    this.look();
  }

  /** To be called now and then: a process ends a little later than its connections. */
  look(): void {
    const { inventory, publish } = this.#setup;
    for (const [index, tag] of this.#down) {
      const { wireId, side } = tag;
      const isSame = inventory.at(index)?.tag?.wireId === wireId;
      if (isSame && !this.#isGone(tag)) continue;
      this.#down.delete(index);
      if (isSame) publish({ kind: 'namespaceGone', wireId, side });
    }
  }

  #isGone({ wireId, side }: EndTag): boolean {
    const end = this.#setup.wireOf(wireId)?.[side];
    if (end?.kind !== 'memif' || end.socket.kind !== 'abstract') return false;
    try {
      this.#setup.pathOf(end.socket.netns);
      return false;
    } catch (error) {
      return asNsmError(error).code === 'NOT_FOUND';
    }
  }
}
