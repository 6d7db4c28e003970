// Entries by name, forgotten a time after their last use and beyond a bound, the one unused for longest first.
// Invariant: a use costs the same however many there are. A Map that is walked from its front passes all that was deleted
// there since it was last rebuilt, up to as many as it has entries; so it is walked once per sixteenth of the time or of
// the bound, and what is old by then was already not found.

export interface Kept {
  readonly keepUntilMs: number;
}

export interface LastUsedLimits {
  /** From `put` to the latest `keepUntilMs` that has an end. */
  readonly keepMs: number;
  readonly entriesMax: number;
}

export class LastUsed<Entry extends Kept> {
  readonly #limits: LastUsedLimits;
  /** In order of last use, which a Map keeps when an entry is taken out and put back. */
  readonly #entries = new Map<string, Entry>();
  #lookAgainMs = 0;

  constructor(limits: LastUsedLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(name: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(name);
    return entry !== undefined && entry.keepUntilMs > nowMs ? entry : undefined;
  }

  put(name: string, entry: Entry): void {
    this.#entries.delete(name);
    this.#entries.set(name, entry);
  }

  delete(name: string): void {
    this.#entries.delete(name);
  }

  forgetOld(nowMs: number): void {
    const { keepMs, entriesMax } = this.#limits;
    const isOver = this.#entries.size > entriesMax;
    if (!isOver && nowMs < this.#lookAgainMs) return;
    this.#lookAgainMs = nowMs + keepMs / 16;
    const wanted = isOver ? entriesMax - Math.floor(entriesMax / 16) : entriesMax;
    for (const [name, { keepUntilMs }] of this.#entries) {
      if (keepUntilMs > nowMs && this.#entries.size <= wanted) break;
      this.#entries.delete(name);
    }
  }
}
