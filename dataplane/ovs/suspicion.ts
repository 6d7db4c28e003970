// Which wires are suspect by what is changed in the switch: rows of its database, flows that are removed.

import type { EndsEvent } from '../../protocols/ports/wire-ends.ts';
import type { SuspectWiresSetup } from '../../protocols/suspect-wires.ts';
import { SuspectWires } from '../../protocols/suspect-wires.ts';
import type { Owner } from './tags.ts';
import { wireCookie } from './tags.ts';

export interface SuspicionSetup extends SuspectWiresSetup {
  readonly owner: Owner;
}

class Suspicion extends SuspectWires {
  readonly #setup: SuspicionSetup;
  /** The known ones. */
  readonly #byCookie = new Map<bigint, string>();

  constructor(setup: SuspicionSetup) {
    super(setup);
    this.#setup = setup;
  }

  override ensured(id: string): void {
    super.ensured(id);
    this.#byCookie.set(this.#cookieOf(id), id);
  }

  override listed(id: string, isComplete: boolean): void {
    super.listed(id, isComplete);
    this.#byCookie.set(this.#cookieOf(id), id);
  }

  override forget(id: string): void {
    super.forget(id);
    this.#byCookie.delete(this.#cookieOf(id));
  }

  rowsChanged(ids: ReadonlySet<string>): void {
    for (const id of ids) this.changed(id);
  }

  flowRemoved(cookie: bigint): void {
    const id = this.#byCookie.get(cookie);
    if (id !== undefined) this.changed(id);
  }

  /** The switch may be as nobody wants it. */
  all(): void {
    for (const id of this.known) this.suspect(id);
  }

  /** News of the kernel's part. */
  told(event: EndsEvent): void {
    // Of filters, which the switch does not look at.
    if (event.kind === 'changed') return;
    if (event.kind === 'damaged') this.tell(event.wireId, event);
    else this.#setup.publish(event);
  }

  #cookieOf(id: string): bigint {
    return wireCookie(this.#setup.owner, id);
  }
}

export const createSuspicion = (setup: SuspicionSetup): Suspicion => new Suspicion(setup);
