// A domain's side of its store: what is read at start, what others change, what this replica writes.
// Invariants: the watch is open before the first load, so no change falls between them; changes wait in one
// buffer that the domain empties in its own turns; a load that fails is tried again for ever.

import { describeError } from '../../protocols/errors.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { StoreChange, StoredEntry } from '../../protocols/ports/registry-store.ts';
import { StoreWriter, type StoreWriterSetup } from './store-writer.ts';

export interface StoreEvents {
  /** Something is in `takeChanges`. */
  readonly changed: () => void;
  /** Called once per load that succeeded, after `changed`. */
  readonly loaded: () => void;
  readonly loadFailed: () => void;
}

const retryMs = 1_000;
const retryMsMax = 10_000;

export class StoreLink {
  readonly writer: StoreWriter;
  #setup: StoreWriterSetup;
  #events: StoreEvents;
  #changes: StoreChange[] = [];
  #unwatch: (() => void) | undefined;
  #retry: Timer | undefined;
  #failures = 0;
  #isStopped = false;

  constructor(setup: StoreWriterSetup, events: StoreEvents) {
    this.#setup = setup;
    this.#events = events;
    this.writer = new StoreWriter(setup);
  }

  start(): void {
    void this.#load();
  }

  /** At most `countMax` changes, oldest first. */
  takeChanges(countMax: number): readonly StoreChange[] {
    return this.#changes.splice(0, countMax);
  }

  get hasChanges(): boolean {
    return this.#changes.length > 0;
  }

  stop(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
    this.#unwatch?.();
    this.#changes = [];
    this.writer.stop();
  }

  async #load(): Promise<void> {
    try {
      this.#unwatch ??= await this.#setup.store.watch((change) => this.#receive([change]));
      const entries = await this.#setup.store.load();
      if (this.#isStopped) this.#unwatch();
      this.#receive(entries.map(asPut));
      this.#failures = 0;
      if (!this.#isStopped) this.#events.loaded();
    } catch (error) {
      if (this.#isStopped) return;
      this.#failures += 1;
      this.#setup.log.warn('registry store could not be read, tried again later', {
        error: describeError(error),
      });
      this.#events.loadFailed();
      const delayMs = Math.min(retryMs * 2 ** Math.min(this.#failures - 1, 8), retryMsMax);
      this.#retry = this.#setup.clock.after(delayMs, () => void this.#load());
    }
  }

  #receive(changes: readonly StoreChange[]): void {
    if (this.#isStopped || changes.length === 0) return;
    const isFirst = this.#changes.length === 0;
    for (const change of changes) this.#changes.push(change);
    if (isFirst) this.#events.changed();
  }
}

function asPut(entry: StoredEntry): StoreChange {
  return { kind: 'put', entry };
}
