// When which wire is repaired. Invariants: a wire is repaired by one at a time, and again where it was harmed meanwhile;
// the first repairs come at once, then each waits longer than the one before, with jitter and a longest pause, whether
// repairs fail or somebody keeps breaking the wire; a wire that has been left in peace for a while starts anew; what has
// no history and nothing to do costs no memory.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Random } from '../../protocols/ports/random.ts';

/** `repaired`: something was missing. `gone`: there is nothing to repair any more. */
export type RepairOutcome = 'whole' | 'repaired' | 'failed' | 'gone';

export interface RepairQueueSetup {
  readonly clock: Clock;
  readonly random: Random;
  /** Never rejects. */
  readonly repair: (id: string) => Promise<RepairOutcome>;
}

/** Gathers the events of one deed before the first look. */
const gatherMs = 5;
/** Repairs that come at once before somebody is taken to keep breaking the wire. */
const freeRepairs = 3;
const pauseMs = 100;
const pauseMsMax = 30_000;
/**
 * Without harm for so long a wire starts anew: who breaks it no oftener than that keeps nobody busy. Repairs that fail
 * are no peace, however long their pauses are.
 */
const peaceMs = 5_000;
/** Repairs that run at the same time. */
const parallelMax = 32;

interface Entry {
  /** Repairs since the last time of peace. */
  repairs: number;
  /** Failures in a row. */
  failures: number;
  lastMs: number;
  timer: Timer | undefined;
  isQueued: boolean;
  isRunning: boolean;
  /** Harmed while it was being repaired. */
  isHarmedAgain: boolean;
}

export class RepairQueue {
  readonly #setup: RepairQueueSetup;
  readonly #entries = new Map<string, Entry>();
  readonly #waiting: string[] = [];
  #running = 0;
  #isClosed = false;

  constructor(setup: RepairQueueSetup) {
    this.#setup = setup;
  }

  /** Wires with something to do or a history. */
  get size(): number {
    return this.#entries.size;
  }

  /** Something may be missing of the wire. */
  add(id: string): void {
    if (this.#isClosed) return;
    const entry = this.#entries.get(id) ?? newEntry();
    this.#entries.set(id, entry);
    if (entry.isRunning) entry.isHarmedAgain = true;
    else if (entry.timer === undefined && !entry.isQueued) this.#schedule(id, entry);
  }

  /** Forgets what has been in peace for a while. */
  prune(): void {
    const nowMs = this.#setup.clock.nowMs();
    for (const [id, entry] of this.#entries) {
      const isIdle = entry.timer === undefined && !entry.isQueued && !entry.isRunning;
      if (isIdle && nowMs - entry.lastMs >= peaceMs) this.#entries.delete(id);
    }
  }

  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#entries.values()) timer?.cancel();
    this.#entries.clear();
    this.#waiting.length = 0;
  }

  #schedule(id: string, entry: Entry): void {
    entry.timer = this.#setup.clock.after(this.#delayMs(entry), () => {
      entry.timer = undefined;
      entry.isQueued = true;
      this.#waiting.push(id);
      this.#pump();
    });
  }

  #delayMs(entry: Entry): number {
    const { clock, random } = this.#setup;
    if (entry.failures === 0 && clock.nowMs() - entry.lastMs >= peaceMs) entry.repairs = 0;
    const steps = entry.failures > 0 ? entry.failures : entry.repairs - freeRepairs + 1;
    if (steps <= 0) return gatherMs;
    const full = Math.min(pauseMsMax, pauseMs * 2 ** Math.min(16, steps - 1));
    return full * (1 - random.integer(1000) / 2000);
  }

  #pump(): void {
    while (this.#running < parallelMax) {
      const id = this.#waiting.shift();
      if (id === undefined) return;
      const entry = this.#entries.get(id);
      if (entry !== undefined) void this.#run(id, entry);
    }
  }

  async #run(id: string, entry: Entry): Promise<void> {
    this.#running += 1;
    entry.isQueued = false;
    entry.isRunning = true;
    entry.isHarmedAgain = false;
    const outcome = await this.#setup.repair(id);
    this.#running -= 1;
    entry.isRunning = false;
    if (this.#isClosed) return;
    this.#settle(id, entry, outcome);
    this.#pump();
  }

  #settle(id: string, entry: Entry, outcome: RepairOutcome): void {
    entry.failures = outcome === 'failed' ? entry.failures + 1 : 0;
    if (outcome === 'repaired') entry.repairs += 1;
    if (outcome === 'repaired' || outcome === 'failed') entry.lastMs = this.#setup.clock.nowMs();
    if (outcome === 'failed' || (entry.isHarmedAgain && outcome !== 'gone')) {
      this.#schedule(id, entry);
    } else if (outcome === 'gone' || entry.repairs === 0) {
      this.#entries.delete(id);
    }
  }
}

const newEntry = (): Entry => ({
  repairs: 0,
  failures: 0,
  lastMs: -Infinity,
  timer: undefined,
  isQueued: false,
  isRunning: false,
  isHarmedAgain: false,
});
