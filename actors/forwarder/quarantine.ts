// Wires in the data plane that no recorded intent explains. A missing intent is no proof of an orphan: the record may be
// what was lost. Invariants: a held wire stays untouched until a refresh claims it, a namespace of it ends, or the last
// expiry that it may have had has passed; what a later version of vwire made is held for as long as it is there.

import { describeError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Dataplane, ObservedWire } from '../../protocols/ports/dataplane.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ConnectionTable } from '../connection/connection-table.ts';

export interface QuarantineSetup {
  readonly table: ConnectionTable;
  readonly dataplane: Dataplane;
  readonly clock: Clock;
  readonly log: Log;
  /** Time for taking wires away. */
  readonly wireTimeoutMs: number;
  /** Longest that an unexplained wire may still be worth something: the maximum token lifetime. */
  readonly quarantineMs: number;
}

type Unexplained = Pick<ObservedWire, 'id' | 'readable'>;

export interface Quarantine {
  /** Those that no refresh has claimed yet. */
  ids(): readonly string[];
  /** Holds what a start found. */
  hold(wires: readonly Unexplained[]): void;
  /** What a later look found, all of it: a wire is held once two looks in a row could not explain it. */
  review(wires: readonly Unexplained[]): void;
  /** A namespace of the wire has ended: a held one is then of no use to anybody and is removed. */
  onNamespaceGone(id: string): void;
  /** Leaves the rest as it is. */
  close(): void;
}

/** Before a removal that failed is tried again. */
const retryMs = 10_000;

export function createQuarantine(setup: QuarantineSetup): Quarantine {
  return new WireQuarantine(setup);
}

class WireQuarantine implements Quarantine {
  readonly #setup: QuarantineSetup;
  /** Until when each is held; no end for what cannot be read. */
  readonly #held = new Map<string, number>();
  #seenOnce: ReadonlySet<string> = new Set();
  #timer: Timer | undefined;

  constructor(setup: QuarantineSetup) {
    this.#setup = setup;
  }

  ids(): readonly string[] {
    return [...this.#held.keys()].filter((id) => !this.#isClaimed(id));
  }

  hold(wires: readonly Unexplained[]): void {
    const { clock, log, quarantineMs } = this.#setup;
    if (wires.length === 0) return;
    const untilMs = clock.nowMs() + quarantineMs;
    for (const { id, readable } of wires) this.#held.set(id, readable ? untilMs : Infinity);
    log.warn('wires that no intent explains', { wires: wires.length });
    this.#arm();
  }

  review(wires: readonly Unexplained[]): void {
    const there = new Set(wires.map(({ id }) => id));
    for (const id of this.#held.keys()) if (!there.has(id)) this.#held.delete(id);
    const strange = wires.filter(({ id }) => !this.#held.has(id));
    // What is just being taken down has no intent for a moment.
    this.hold(strange.filter(({ id }) => this.#seenOnce.has(id)));
    this.#seenOnce = new Set(strange.map(({ id }) => id));
    this.#arm();
  }

  onNamespaceGone(id: string): void {
    const untilMs = this.#held.get(id);
    if (untilMs === undefined || untilMs === Infinity || this.#isClaimed(id)) return;
    this.#remove([id], 'a quarantined wire ended: a namespace of it is gone');
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #isClaimed(id: string): boolean {
    return this.#setup.table.get(id) !== undefined;
  }

  /** One timer, for whichever ends first. */
  #arm(): void {
    this.close();
    const firstMs = Math.min(...this.#held.values());
    if (firstMs === Infinity) return;
    const delayMs = Math.max(0, firstMs - this.#setup.clock.nowMs());
    this.#timer = this.#setup.clock.after(delayMs, () => this.#onEnd());
  }

  #onEnd(): void {
    const nowMs = this.#setup.clock.nowMs();
    const over = [...this.#held].flatMap(([id, untilMs]) => (untilMs <= nowMs ? [id] : []));
    const orphans = over.filter((id) => !this.#isClaimed(id));
    for (const id of over) this.#held.delete(id);
    if (orphans.length > 0) {
      this.#remove(orphans, 'quarantined wires ended: no expiry can still hold them');
    }
    this.#arm();
  }

  #remove(ids: readonly string[], why: string): void {
    const { clock, dataplane, log, wireTimeoutMs } = this.#setup;
    for (const id of ids) this.#held.delete(id);
    log.info(why, { wires: ids.length });
    dataplane.remove(ids, { timeoutMs: wireTimeoutMs }).catch((error: unknown) => {
      // Seen as quarantined again, so that a person finds them, and the next attempt does.
      const untilMs = clock.nowMs() + retryMs;
      for (const id of ids) this.#held.set(id, untilMs);
      log.error('quarantined wires could not be removed', { error: describeError(error) });
      this.#arm();
    });
  }
}
