// One line per decision. Connections are refreshed every few minutes and a refused client comes again at once: a decision
// that repeats the last one about the same thing is counted, and the count goes into the next line about it.
// Invariant: what is remembered is bounded; a count that falls out is written before.

import type { AuditEntry, AuditLog } from '../../protocols/ports/audit.ts';
import type { Clock } from '../../protocols/ports/clock.ts';

export interface AuditTrailSetup {
  readonly log: AuditLog;
  readonly clock: Clock;
  /** For so long a line stands for those that repeat it. */
  readonly grantedMs?: number;
  readonly deniedMs?: number;
  /** Decisions that are remembered. */
  readonly rememberedMax?: number;
}

interface Remembered {
  readonly entry: AuditEntry;
  readonly writtenMs: number;
  repeated: number;
}

export class AuditTrail {
  readonly #setup: Required<AuditTrailSetup>;
  readonly #remembered = new Map<string, Remembered>();
  /** Goes on where it was: from the front it would walk over all that was ever taken from there. */
  readonly #oldest = this.#remembered.keys();

  constructor(setup: AuditTrailSetup) {
    this.#setup = { grantedMs: 3_600_000, deniedMs: 600_000, rememberedMax: 20_000, ...setup };
  }

  record(entry: AuditEntry): void {
    const { clock, grantedMs, deniedMs, rememberedMax } = this.#setup;
    const key = keyOf(entry);
    const nowMs = clock.nowMs();
    const last = this.#remembered.get(key);
    if (last !== undefined) {
      const standsForMs = entry.decision === 'granted' ? grantedMs : deniedMs;
      if (nowMs - last.writtenMs < standsForMs) {
        last.repeated += 1;
        return;
      }
      this.#remembered.delete(key);
    }
    this.#write(entry, last?.repeated ?? 0);
    this.#remembered.set(key, { entry, writtenMs: nowMs, repeated: 0 });
    if (this.#remembered.size > rememberedMax) this.#forget(this.#oldest.next().value ?? '');
  }

  /** Something is over: what was counted about it is written, and what comes next is a line again. */
  ended(isAbout: Pick<AuditEntry, 'connectionId' | 'peer'>): void {
    this.#forget(keyOf({ ...emptyGrant, operation: 'Request', ...isAbout }));
  }

  /** Writes what is only counted so far. */
  close(): void {
    for (const key of this.#remembered.keys()) this.#forget(key);
  }

  #forget(key: string): void {
    const last = this.#remembered.get(key);
    this.#remembered.delete(key);
    if (last !== undefined && last.repeated > 0) this.#write(last.entry, last.repeated);
  }

  #write(entry: AuditEntry, repeated: number): void {
    this.#setup.log.write(repeated === 0 ? entry : { ...entry, repeated });
  }
}

const emptyGrant: AuditEntry = { decision: 'granted', operation: '', hop: '', self: '' };

/** What makes two decisions the same one: who, what, about what, and why. */
function keyOf({ decision, operation, peer, connectionId, name, rule }: AuditEntry): string {
  return [decision, operation, peer, connectionId, name, rule].join('\n');
}
