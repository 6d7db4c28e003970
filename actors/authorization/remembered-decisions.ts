// Decisions of one kind that have a line, so that what repeats them is counted and not written again.
// Invariants: bounded in number, and in time since each came last; a count that falls out is written before.

import type { AuditEntry, AuditLog, AuditRecord } from '../../protocols/ports/audit.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';

export interface RememberedDecisionsSetup {
  readonly clock: Clock;
  /** For so long a line stands for those that repeat it. */
  readonly standsMs: number;
  /** What has not come again for so long is forgotten, by the next call of `forgetOld`; at the latest after twice that. */
  readonly keepMs: number;
  readonly countMax: number;
  readonly log: AuditLog;
}

interface Remembered {
  readonly entry: AuditRecord;
  readonly writtenMs: number;
  lastMs: number;
  /** When it went to the back. */
  queuedMs: number;
  repeated: number;
  /** Writes the number of a summary when its time is over: its peer may never come again. */
  timer?: Timer;
}

export class RememberedDecisions {
  readonly #setup: RememberedDecisionsSetup;
  /** To be looked at in this order: what has come again since goes to the back, once and not each time. */
  readonly #all = new Map<string, Remembered>();
  /** Goes on where it was: from the front it would walk over all that was ever taken from there. */
  #fromOldest = this.#all.entries();
  #oldest: readonly [key: string, Remembered] | undefined;

  constructor(setup: RememberedDecisionsSetup) {
    this.#setup = setup;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Counts it where the last line about the same still stands for it. */
  isRepeated(entry: AuditRecord): boolean {
    const nowMs = this.#setup.clock.nowMs();
    const last = this.#all.get(keyOf(entry));
    if (last === undefined || nowMs - last.writtenMs >= this.#setup.standsMs) return false;
    last.repeated += 1;
    last.lastMs = nowMs;
    return true;
  }

  /** Writes a line, with what was counted since the last one about the same. */
  begin(entry: AuditRecord): void {
    const { clock, countMax, standsMs } = this.#setup;
    const key = keyOf(entry);
    const last = this.#all.get(key);
    last?.timer?.cancel();
    this.#all.delete(key);
    this.#write(entry, last?.repeated ?? 0);
    const nowMs = clock.nowMs();
    const times = { writtenMs: nowMs, lastMs: nowMs, queuedMs: nowMs };
    const begun: Remembered = { entry, ...times, repeated: 0 };
    this.#all.set(key, begun);
    if (entry.isSummary) begun.timer = clock.after(standsMs, () => this.#forget(key));
    const oldest = this.#all.size > countMax ? this.#peek() : undefined;
    if (oldest !== undefined) this.#forget(oldest[0]);
  }

  forget(entry: AuditRecord): void {
    this.#forget(keyOf(entry));
  }

  forgetOld(): void {
    const nowMs = this.#setup.clock.nowMs();
    const endedMs = nowMs - this.#setup.keepMs;
    for (let next = this.#peek(); next !== undefined; next = this.#peek()) {
      const [key, remembered] = next;
      if (remembered.queuedMs > endedMs) return;
      if (remembered.lastMs <= endedMs) {
        this.#forget(key);
        continue;
      }
      remembered.queuedMs = nowMs;
      this.#all.delete(key);
      this.#all.set(key, remembered);
      this.#oldest = undefined;
    }
  }

  forgetAll(): void {
    for (const key of this.#all.keys()) this.#forget(key);
  }

  #peek(): readonly [key: string, Remembered] | undefined {
    while (this.#oldest === undefined || this.#all.get(this.#oldest[0]) !== this.#oldest[1]) {
      const { value, done } = this.#fromOldest.next();
      if (done === true) {
        // All were taken, and an iterator that has ended does not see what comes.
        this.#fromOldest = this.#all.entries();
        return (this.#oldest = undefined);
      }
      this.#oldest = value;
    }
    return this.#oldest;
  }

  #forget(key: string): void {
    const last = this.#all.get(key);
    last?.timer?.cancel();
    this.#all.delete(key);
    if (last !== undefined && last.repeated > 0) this.#write(last.entry, last.repeated);
  }

  #write(entry: AuditRecord, repeated: number): void {
    this.#setup.log.write(repeated === 0 ? entry : { ...entry, repeated });
  }
}

/** What makes two decisions the same one: who, what, about what, and why. */
function keyOf({ decision, operation, peer, connectionId, name, rule }: AuditEntry): string {
  return [decision, operation, peer, connectionId, name, rule].join('\n');
}
