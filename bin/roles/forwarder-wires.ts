// What a forwarder does with its wires beside what it is asked for: it adopts those of an earlier life, hands them to
// their connections, keeps them repaired, and tells a connection when a namespace of its wire has ended.
// Invariant: what happens to a wire before its connection is there is told to it then.

import { type Adoption, adoptWires } from '../../actors/forwarder/adoption.ts';
import type { Completion } from '../../actors/forwarder/completion.ts';
import { createQuarantine, type Quarantine } from '../../actors/forwarder/quarantine.ts';
import {
  createReconciler,
  type RepairReport,
  type Side,
} from '../../actors/forwarder/reconciler.ts';
import type { TunnelPorts } from '../../actors/forwarder/tunnel-ports.ts';
import type { VniTable } from '../../actors/forwarder/vni-table.ts';
import type { ConnectionDirectory } from '../../actors/connection/connection-directory.ts';
import type { ConnectionTable } from '../../actors/connection/connection-table.ts';
import { farEndOf } from '../../protocols/nsm/far-end.ts';
import { isWorkloadEnd } from '../../protocols/nsm/mechanism.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import type { Platform } from './platform.ts';

export interface WiresSetup {
  readonly name: string;
  readonly table: ConnectionTable;
  readonly dataplane: Dataplane;
  readonly completion: Completion;
  readonly vnis: VniTable;
  readonly tunnelPorts: TunnelPorts;
  readonly tunnelKeys: TunnelKeys | undefined;
  /** Longest that a wire without a record may still be worth something. */
  readonly quarantineMs: number;
  readonly reconcileIntervalMs: number;
  readonly keepsExpired: boolean;
}

export interface ForwarderWires {
  /** Hands the adopted connections to their actors once all are adopted, and looks after them from then on. */
  takeUp(directory: ConnectionDirectory): Promise<void>;
  quarantined(): readonly string[];
  repairs(): RepairReport;
  /** Adopts and repairs no more; wires stay as they are. */
  close(): void;
  unwatch(): void;
}

/** Time for one wire. */
const wireTimeoutMs = 10_000;

/** Resolves as soon as it is known what there is. */
export async function findWires(platform: Platform, setup: WiresSetup): Promise<ForwarderWires> {
  const { clock, log } = platform;
  const { name, table, dataplane, quarantineMs, keepsExpired } = setup;
  const { completion, vnis, tunnelPorts, tunnelKeys } = setup;
  const shared = { table, dataplane, clock, log, wireTimeoutMs };
  const quarantine = createQuarantine({ ...shared, quarantineMs });
  const adoption = await adoptWires({
    ...shared,
    name,
    completion,
    vnis,
    tunnelPorts,
    tunnelKeys,
    quarantine,
    keepsExpired,
  });
  return new Wires(platform, setup, { quarantine, adoption });
}

interface Found {
  readonly quarantine: Quarantine;
  readonly adoption: Adoption;
}

interface DeadEnd {
  readonly id: string;
  readonly side: Side;
}

class Wires implements ForwarderWires {
  readonly #setup: WiresSetup;
  readonly #found: Found;
  readonly #reconciler;
  readonly unwatch: () => void;
  #directory: ConnectionDirectory | undefined;
  /** Ends that died before their connections were there. */
  #early: DeadEnd[] = [];

  constructor(platform: Platform, setup: WiresSetup, found: Found) {
    this.#setup = setup;
    this.#found = found;
    const { clock, log, random } = platform;
    const { table, dataplane, completion, reconcileIntervalMs } = setup;
    this.#reconciler = createReconciler({
      table,
      completion,
      dataplane,
      clock,
      log,
      random,
      quarantine: found.quarantine,
      intervalMs: reconcileIntervalMs,
      lookTimeoutMs: wireTimeoutMs,
      repair: async (id) => {
        const { signal } = new AbortController();
        const call = { deadlineMs: clock.nowMs() + wireTimeoutMs, signal, headers: {} };
        return (await this.#directory?.repair(id, call)) ?? [];
      },
      onNamespaceGone: (id, side) => this.#onNamespaceGone({ id, side }),
      onOver: (id, reason) => this.#directory?.tell(id, { type: 'wireGone', reason }),
    });
    this.unwatch = dataplane.watch((event) => {
      if (event.kind === 'damaged') this.#reconciler.onDamaged(event.wireId);
      if (event.kind !== 'namespaceGone') return;
      found.quarantine.onNamespaceGone(event.wireId);
      this.#onNamespaceGone({ id: event.wireId, side: event.side });
    });
  }

  async takeUp(directory: ConnectionDirectory): Promise<void> {
    const { intents, incomplete } = await this.#found.adoption.finished;
    directory.adopt(intents);
    this.#directory = directory;
    const missed = this.#early;
    this.#early = [];
    for (const end of missed) this.#onNamespaceGone(end);
    for (const id of incomplete) this.#reconciler.onDamaged(id);
    this.#reconciler.start();
  }

  quarantined(): readonly string[] {
    return this.#found.quarantine.ids();
  }

  repairs(): RepairReport {
    return this.#reconciler.report();
  }

  close(): void {
    this.#found.adoption.close();
    this.#found.quarantine.close();
    this.#reconciler.close();
  }

  /** A client whose namespace is gone needs no wire; an Endpoint whose namespace is gone the client may leave. */
  #onNamespaceGone(end: DeadEnd): void {
    const { id, side } = end;
    if (this.#directory === undefined) {
      this.#early.push(end);
      return;
    }
    const connection = this.#setup.table.get(id)?.connection;
    if (connection === undefined) return;
    const clientIsGone = side === 'client' && isWorkloadEnd(connection.mechanism);
    this.#directory.tell(
      id,
      clientIsGone
        ? { type: 'wireGone', reason: 'the namespace of the client is gone' }
        : { type: 'farEndGone', end: farEndOf(connection) },
    );
  }
}
