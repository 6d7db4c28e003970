// How many denials of one peer get a line each. Ids and names in a call are the caller's choice, so a peer that is denied
// can make each denial a new one. Those who prove nothing share one budget.

import type { AuditEntry } from '../../protocols/ports/audit.ts';

export interface DenialBudgetSetup {
  readonly windowMs: number;
  readonly denialsPerPeerMax: number;
  /** Peers that are remembered. */
  readonly rememberedMax: number;
}

interface Spent {
  readonly sinceMs: number;
  lines: number;
}

export class DenialBudget {
  readonly #setup: DenialBudgetSetup;
  readonly #spent = new Map<string, Spent>();

  constructor(setup: DenialBudgetSetup) {
    this.#setup = setup;
  }

  /** False where the peer has had its lines. */
  take({ peer = '' }: AuditEntry, nowMs: number): boolean {
    const { windowMs, denialsPerPeerMax, rememberedMax } = this.#setup;
    let spent = this.#spent.get(peer);
    if (spent === undefined || nowMs - spent.sinceMs >= windowMs) {
      spent = { sinceMs: nowMs, lines: 0 };
      // Back to the end, so that the first is the oldest.
      this.#spent.delete(peer);
      this.#spent.set(peer, spent);
    }
    if (this.#spent.size > rememberedMax) this.#spent.delete(this.#spent.keys().next().value ?? '');
    spent.lines += 1;
    return spent.lines <= denialsPerPeerMax;
  }
}
