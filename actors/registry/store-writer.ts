// Brings a domain's entries into the store behind the back of Register: nobody waits for the store.
// Invariants: per key one write in flight and only the newest value waiting; every write is fenced by the newest
// revision seen, so a late or repeated write never buries a newer one; what waits is bounded; a store that is
// away is tried again with growing pauses, for ever.

import { asNsmError, describeError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { RegistryStore, StoreChange } from '../../protocols/ports/registry-store.ts';

export interface StoreWriterSetup {
  readonly store: RegistryStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Writes under way at once. */
  readonly inFlightMax?: number;
  /** Keys that may wait. Past it the oldest is dropped: the store is an index, the next refresh writes it again. */
  readonly waitingMax?: number;
  readonly backoffMs?: number;
  readonly backoffMsMax?: number;
}

/** What to do with a change that the store reports. */
export type ObservedChange = 'apply' | 'ignore' | 'conflict';

interface Write {
  /** Undefined: the key is to be absent. */
  readonly value: Uint8Array | undefined;
  /** The store has reported this very deletion already. */
  isEchoed: boolean;
}

export class StoreWriter {
  #setup: Required<StoreWriterSetup>;
  /** Newest revision seen per key that is in the store, or was until a deletion whose echo is still to come. */
  #revisions = new Map<string, number>();
  #waiting = new Map<string, Write>();
  #conflicted = new Map<string, Write>();
  #inFlight = new Map<string, Write>();
  #pause: Timer | undefined;
  #conflictPause: Timer | undefined;
  #failures = 0;
  #conflicts = 0;
  #isStopped = false;
  #idle: (() => void)[] = [];

  constructor(setup: StoreWriterSetup) {
    this.#setup = {
      inFlightMax: 64,
      waitingMax: 200_000,
      backoffMs: 100,
      backoffMsMax: 5_000,
      ...setup,
    };
  }

  /** Keys not yet as wanted in the store. */
  get pending(): number {
    return this.#waiting.size + this.#conflicted.size + this.#inFlight.size;
  }

  put(key: string, value: Uint8Array): void {
    this.#want(key, { value, isEchoed: false });
  }

  delete(key: string): void {
    const isThere = this.#revisions.has(key) || this.#inFlight.has(key);
    if (isThere) this.#want(key, { value: undefined, isEchoed: false });
    else this.#forget(key);
  }

  /** Takes back what still waits for a key, the store's own value being better. */
  yieldTo(key: string): void {
    this.#forget(key);
  }

  /** Records a change reported by the store and says what it means for the domain's own entry. */
  observe(change: Exclude<StoreChange, { kind: 'reset' }>): ObservedChange {
    const key = change.kind === 'put' ? change.entry.key : change.key;
    const revision = change.kind === 'put' ? change.entry.revision : change.revision;
    if (revision <= (this.#revisions.get(key) ?? 0)) return 'ignore';
    const inFlight = this.#inFlight.get(key);
    const wanted = this.#waiting.get(key) ?? this.#conflicted.get(key) ?? inFlight;
    if (change.kind === 'deleted') {
      this.#revisions.delete(key);
      if (inFlight !== undefined && inFlight.value === undefined) inFlight.isEchoed = true;
      // Somebody let the entry go that is registered here: ours is written again.
      return wanted === undefined ? 'apply' : 'ignore';
    }
    this.#revisions.set(key, revision);
    if (wanted === undefined) return 'apply';
    const isOurs = [wanted, inFlight].some((write) => sameBytes(write?.value, change.entry.value));
    return isOurs ? 'ignore' : 'conflict';
  }

  /** The store begins anew: no revision counts any more. */
  reset(): void {
    this.#revisions.clear();
  }

  /** Resolves when nothing waits any more. */
  async drained(): Promise<void> {
    if (this.pending > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  stop(): void {
    this.#isStopped = true;
    this.#pause?.cancel();
    this.#conflictPause?.cancel();
    this.#waiting.clear();
    this.#conflicted.clear();
  }

  #want(key: string, write: Write): void {
    if (this.#isStopped) return;
    this.#forget(key);
    if (this.#waiting.size >= this.#setup.waitingMax) this.#dropOldest();
    this.#waiting.set(key, write);
    this.#writeNext();
  }

  #forget(key: string): void {
    this.#waiting.delete(key);
    this.#conflicted.delete(key);
  }

  #dropOldest(): void {
    const oldest = this.#waiting.keys().next();
    if (oldest.done === true) return;
    this.#waiting.delete(oldest.value);
    this.#setup.log.warn('registry store fell behind, dropped a write', { key: oldest.value });
  }

  #writeNext(): void {
    if (this.#pause !== undefined || this.#isStopped) return;
    for (const [key, write] of this.#waiting) {
      if (this.#inFlight.size >= this.#setup.inFlightMax) return;
      if (this.#inFlight.has(key)) continue;
      this.#waiting.delete(key);
      this.#inFlight.set(key, write);
      void this.#write(key, write);
    }
    if (this.pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #write(key: string, write: Write): Promise<void> {
    const expected = this.#revisions.get(key) ?? 0;
    try {
      if (write.value === undefined) await this.#delete(key, write, expected);
      else this.#written(key, await this.#setup.store.put(key, write.value, expected));
      this.#inFlight.delete(key);
      this.#failures = 0;
    } catch (error) {
      this.#inFlight.delete(key);
      this.#failed(key, write, error);
    }
    this.#writeNext();
  }

  async #delete(key: string, write: Write, expected: number): Promise<void> {
    if (expected === 0) return;
    await this.#setup.store.delete(key, expected);
    if (write.isEchoed) this.#revisions.delete(key);
  }

  #written(key: string, revision: number): void {
    if (revision > (this.#revisions.get(key) ?? 0)) this.#revisions.set(key, revision);
  }

  #failed(key: string, write: Write, error: unknown): void {
    if (this.#isStopped) return;
    const { code } = asNsmError(error);
    const isSuperseded = this.#waiting.has(key);
    if (code === 'ABORTED') {
      this.#conflicts += 1;
      // A deletion that lost to a newer registration is settled; the watch brings the newer one.
      if (!isSuperseded && write.value !== undefined) this.#conflicted.set(key, write);
      this.#armConflictPause();
      return;
    }
    if (!isSuperseded) this.#waiting.set(key, write);
    this.#failures += 1;
    if (this.#failures === 1) {
      this.#setup.log.warn('registry store did not take a write, tried again later', {
        error: describeError(error),
      });
    }
    this.#pause ??= this.#setup.clock.after(this.#backoffMs(this.#failures), () => {
      this.#pause = undefined;
      this.#writeNext();
    });
  }

  /** A conflict is over once the watch has brought the newer revision, as a rule at once. */
  #armConflictPause(): void {
    this.#conflictPause ??= this.#setup.clock.after(this.#backoffMs(this.#conflicts), () => {
      this.#conflictPause = undefined;
      if (this.#conflicted.size === 0) this.#conflicts = 0;
      for (const [key, write] of this.#conflicted) this.#waiting.set(key, write);
      this.#conflicted.clear();
      this.#writeNext();
    });
  }

  #backoffMs(failures: number): number {
    const { backoffMs, backoffMsMax, random } = this.#setup;
    const capped = Math.min(backoffMs * 2 ** Math.min(failures - 1, 16), backoffMsMax);
    return capped / 2 + random.integer(Math.max(1, Math.ceil(capped / 2)));
  }
}

function sameBytes(one: Uint8Array | undefined, other: Uint8Array): boolean {
  if (one === undefined || one.length !== other.length) return false;
  return one.every((byte, index) => byte === other[index]);
}
