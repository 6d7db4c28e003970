// Keeps the flows equal to what the database says: after the switch came back with none, and where somebody else took
// some away. NSM concept: none; the reference's forwarder clears its bridge when it starts.
// Invariants: a wire that is being changed is left to whoever changes it, and looked at afterwards, as one of those that
// are free by then; all others are put right in one bundle; what is right is not touched.

import type { FlowMod } from '../../protocols/ovs/flow.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import type { Switch } from './switch.ts';
import type { SwitchRows } from './switch-rows.ts';
import type { Owner } from './tags.ts';
import { tagVersionOf, wireCookie } from './tags.ts';
import { flowChanges } from './wire-flows.ts';
import { flowsFromRows } from './wire-judgement.ts';
import { versionsOf } from './wire-join.ts';

export interface FlowKeeperSetup {
  readonly owner: Owner;
  readonly switch: Switch;
  readonly rows: SwitchRows;
  readonly locks: WireLocks;
  /** As in `Joinery`. */
  readonly making: ReadonlySet<bigint>;
}

export interface FlowKeeper {
  /** Puts back what is missing of all wires, and takes away flows of this owner that belong to none. */
  restore(budget: Budget): Promise<void>;
}

export function createFlowKeeper(setup: FlowKeeperSetup): FlowKeeper {
  const { owner, rows, locks, making } = setup;
  const bridge = setup.switch;

  const isReadable = (id: string): boolean =>
    versionsOf(rows.of(id)).every((version) => version <= tagVersionOf(owner));

  /** Holds all of these locks, so nobody else changes their rows meanwhile. */
  const restoreHeld = async (ids: readonly string[], isAll: boolean, budget: Budget) => {
    const found = new Map<bigint, Awaited<ReturnType<Switch['flows']>>[number][]>();
    const [only] = ids;
    const flows =
      isAll || only === undefined
        ? await bridge.flows(budget)
        : await bridge.flowsOf(wireCookie(owner, only), budget);
    for (const flow of flows) found.set(flow.cookie, [...(found.get(flow.cookie) ?? []), flow]);
    const changes: FlowMod[] = [];
    for (const id of ids.filter(isReadable)) {
      const cookie = wireCookie(owner, id);
      const wanted = flowsFromRows(owner, id, rows.of(id));
      if (wanted !== undefined) {
        changes.push(...flowChanges(found.get(cookie) ?? [], Object.values(wanted)));
      }
    }
    if (isAll) {
      // A wire that is not being made has rows for as long as it has flows: flows without rows are nobody's.
      const cookies = new Set([...making, ...rows.wireIds().map((id) => wireCookie(owner, id))]);
      for (const [cookie, orphans] of found) {
        if (!cookies.has(cookie)) changes.push(...flowChanges(orphans, []));
      }
    }
    await bridge.commit(changes, budget);
  };

  return {
    async restore(budget) {
      await rows.ready(budget);
      const ids = rows.wireIds();
      const free = ids.filter((id) => !locks.isHeld(id));
      const held = ids.filter((id) => locks.isHeld(id));
      await Promise.all([
        locks.hold(free, () => restoreHeld(free, true, budget)),
        ...held.map((id) => locks.hold([id], () => restoreHeld([id], false, budget))),
      ]);
    },
  };
}
