// One line per decision. Connections are refreshed every few minutes and a refused client comes again at once: a decision
// that repeats the last one about the same thing is counted, and the count goes into the next line about it. Whoever is
// denied one thing after another gets a line each for a while, and then one per operation and rule, with their number.
// Invariant: what is remembered is bounded, and so are the lines that a peer can cause by being denied; a count that falls
// out is written before.

import type { AuditEntry, AuditLog, AuditRecord } from '../../protocols/ports/audit.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import { DenialBudget } from './denial-budget.ts';

export interface AuditTrailSetup {
  readonly log: AuditLog;
  readonly clock: Clock;
  /** For so long a line stands for those that repeat it. */
  readonly grantedMs?: number;
  readonly deniedMs?: number;
  /** Denials of one peer within `deniedMs` that have a line each. */
  readonly denialsPerPeerMax?: number;
  /** Decisions that are remembered. */
  readonly rememberedMax?: number;
}

interface Remembered {
  readonly entry: AuditRecord;
  readonly writtenMs: number;
  repeated: number;
  /** Writes the number of a summary when its time is over: its peer may never come again. */
  timer?: Timer;
}

export class AuditTrail {
  readonly #setup: Required<AuditTrailSetup>;
  readonly #remembered = new Map<string, Remembered>();
  readonly #budget: DenialBudget;
  /** Goes on where it was: from the front it would walk over all that was ever taken from there. */
  readonly #oldest = this.#remembered.keys();

  constructor(setup: AuditTrailSetup) {
    this.#setup = {
      grantedMs: 3_600_000,
      deniedMs: 600_000,
      denialsPerPeerMax: 50,
      rememberedMax: 20_000,
      ...setup,
    };
    const { deniedMs, denialsPerPeerMax, rememberedMax } = this.#setup;
    this.#budget = new DenialBudget({ windowMs: deniedMs, denialsPerPeerMax, rememberedMax });
  }

  record(entry: AuditEntry): void {
    const { clock, deniedMs } = this.#setup;
    const nowMs = clock.nowMs();
    if (this.#isRepeated(entry, nowMs)) return;
    if (entry.decision === 'granted' || this.#budget.take(entry, nowMs)) {
      this.#begin(entry, nowMs);
      return;
    }
    const summary = summaryOf(entry);
    if (this.#isRepeated(summary, nowMs)) return;
    const begun = this.#begin(summary, nowMs);
    begun.timer = clock.after(deniedMs, () => this.#forget(keyOf(summary)));
  }

  /** Something is over: what was counted about it is written, and what comes next is a line again. */
  ended(isAbout: Pick<AuditEntry, 'connectionId' | 'peer'>): void {
    this.#forget(keyOf({ ...emptyGrant, operation: 'Request', ...isAbout }));
  }

  /** Writes what is only counted so far. */
  close(): void {
    for (const key of this.#remembered.keys()) this.#forget(key);
  }

  /** Counts it where the last line about the same still stands for it. */
  #isRepeated(entry: AuditEntry, nowMs: number): boolean {
    const { grantedMs, deniedMs } = this.#setup;
    const last = this.#remembered.get(keyOf(entry));
    const standsForMs = entry.decision === 'granted' ? grantedMs : deniedMs;
    if (last === undefined || nowMs - last.writtenMs >= standsForMs) return false;
    last.repeated += 1;
    return true;
  }

  #begin(entry: AuditRecord, nowMs: number): Remembered {
    const key = keyOf(entry);
    const last = this.#remembered.get(key);
    last?.timer?.cancel();
    this.#remembered.delete(key);
    this.#write(entry, last?.repeated ?? 0);
    const begun: Remembered = { entry, writtenMs: nowMs, repeated: 0 };
    this.#remembered.set(key, begun);
    if (this.#remembered.size > this.#setup.rememberedMax) {
      this.#forget(this.#oldest.next().value ?? '');
    }
    return begun;
  }

  #forget(key: string): void {
    const last = this.#remembered.get(key);
    last?.timer?.cancel();
    this.#remembered.delete(key);
    if (last !== undefined && last.repeated > 0) this.#write(last.entry, last.repeated);
  }

  #write(entry: AuditRecord, repeated: number): void {
    this.#setup.log.write(repeated === 0 ? entry : { ...entry, repeated });
  }
}

const emptyGrant: AuditEntry = { decision: 'granted', operation: '', hop: '', self: '' };

/** Of all that a peer is denied by one rule: what they have in common. */
function summaryOf({ decision, operation, hop, self, ...entry }: AuditEntry): AuditRecord {
  const { peer, rule } = entry;
  return {
    decision,
    operation,
    hop,
    self,
    ...(peer === undefined ? {} : { peer }),
    ...(rule === undefined ? {} : { rule }),
    isSummary: true,
  };
}

/** What makes two decisions the same one: who, what, about what, and why. */
function keyOf({ decision, operation, peer, connectionId, name, rule }: AuditEntry): string {
  return [decision, operation, peer, connectionId, name, rule].join('\n');
}
