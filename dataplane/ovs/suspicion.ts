// From what others do to the switch to news about wires: a change that this driver did not make makes a wire suspect,
// and only what a look confirms is told.
// Invariants: at most one look per wire waits; a wire is told to be damaged once, until it is ensured; one that the driver
// has removed, or never knew, is no news.

import type { DataplaneEvent } from '../../protocols/ports/dataplane.ts';
import type { EndsEvent } from '../../protocols/ports/wire-ends.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import type { SwitchRows } from './switch-rows.ts';
import type { Owner } from './tags.ts';
import { wireCookie } from './tags.ts';

export interface SuspicionSetup {
  readonly owner: Owner;
  readonly locks: WireLocks;
  readonly rows: SwitchRows;
  /** The wire's lock is held. */
  readonly inspect: (id: string) => Promise<readonly string[]>;
  readonly publish: (event: DataplaneEvent) => void;
}

export class Suspicion {
  readonly #setup: SuspicionSetup;
  /** Wires of this life, by cookie. */
  readonly #known = new Map<bigint, string>();
  readonly #told = new Set<string>();
  readonly #waiting = new Set<string>();

  constructor(setup: SuspicionSetup) {
    this.#setup = setup;
  }

  ensured(id: string): void {
    this.#known.set(wireCookie(this.#setup.owner, id), id);
    this.#told.delete(id);
  }

  listed(id: string, isComplete: boolean): void {
    this.#known.set(wireCookie(this.#setup.owner, id), id);
    if (isComplete) this.#told.delete(id);
  }

  forget(id: string): void {
    this.#known.delete(wireCookie(this.#setup.owner, id));
    this.#told.delete(id);
  }

  /** What is changed under a wire's lock its holder has changed. */
  rowsChanged(ids: ReadonlySet<string>): void {
    for (const id of ids) if (!this.#setup.locks.isHeld(id)) this.#suspect(id);
  }

  flowRemoved(cookie: bigint): void {
    const id = this.#known.get(cookie);
    if (id !== undefined && !this.#setup.locks.isHeld(id)) this.#suspect(id);
  }

  /** The switch may be as nobody wants it. */
  all(): void {
    for (const id of this.#known.values()) this.#suspect(id);
  }

  /** News of the kernel's part. */
  told(event: EndsEvent): void {
    // Of filters, which the switch does not look at.
    if (event.kind === 'changed') return;
    if (event.kind === 'damaged') this.#tell(event.wireId, event);
    else this.#setup.publish(event);
  }

  #suspect(id: string): void {
    const { owner, locks } = this.#setup;
    if (this.#waiting.has(id) || this.#known.get(wireCookie(owner, id)) === undefined) return;
    this.#waiting.add(id);
    const look = locks.hold([id], () => {
      this.#waiting.delete(id);
      return this.#lookAt(id);
    });
    // What cannot be looked at now is found by the next operation, or the next pass over all.
    look.catch(() => {});
  }

  async #lookAt(id: string): Promise<void> {
    const { owner, inspect } = this.#setup;
    const found = await inspect(id);
    if (found.length === 0 || !this.#known.has(wireCookie(owner, id))) return;
    this.#tell(id, { kind: 'damaged', wireId: id, found });
  }

  #tell(id: string, event: DataplaneEvent): void {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    this.#setup.publish(event);
  }
}

export const createSuspicion = (setup: SuspicionSetup): Suspicion => new Suspicion(setup);
