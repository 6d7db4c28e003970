// When the owner's VXLAN source filter is there: made with the first tunnel, gone with the last.
// Invariant: the table is never removed while a program that relies on it is under way; programs run in the order
// in which they were handed over, so deciding and handing over in one turn is enough.

import type { Budget, VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkOutcome, NetlinkStep } from '../../protocols/ports/netlink.ts';
import type { Inventory } from './observe.ts';
import { vxlanEndOf } from './observe.ts';
import { run } from './run.ts';
import {
  dumpFilter,
  filterBase,
  forbidSource,
  pruneFilter,
  removeFilter,
} from './source-filter.ts';
import type { EndState } from './wire-state.ts';

export interface FilterUse {
  /** Runs a program that adds `wanted` tunnels to the filter. */
  execute(
    program: readonly NetlinkStep[],
    wanted: readonly VxlanEnd[],
    budget: Budget,
  ): Promise<NetlinkOutcome>;
  /** Takes the entries of ended tunnels away, but for those that `remaining` ends still need. */
  release(
    ended: readonly EndState[],
    remaining: readonly EndState[],
    budget: Budget,
  ): Promise<void>;
  /** Takes away what belongs to no tunnel that is there. */
  prune(inventory: Inventory, budget: Budget): Promise<void>;
}

export function createFilterUse(netlink: Netlink, table: string): FilterUse {
  let isReady = false;
  let underWay = 0;
  /** Before everything of ours has been listed, tunnels of an earlier process may rely on the table. */
  let hasSeenAll = false;
  /** Live tunnels by the key of their device. */
  const live = new Set<string>();

  const base = (): NetlinkStep[] =>
    isReady ? [] : [{ protocol: 'netfilter', requests: filterBase(table) }];

  const isUnused = (): boolean => hasSeenAll && live.size === 0 && underWay === 0;

  return {
    async execute(program, wanted, budget) {
      underWay++;
      const prefix = base();
      let outcome: NetlinkOutcome;
      try {
        outcome = await netlink.execute([...prefix, ...program], budget);
      } finally {
        underWay--;
      }
      if (outcome.ok) {
        isReady = true;
        // In the same turn: whoever ends another tunnel meanwhile must not take this one's table along.
        for (const end of wanted) live.add(deviceKey(end));
        return { ok: true, answers: outcome.answers.slice(prefix.length) };
      }
      if (isUnused()) {
        isReady = false;
        await netlink.execute([removeFilter(table)], budget);
      }
      const { failure } = outcome;
      return { ok: false, failure: { ...failure, step: failure.step - prefix.length } };
    },

    async release(ended, remaining, budget) {
      for (const end of tunnels(remaining)) live.add(deviceKey(end));
      const kept = new Set(tunnels(remaining).map(sourceKey));
      const keptDevices = new Set(tunnels(remaining).map(deviceKey));
      const gone = tunnels(ended).filter((end) => !kept.has(sourceKey(end)));
      if (gone.length === 0) return;
      const steps = gone.flatMap((end) => {
        const keepsVni = keptDevices.has(deviceKey(end));
        if (!keepsVni) live.delete(deviceKey(end));
        return forbidSource(table, end, keepsVni);
      });
      const isLast = isUnused();
      if (isLast) isReady = false;
      await run(netlink, isLast ? [removeFilter(table)] : steps, budget);
    },

    async prune(inventory, budget) {
      hasSeenAll = true;
      const ends = [...inventory.byWire.values()].flatMap((links) =>
        links.flatMap(({ link, tag }) => (link.vxlan === undefined ? [] : [vxlanEndOf(link, tag)])),
      );
      for (const end of ends) live.add(deviceKey(end));
      // Tunnels that are being made have entries before they can be seen.
      if (underWay > 0) return;
      if (ends.length === 0) {
        live.clear();
        isReady = false;
        await run(netlink, [removeFilter(table)], budget);
        return;
      }
      const dumped = await run(netlink, [dumpFilter(table)], budget);
      const steps = pruneFilter(
        table,
        (dumped[0] ?? []).map(({ messages }) => messages),
        ends,
      );
      if (steps.length > 0 && underWay === 0) await run(netlink, steps, budget);
    },
  };
}

function tunnels(ends: readonly EndState[]): VxlanEnd[] {
  return ends.flatMap(({ end, tag }) => {
    if (end?.kind !== 'vxlan') return [];
    return [{ ...end, remoteIp: end.remoteIp === '' ? (tag.remoteIp ?? '') : end.remoteIp }];
  });
}

const familyOf = (ip: string) => (ip.includes(':') ? 6 : 4);
const deviceKey = (end: VxlanEnd) => `${familyOf(end.localIp)} ${end.localPort} ${end.vni}`;
const sourceKey = (end: VxlanEnd) => `${deviceKey(end)} ${end.remoteIp}`;
