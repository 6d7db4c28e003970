// Since when forwarders have been missed: not registered, or with nobody behind their URL. A forwarder that starts again
// takes up its wires, so they wait for it; one that stays away for longer than the grace has lost them.
// Invariant: counted in this life of the manager alone, since a manager that starts again has heard of nobody yet.

import type { Clock } from '../../protocols/ports/clock.ts';

export interface AbsencesSetup {
  readonly clock: Clock;
  readonly graceMs: number;
}

export class Absences {
  readonly #setup: AbsencesSetup;
  readonly #sinceMs = new Map<string, number>();

  constructor(setup: AbsencesSetup) {
    this.#setup = setup;
  }

  missed(name: string): void {
    if (!this.#sinceMs.has(name)) this.#sinceMs.set(name, this.#setup.clock.nowMs());
  }

  seen(name: string): void {
    this.#sinceMs.delete(name);
  }

  /** Missed for longer than it takes to start again. */
  isGone(name: string): boolean {
    const since = this.#sinceMs.get(name);
    return since !== undefined && this.#setup.clock.nowMs() - since >= this.#setup.graceMs;
  }
}
