// From what others do to a data plane to news about wires: a change that its driver did not make makes a wire suspect, and
// only what a look confirms is told. For data planes.
// Invariants: at most one look per wire waits; a wire is told to be damaged once, until it is ensured; one that the driver
// has removed, or never knew, is no news.

import type { DataplaneEvent } from './ports/dataplane.ts';
import type { WireLocks } from './wire-locks.ts';

export interface SuspectWiresSetup {
  readonly locks: WireLocks;
  /** What is missing of a wire, or damaged. The wire's lock is held. */
  readonly inspect: (id: string) => Promise<readonly string[]>;
  readonly publish: (event: DataplaneEvent) => void;
}

export class SuspectWires {
  readonly #setup: SuspectWiresSetup;
  readonly #known = new Set<string>();
  readonly #told = new Set<string>();
  readonly #waiting = new Set<string>();

  constructor(setup: SuspectWiresSetup) {
    this.#setup = setup;
  }

  get known(): ReadonlySet<string> {
    return this.#known;
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

  /** What is changed under a wire's lock its holder has changed. */
  changed(id: string): void {
    if (!this.#setup.locks.isHeld(id)) this.suspect(id);
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

  tell(id: string, event: DataplaneEvent): void {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    this.#setup.publish(event);
  }

  async #lookAt(id: string): Promise<void> {
    const found = await this.#setup.inspect(id);
    if (found.length === 0 || !this.#known.has(id)) return;
    this.tell(id, { kind: 'damaged', wireId: id, found });
  }
}
