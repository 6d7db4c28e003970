// One line per decision. Connections are refreshed every few minutes and a refused client comes again at once: a decision
// that repeats the last one about the same thing is counted, and the count goes into the next line about it. Whoever is
// denied one thing after another gets a line each for a while, and then one per operation and rule, with their number.
// Invariant: what is remembered is bounded, in number and in time, and so are the lines that a peer can cause by being
// denied; a count that falls out is written before.

import type { AuditEntry, AuditLog, AuditRecord } from '../../protocols/ports/audit.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { DenialBudget } from './denial-budget.ts';
import { RememberedDecisions } from './remembered-decisions.ts';

export interface AuditTrailSetup {
  readonly log: AuditLog;
  readonly clock: Clock;
  /** For so long a line stands for those that repeat it. */
  readonly grantedMs?: number;
  readonly deniedMs?: number;
  /** What was granted and has not come again for so long is over: as long as tokens live, or longer. */
  readonly grantKeptMs?: number;
  /** Denials of one peer within `deniedMs` that have a line each. */
  readonly denialsPerPeerMax?: number;
  /** Decisions that are remembered: grants, Closes and denials each. */
  readonly rememberedMax?: number;
}

/**
 * A connection is over with its Close. Only whoever had no answer comes again: at once, or with the pauses of a hop that
 * was left, at most half a minute after the last time.
 */
const closeKeptMs = 60_000;

export class AuditTrail {
  readonly #clock: Clock;
  readonly #grants: RememberedDecisions;
  readonly #closes: RememberedDecisions;
  readonly #denials: RememberedDecisions;
  readonly #all: readonly RememberedDecisions[];
  readonly #budget: DenialBudget;

  constructor({
    log,
    clock,
    grantedMs = 3_600_000,
    deniedMs = 600_000,
    grantKeptMs = 600_000,
    denialsPerPeerMax = 50,
    rememberedMax = 20_000,
  }: AuditTrailSetup) {
    this.#clock = clock;
    const remembered = (standsMs: number, keepMs: number) =>
      new RememberedDecisions({ log, clock, standsMs, keepMs, countMax: rememberedMax });
    this.#grants = remembered(grantedMs, grantKeptMs);
    this.#closes = remembered(grantedMs, closeKeptMs);
    this.#denials = remembered(deniedMs, deniedMs);
    this.#all = [this.#grants, this.#closes, this.#denials];
    this.#budget = new DenialBudget({ windowMs: deniedMs, denialsPerPeerMax, rememberedMax });
  }

  /** Decisions that are remembered. */
  get size(): number {
    return this.#all.reduce((sum, { size }) => sum + size, 0);
  }

  record(entry: AuditEntry): void {
    this.#record(entry);
    // Afterwards, so that what comes again just now has one line with its count and not two.
    for (const remembered of this.#all) remembered.forgetOld();
  }

  /** Something is over: what was counted about it is written, and what comes next is a line again. */
  ended(isAbout: Pick<AuditEntry, 'connectionId' | 'peer'>): void {
    this.#grants.forget({ ...emptyGrant, operation: 'Request', ...isAbout });
  }

  /** Writes what is only counted so far. */
  close(): void {
    for (const remembered of this.#all) remembered.forgetAll();
  }

  #record(entry: AuditEntry): void {
    const remembered = this.#memoryOf(entry);
    if (remembered.isRepeated(entry)) return;
    if (entry.decision === 'granted' || this.#budget.take(entry, this.#clock.nowMs())) {
      remembered.begin(entry);
      // One that begins anew has a Close of its own.
      if (remembered === this.#grants) this.#closes.forget({ ...entry, operation: 'Close' });
      return;
    }
    const summary = summaryOf(entry);
    if (!remembered.isRepeated(summary)) remembered.begin(summary);
  }

  #memoryOf({ decision, operation }: AuditEntry): RememberedDecisions {
    if (decision !== 'granted') return this.#denials;
    return operation === 'Close' ? this.#closes : this.#grants;
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
