// The kernel of one simulated machine, with eyes on what may never happen to a client's interface.

import type { KernelEnd, VxlanEnd } from '../../protocols/ports/dataplane.ts';
import {
  type MadeEnd,
  type SimulatedEnd,
  type SimulatedInterface,
  SimulatedWorld,
} from '../../dataplane/simulated/simulated-world.ts';

export interface KernelWatcher {
  onMade(end: KernelEnd): void;
  onRemoved(end: KernelEnd, found: SimulatedInterface): void;
  onChanged(end: KernelEnd, before: SimulatedInterface, after: SimulatedInterface): void;
}

export class WatchedWorld extends SimulatedWorld {
  readonly #watcher: KernelWatcher;

  constructor(watcher: KernelWatcher) {
    super();
    this.#watcher = watcher;
  }

  override makeEnd(end: MadeEnd, mtu: number): SimulatedEnd {
    const made = super.makeEnd(end, mtu);
    if (end.kind === 'kernel') this.#watcher.onMade(end);
    return made;
  }

  override adjustEnd(old: SimulatedEnd, end: KernelEnd | VxlanEnd, mtu: number): SimulatedEnd {
    const made = super.adjustEnd(old, end, mtu);
    if (end.kind === 'kernel' && old.interface !== undefined && made.interface !== undefined) {
      this.#watcher.onChanged(end, old.interface, made.interface);
    }
    return made;
  }

  override dropEnd(dropped: SimulatedEnd): void {
    const { end } = dropped;
    const found =
      end.kind === 'kernel' ? this.interfaceIn(end.netns, end.interfaceName) : undefined;
    super.dropEnd(dropped);
    if (end.kind === 'kernel' && found !== undefined) this.#watcher.onRemoved(end, found);
  }
}
