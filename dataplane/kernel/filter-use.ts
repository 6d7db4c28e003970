// When the owner's VXLAN source filter is there: made with the first tunnel, gone with the last.
// Invariant: the table is never removed while a program that relies on it is under way; programs run in the order
// in which they were handed over, so deciding and handing over in one turn is enough.

import type { Budget, VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type {
  Netlink,
  NetlinkAnswer,
  NetlinkOutcome,
  NetlinkStep,
} from '../../protocols/ports/netlink.ts';
import type { Inventory } from './observe.ts';
import { vxlanEndOf } from './observe.ts';
import { run } from './run.ts';
import {
  type FoundFilter,
  dumpFilter,
  filterBase,
  findEntries,
  forbidSource,
  readEntries,
  readFilter,
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
  /** Takes away what belongs to no tunnel that is there. Returns the indexes of tunnels that it does not cover. */
  prune(inventory: Inventory, since: number, budget: Budget): Promise<ReadonlySet<number>>;
  /** Taken before an inventory and handed to `prune` with it: what has been made since is not in it. */
  readonly mark: number;
  /** The step that tells whether the filter works for the tunnel; `isCovered` says what its answers mean. */
  reading(end: VxlanEnd): NetlinkStep;
  isCovered(answers: readonly NetlinkAnswer[]): boolean;
  /** Those of the tunnels that it does not work for. */
  uncovered(ends: readonly VxlanEnd[], budget: Budget): Promise<readonly VxlanEnd[]>;
}

export function createFilterUse(netlink: Netlink, table: string): FilterUse {
  return new TableUse(netlink, table);
}

class TableUse implements FilterUse {
  readonly #netlink: Netlink;
  readonly #table: string;
  #isReady = false;
  #underWay = 0;
  /** Programs that have been handed over. */
  #handedOver = 0;
  /** Before everything of ours has been listed, tunnels of an earlier process may rely on the table. */
  #hasSeenAll = false;
  /** Live tunnels by the key of their device. */
  readonly #live = new Set<string>();

  constructor(netlink: Netlink, table: string) {
    this.#netlink = netlink;
    this.#table = table;
  }

  get mark(): number {
    return this.#handedOver;
  }

  async execute(
    program: readonly NetlinkStep[],
    wanted: readonly VxlanEnd[],
    budget: Budget,
  ): Promise<NetlinkOutcome> {
    this.#underWay++;
    this.#handedOver++;
    const prefix = this.#base();
    let outcome: NetlinkOutcome;
    try {
      outcome = await this.#netlink.execute([...prefix, ...program], budget);
    } finally {
      this.#underWay--;
    }
    if (outcome.ok) {
      this.#isReady = true;
      // In the same turn: whoever ends another tunnel meanwhile must not take this one's table along.
      for (const end of wanted) this.#live.add(deviceKey(end));
      return { ok: true, answers: outcome.answers.slice(prefix.length) };
    }
    // Somebody else may have taken anything away: the next tunnel makes all of it sure.
    this.#isReady = false;
    if (this.#isUnused()) await this.#netlink.execute([removeFilter(this.#table)], budget);
    const { failure } = outcome;
    return { ok: false, failure: { ...failure, step: failure.step - prefix.length } };
  }

  async release(
    ended: readonly EndState[],
    remaining: readonly EndState[],
    budget: Budget,
  ): Promise<void> {
    for (const end of tunnels(remaining)) this.#live.add(deviceKey(end));
    const kept = new Set(tunnels(remaining).map(sourceKey));
    const keptDevices = new Set(tunnels(remaining).map(deviceKey));
    const gone = tunnels(ended).filter((end) => !kept.has(sourceKey(end)));
    if (gone.length === 0) return;
    const steps = gone.flatMap((end) => {
      const keepsVni = keptDevices.has(deviceKey(end));
      if (!keepsVni) this.#live.delete(deviceKey(end));
      return forbidSource(this.#table, end, keepsVni);
    });
    const isLast = this.#isUnused();
    if (isLast) this.#isReady = false;
    await run(this.#netlink, isLast ? [removeFilter(this.#table)] : steps, budget);
  }

  async prune(inventory: Inventory, since: number, budget: Budget): Promise<ReadonlySet<number>> {
    this.#hasSeenAll = true;
    const found = [...inventory.byWire.values()].flatMap((links) =>
      links.flatMap(({ link, tag }) =>
        link.vxlan === undefined ? [] : [{ index: link.index, end: vxlanEndOf(link, tag) }],
      ),
    );
    const ends = found.map(({ end }) => end);
    // Tunnels that have been made meanwhile, or are being made, have entries and are not in the inventory.
    const isStill = () => this.#underWay === 0 && this.#handedOver === since;
    if (isStill()) this.#live.clear();
    for (const end of ends) this.#live.add(deviceKey(end));
    if (ends.length === 0) {
      if (!isStill()) return new Set();
      this.#isReady = false;
      await run(this.#netlink, [removeFilter(this.#table)], budget);
      return new Set();
    }
    const filter = await this.#read(budget);
    const steps = filter.prune(ends);
    if (steps.length > 0 && isStill()) await run(this.#netlink, steps, budget);
    const lacking = found.filter(({ end }) => !filter.hasRules || !filter.allows(end));
    return new Set(lacking.map(({ index }) => index));
  }

  reading(end: VxlanEnd): NetlinkStep {
    return findEntries(this.#table, end);
  }

  isCovered(answers: readonly NetlinkAnswer[]): boolean {
    const isCovered = readEntries(answers);
    if (!isCovered) this.#isReady = false;
    return isCovered;
  }

  async uncovered(ends: readonly VxlanEnd[], budget: Budget): Promise<readonly VxlanEnd[]> {
    const filter = await this.#read(budget);
    return filter.hasRules ? ends.filter((end) => !filter.allows(end)) : ends;
  }

  #base(): NetlinkStep[] {
    return this.#isReady ? [] : [{ protocol: 'netfilter', requests: filterBase(this.#table) }];
  }

  #isUnused(): boolean {
    return this.#hasSeenAll && this.#live.size === 0 && this.#underWay === 0;
  }

  async #read(budget: Budget): Promise<FoundFilter> {
    const dumped = await run(this.#netlink, [dumpFilter(this.#table)], budget);
    const found = readFilter(
      this.#table,
      (dumped[0] ?? []).map(({ messages }) => messages),
    );
    if (!found.hasRules) this.#isReady = false;
    return found;
  }
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
