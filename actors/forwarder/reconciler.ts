// Keeps the data plane equal to the recorded intents: at once where the data plane tells of damage, and by a look over
// everything now and then, so that no event is relied on. Invariants: what is right stays untouched; each wire is
// repaired by its connection's own actor, in its turn among Request, refresh and Close; only what is this forwarder's
// and what an intent explains is ever repaired, the rest is for the quarantine.

import { asNsmError, describeError, type NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import {
  type Dataplane,
  namespaceRules,
  type ObservedWire,
  takenOverRule,
} from '../../protocols/ports/dataplane.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { ConnectionTable } from '../connection/connection-table.ts';
import { type Completion, notHeldRule } from './completion.ts';
import type { Quarantine } from './quarantine.ts';
import { type RepairOutcome, RepairQueue } from './repair-queue.ts';

export type Side = keyof typeof namespaceRules;

export interface ReconcilerSetup {
  readonly table: ConnectionTable;
  readonly dataplane: Dataplane;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Pause between two looks over everything; a tenth more or less at random. */
  readonly intervalMs: number;
  /** Time for one look over everything. */
  readonly lookTimeoutMs: number;
  /** Has the wire's connection put back what is missing; resolves with what was. */
  readonly repair: (id: string) => Promise<readonly string[]>;
  readonly completion: Pick<Completion, 'review'>;
  readonly onNamespaceGone: (id: string, side: Side) => void;
  /** Another forwarder carries the wire now, or its manager holds it no more. */
  readonly onOver: (id: string, reason: string) => void;
}

/** What has been repaired since the start. */
export interface RepairReport {
  readonly count: number;
  readonly last?: RepairRecord;
}

export interface RepairRecord {
  readonly connectionId: string;
  readonly found: readonly string[];
  readonly atMs: number;
}

export interface Reconciler {
  /** The data plane tells of damage. Before `start` it is kept for later. */
  onDamaged(id: string): void;
  /** Begins, once adoption is over. */
  start(): void;
  report(): RepairReport;
  close(): void;
}

export function createReconciler(setup: ReconcilerSetup): Reconciler {
  return new ForwarderReconciler(setup);
}

class ForwarderReconciler implements Reconciler {
  readonly #setup: ReconcilerSetup;
  readonly #queue: RepairQueue;
  #early: Set<string> | undefined = new Set();
  #timer: Timer | undefined;
  #isClosed = false;
  #count = 0;
  #last: RepairRecord | undefined;

  constructor(setup: ReconcilerSetup) {
    this.#setup = setup;
    const { clock, random } = setup;
    this.#queue = new RepairQueue({ clock, random, repair: (id) => this.#repair(id) });
  }

  onDamaged(id: string): void {
    if (this.#early !== undefined) this.#early.add(id);
    else if (this.#isIntended(id)) this.#queue.add(id);
  }

  start(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const id of early) this.onDamaged(id);
    this.#arm();
  }

  report(): RepairReport {
    return { count: this.#count, ...(this.#last === undefined ? {} : { last: this.#last }) };
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#queue.close();
  }

  #isIntended(id: string): boolean {
    return this.#setup.table.get(id)?.established === true;
  }

  #arm(): void {
    if (this.#isClosed) return;
    const { clock, random, intervalMs } = this.#setup;
    const delayMs = intervalMs * (0.9 + random.integer(1000) / 5000);
    this.#timer = clock.after(delayMs, () => void this.#lookOver().finally(() => this.#arm()));
  }

  async #lookOver(): Promise<void> {
    const { dataplane, table, quarantine, log, lookTimeoutMs, completion, onOver } = this.#setup;
    let observed: readonly ObservedWire[];
    try {
      observed = await dataplane.list({ timeoutMs: lookTimeoutMs });
    } catch (error) {
      log.warn('the wires could not be looked over', { error: describeError(error) });
      return;
    }
    if (this.#isClosed) return;
    const found = new Map(observed.map((wire) => [wire.id, wire]));
    for (const { connection, established } of table.all()) {
      const wire = found.get(connection.id);
      // What a later version made is not ours to touch; its connection has been told so.
      if (established && wire?.complete !== true && wire?.readable !== false) {
        this.#queue.add(connection.id);
      }
    }
    const harmed = [...found.values()].filter(({ complete }) => !complete).length;
    log.debug('looked over all wires', { wires: observed.length, notWhole: harmed });
    for (const id of await completion.review()) onOver(id, notHeldNow);
    quarantine.review(observed.filter(({ id }) => table.get(id) === undefined));
    this.#queue.prune();
  }

  async #repair(id: string): Promise<RepairOutcome> {
    if (!this.#isIntended(id)) return 'gone';
    const { clock, log, repair } = this.#setup;
    const startedMs = clock.nowMs();
    try {
      const found = await repair(id);
      if (found.length === 0) return 'whole';
      const atMs = clock.nowMs();
      this.#count += 1;
      this.#last = { connectionId: id, found, atMs };
      log.warn('a wire was harmed by somebody else and has been repaired', {
        connectionId: id,
        found,
        tookMs: Math.round(atMs - startedMs),
      });
      return 'repaired';
    } catch (thrown) {
      return this.#failed(id, asNsmError(thrown));
    }
  }

  #failed(id: string, error: NsmError): RepairOutcome {
    const { log, onNamespaceGone, onOver } = this.#setup;
    if (error.details.rule === takenOverRule) {
      onOver(id, 'another forwarder carries it');
      return 'gone';
    }
    if (error.details.rule === notHeldRule && error.code === 'NOT_FOUND') {
      onOver(id, notHeldNow);
      return 'gone';
    }
    const side = sideWithoutNamespace(error);
    if (side !== undefined) {
      onNamespaceGone(id, side);
      return 'gone';
    }
    if (!this.#isIntended(id)) return 'gone';
    log.warn('a harmed wire could not be repaired; it is tried again', {
      connectionId: id,
      error: describeError(error),
    });
    return 'failed';
  }
}

const notHeldNow = 'its manager holds it no more';

function sideWithoutNamespace({ code, details }: NsmError): Side | undefined {
  if (code !== 'NOT_FOUND') return undefined;
  const sides: readonly Side[] = ['client', 'endpoint'];
  return sides.find((side) => namespaceRules[side] === details.rule);
}
