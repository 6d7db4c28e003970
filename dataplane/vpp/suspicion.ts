// From what others do to VPP to news about wires: a change that this driver did not make makes a wire suspect, and only
// what a look confirms is told. VPP tells of interfaces that go or are set down, and of cross connects nothing: those
// are looked at once a second.
// Invariants: at most one look per wire waits; a wire is told to be damaged once, until it is ensured; one that the driver
// has removed, or never knew, is no news.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Budget, DataplaneEvent } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import type { EndsEvent } from '../../protocols/ports/wire-ends.ts';
import type { Inventory } from './inventory.ts';
import type { MemifWatch } from './memif-watch.ts';
import type { Trunks } from './trunks.ts';

export interface SuspicionSetup {
  readonly vpp: Vpp;
  readonly clock: Clock;
  readonly locks: WireLocks;
  readonly inventory: Inventory;
  readonly trunks: Pick<Trunks, 'mend'>;
  readonly memifs: MemifWatch;
  /** The wire's lock is held. */
  readonly inspect: (id: string) => Promise<readonly string[]>;
  readonly publish: (event: DataplaneEvent) => void;
}

const lookAgainAfterMs = 1_000;
const lookBudget: Budget = { timeoutMs: 5_000 };

export class Suspicion {
  readonly #setup: SuspicionSetup;
  readonly #known = new Set<string>();
  readonly #told = new Set<string>();
  readonly #waiting = new Set<string>();
  #timer: Timer | undefined;
  #stop: (() => void) | undefined;

  constructor(setup: SuspicionSetup) {
    this.#setup = setup;
  }

  /** Returns at once; ends with `close`. */
  watch(): void {
    if (this.#stop !== undefined) return;
    const start = { enable_disable: 1, pid: 0 };
    const stop = { enable_disable: 0, pid: 0 };
    this.#stop = this.#setup.vpp.subscribe(
      { event: 'sw_interface_event', request: 'want_interface_events', start, stop },
      (event) => {
        if (event.kind !== 'event') return;
        this.#setup.memifs.changed(event.fields);
        this.#interfaceChanged(event.fields.sw_if_index);
      },
    );
    this.#lookLater();
  }

  close(): void {
    this.#timer?.cancel();
    this.#stop?.();
    this.#timer = this.#stop = undefined;
  }

  ensured(id: string): void {
    this.#known.add(id);
    this.#told.delete(id);
  }

  listed(id: string, isComplete: boolean): void {
    this.#known.add(id);
    if (isComplete) this.#told.delete(id);
  }

  forget(id: string): void {
    this.#known.delete(id);
    this.#told.delete(id);
  }

  /** VPP may have lost all of these wires. */
  allBut(others: { has(id: string): boolean }): void {
    for (const id of this.#known) if (!others.has(id)) this.suspect(id);
  }

  /** News of the kernel's part. */
  told(event: EndsEvent): void {
    if (event.kind === 'changed') this.suspect(event.wireId);
    else if (event.kind === 'damaged') this.#tell(event.wireId, event);
    else this.#setup.publish(event);
  }

  suspect(id: string): void {
    if (this.#waiting.has(id) || !this.#known.has(id)) return;
    this.#waiting.add(id);
    const look = this.#setup.locks.hold([id], () => {
      this.#waiting.delete(id);
      return this.#lookAt(id);
    });
    // What cannot be looked at now is found by the next operation, or the next pass over all.
    look.catch(() => {});
  }

  /** What is changed under a wire's lock its holder has changed. A trunk is looked at once a second. */
  #interfaceChanged(index: number): void {
    const { inventory, locks } = this.#setup;
    const id = inventory.at(index)?.tag?.wireId;
    if (id !== undefined && !locks.isHeld(id)) this.suspect(id);
  }

  #lookLater(): void {
    this.#timer = this.#setup.clock.after(lookAgainAfterMs, () => {
      void this.#lookAtJoints().then(() => {
        if (this.#stop !== undefined) this.#lookLater();
      });
    });
  }

  async #lookAtJoints(): Promise<void> {
    if (this.#known.size === 0) return;
    const { inventory, trunks, memifs } = this.#setup;
    memifs.look();
    try {
      // What is not as it was made shows at the wires as well.
      await trunks.mend(lookBudget).catch(() => {});
      const changed = await inventory.lookAtJoints(lookBudget);
      for (const index of changed) this.#interfaceChanged(index);
    } catch {
      // VPP is away; when it is back everything is looked at.
    }
  }

  async #lookAt(id: string): Promise<void> {
    const found = await this.#setup.inspect(id);
    if (found.length === 0 || !this.#known.has(id)) return;
    this.#tell(id, { kind: 'damaged', wireId: id, found });
  }

  #tell(id: string, event: DataplaneEvent): void {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    this.#setup.publish(event);
  }
}
