// The kernel data plane: wires of veth pairs and VXLAN devices, joined in the node's namespace, over netlink.
// NSM concept: a forwarder's data plane (cmd-forwarder-vpp's kernel side). One driver per installation and forwarder.
// Invariants: the client's end lives as long as the wire; an operation either succeeds or leaves what was there
// before; the kernel's links and tags are the truth, memory only saves looking; others' objects are never touched.

import { NsmError } from '../../protocols/errors.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type {
  Budget,
  Dataplane,
  DataplaneCapabilities,
  DataplaneEvent,
  ObservedWire,
  VxlanEnd,
  Wire,
  WireStatistics,
} from '../../protocols/ports/dataplane.ts';
import type { LinkEvent, Netlink, NetlinkFailure } from '../../protocols/ports/netlink.ts';
import { checkWire } from '../../protocols/netlink/check-wire.ts';
import type { CrossConnect } from './cross-connect.ts';
import { bridgeCrossConnect, redirectCrossConnect } from './cross-connect.ts';
import { createFilterUse } from './filter-use.ts';
import type { Inventory } from './observe.ts';
import { bareState, observeWire, takeInventory } from './observe.ts';
import type { Owner } from './owner.ts';
import { marksOf } from './owner.ts';
import type { KernelFeatures } from './probe.ts';
import { missingLines, noWayToJoin, probeFeatures } from './probe.ts';
import { createRemovals } from './removals.ts';
import { failureError } from './run.ts';
import { readStatistics } from './statistics.ts';
import { chooseMtu } from './underlay-mtu.ts';
import { describeObserved } from './describe-observed.ts';
import { createWireLocks } from './wire-lock.ts';
import type { PlanContext } from './wire-plan.ts';
import { planWire } from './wire-plan.ts';
import type { CurrentWire, EndState } from './wire-state.ts';
import { absentWire, sides } from './wire-state.ts';
import { WireTable } from './wire-table.ts';

export interface KernelDataplaneOptions extends Owner {
  readonly netlink: Netlink;
  readonly clock: Clock;
  /** Absent: redirect where the kernel has it, else bridge. */
  readonly crossConnect?: CrossConnect['kind'];
}

/** Looks at the kernel and plans anew at most so often per call. */
const attemptsMax = 3;
const probeBudget: Budget = { timeoutMs: 10_000 };

export function createKernelDataplane(options: KernelDataplaneOptions): Dataplane {
  return new KernelDataplane(options);
}

class KernelDataplane implements Dataplane {
  readonly kind = 'kernel';
  readonly #netlink: Netlink;
  readonly #marks;
  readonly #options: KernelDataplaneOptions;
  readonly #wires = new WireTable();
  readonly #locks = createWireLocks();
  readonly #removals;
  readonly #filter;
  readonly #listeners = new Set<(event: DataplaneEvent) => void>();
  #features: Promise<KernelFeatures> | undefined;
  #stopWatching: (() => void) | undefined;
  /** The look that has not begun yet, and the end of the one before it. */
  #nextLook: Promise<Inventory> | undefined;
  #lastLook: Promise<unknown> = Promise.resolve();

  constructor(options: KernelDataplaneOptions) {
    this.#options = options;
    this.#netlink = options.netlink;
    this.#marks = marksOf(options);
    this.#removals = createRemovals({ ...options, marks: this.#marks });
    this.#filter = createFilterUse(options.netlink, this.#marks.filterTable);
  }

  async probe(budget: Budget): Promise<DataplaneCapabilities> {
    this.#features = undefined;
    const features = await this.#knownFeatures(budget);
    const mechanisms: string[] = [];
    const canJoin = features.redirect || features.bridge;
    if (features.veth && canJoin) mechanisms.push('KERNEL');
    if (features.vxlan && canJoin) mechanisms.push('VXLAN');
    return { mechanisms, missing: missingLines(features) };
  }

  async ensure(wire: Wire, budget: Budget): Promise<void> {
    checkWire(wire);
    const features = await this.#knownFeatures(probeBudget);
    await this.#locks.hold([wire.id], () => this.#ensureLocked(wire, features, budget));
  }

  async remove(ids: readonly string[], budget: Budget): Promise<void> {
    await this.#locks.hold(ids, () => this.#removeLocked(ids, budget));
  }

  async list(budget: Budget): Promise<readonly ObservedWire[]> {
    const features = await this.#knownFeatures(probeBudget);
    const inventory = await this.#cleanInventory(budget);
    for (const [wireId, links] of inventory.byWire) {
      // Of an earlier life: an `ensure` that took it for absent would fail first.
      if (this.#wires.get(wireId) === undefined) this.#wires.doubt(wireId);
      for (const { link, tag } of links) {
        if (tag.role === 'bridge' || this.#wires.isWatched(link.index)) continue;
        this.#wires.watch(link.index, { wireId, side: tag.role, isDown: !link.isRunning });
      }
    }
    if (features.sourceFilter) await this.#filter.prune(inventory, budget);
    return describeObserved(this.#netlink, inventory, budget);
  }

  async statistics(
    ids: readonly string[],
    budget: Budget,
  ): Promise<ReadonlyMap<string, WireStatistics>> {
    const wires = new Map<string, readonly EndState[]>();
    let inventory: Inventory | undefined;
    for (const id of ids) {
      const known = this.#wires.get(id);
      if (known !== undefined && known !== 'unknown') {
        wires.set(id, endsOf(known));
        continue;
      }
      inventory ??= await takeInventory(this.#netlink, this.#marks, budget);
      const ends = this.#bareEnds(id, inventory);
      if (ends.length > 0) wires.set(id, ends);
    }
    return readStatistics(this.#netlink, wires, budget);
  }

  watch(listener: (event: DataplaneEvent) => void): () => void {
    this.#listeners.add(listener);
    this.#stopWatching ??= this.#netlink.watchLinks(this.#marks.namePrefix, (event) =>
      this.#onLinkEvent(event),
    );
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Stops watching; the wires stay. The netlink port belongs to whoever made it. */
  async close(): Promise<void> {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    this.#listeners.clear();
  }

  #knownFeatures(budget: Budget): Promise<KernelFeatures> {
    if (this.#features === undefined) {
      const probing = probeFeatures(this.#netlink, this.#marks, budget);
      this.#features = probing;
      probing.catch(() => {
        if (this.#features === probing) this.#features = undefined;
      });
    }
    return this.#features;
  }

  async #ensureLocked(wire: Wire, features: KernelFeatures, budget: Budget): Promise<void> {
    const known = this.#wires.get(wire.id);
    let current = known === undefined ? absentWire : this.#fitting(known, wire);
    for (let attempt = 1; ; attempt++) {
      current ??= await this.#look(wire, budget);
      const failure = await this.#converge(wire, features, current, budget);
      if (failure === undefined) return;
      const mayHelp = stale.includes(failure.errno) && attempt < attemptsMax;
      if (!mayHelp || current.isFresh === true) {
        throw await this.#explained(wire, failure, budget);
      }
      current = undefined;
    }
  }

  /** The remembered state, where it says enough about the wanted wire; else it must be looked at. */
  #fitting(known: CurrentWire | 'unknown', wire: Wire): CurrentWire | undefined {
    if (known === 'unknown') return undefined;
    const fits = sides.every((side) => {
      const [old, wanted] = [known[side]?.end, wire[side]];
      if (old?.kind === 'kernel' && wanted.kind === 'kernel') return old.netns === wanted.netns;
      if (old?.kind !== 'vxlan' || wanted.kind !== 'vxlan') return false;
      return (
        old.vni === wanted.vni &&
        old.localPort === wanted.localPort &&
        old.localIp === wanted.localIp
      );
    });
    return fits ? known : undefined;
  }

  async #look(wire: Wire, budget: Budget): Promise<CurrentWire & { readonly isFresh: true }> {
    const inventory = await this.#sharedInventory(budget);
    const context = { netlink: this.#netlink, marks: this.#marks, budget };
    return { ...(await observeWire(context, wire, inventory)), isFresh: true };
  }

  /** One look for all that ask before it begins: many wires are adopted in few looks. */
  #sharedInventory(budget: Budget): Promise<Inventory> {
    if (this.#nextLook !== undefined) return this.#nextLook;
    const look = this.#lastLook.then(() => {
      this.#nextLook = undefined;
      return this.#cleanInventory({ timeoutMs: budget.timeoutMs });
    });
    this.#nextLook = look;
    this.#lastLook = look.catch(() => {});
    return look;
  }

  /** What is there, after what a crash left untagged has been removed. */
  async #cleanInventory(budget: Budget): Promise<Inventory> {
    const inventory = await takeInventory(this.#netlink, this.#marks, budget);
    const leftovers = inventory.halfMade.map(({ index }) => index);
    await this.#removals.remove(leftovers, budget);
    return inventory;
  }

  async #converge(
    wire: Wire,
    features: KernelFeatures,
    current: CurrentWire,
    budget: Budget,
  ): Promise<NetlinkFailure | undefined> {
    const mtu = await chooseMtu(this.#netlink, wire, current, budget);
    const context: PlanContext = {
      marks: this.#marks,
      crossConnect: this.#crossConnect(features),
      filtersSources: features.sourceFilter,
      mtu,
    };
    const plan = planWire(context, wire, current);
    const filtered = features.sourceFilter
      ? sides.map((side) => wire[side]).filter((end) => end.kind === 'vxlan')
      : [];
    const outcome = await this.#execute(wire.id, filtered, plan.program.steps, budget);
    if (!outcome.ok) {
      const { undoFailures } = outcome.failure;
      if (undoFailures.length > 0) this.#wires.doubt(wire.id);
      return outcome.failure;
    }
    const state = plan.outcome(plan.program.indexesIn(outcome.answers));
    this.#wires.set(wire.id, { ...state, replaced: [], attempt: current.attempt });
    await this.#removeEnds(wire.id, current.replaced, budget);
    await this.#filter.release(endsOf(current), endsOf(state), budget);
    return undefined;
  }

  async #execute(
    id: string,
    filtered: readonly VxlanEnd[],
    steps: Parameters<Netlink['execute']>[0],
    budget: Budget,
  ) {
    try {
      return filtered.length > 0
        ? await this.#filter.execute(steps, filtered, budget)
        : await this.#netlink.execute(steps, budget);
    } catch (error) {
      // Nobody knows how far it came.
      this.#wires.doubt(id);
      throw error;
    }
  }

  async #removeEnds(id: string, ends: readonly EndState[], budget: Budget): Promise<void> {
    try {
      const indexes = ends.map(({ index }) => index);
      await this.#removals.remove(indexes, budget);
    } catch (error) {
      this.#wires.doubt(id);
      throw error;
    }
  }

  #crossConnect(features: KernelFeatures): CrossConnect {
    const wanted = this.#options.crossConnect ?? (features.redirect ? 'redirect' : 'bridge');
    if (!features[wanted]) throw noWayToJoin();
    return wanted === 'redirect' ? redirectCrossConnect : bridgeCrossConnect;
  }

  async #removeLocked(ids: readonly string[], budget: Budget): Promise<void> {
    const ends: EndState[] = [];
    const indexes: number[] = [];
    let inventory: Inventory | undefined;
    for (const id of ids) {
      const known = this.#wires.get(id);
      if (known !== undefined && known !== 'unknown') {
        ends.push(...endsOf(known));
        if (known.bridge !== undefined) indexes.push(known.bridge.index);
        continue;
      }
      inventory ??= await this.#cleanInventory(budget);
      ends.push(...this.#bareEnds(id, inventory));
      indexes.push(...(inventory.byWire.get(id) ?? []).map(({ link }) => link.index));
    }
    for (const id of ids) this.#wires.forget(id);
    try {
      await this.#removals.remove([...ends.map(({ index }) => index), ...indexes], budget);
      // No other wire can share a tunnel's device, so nothing remains that needs its entries.
      await this.#filter.release(ends, [], budget);
    } catch (error) {
      for (const id of ids) this.#wires.doubt(id);
      throw error;
    }
  }

  #bareEnds(id: string, inventory: Inventory): EndState[] {
    return (inventory.byWire.get(id) ?? []).flatMap((owned) => {
      const { role } = owned.tag;
      return role === 'bridge' ? [] : [bareState(this.#marks, role, owned)];
    });
  }

  /** The kernel's refusal in the terms of the port. */
  async #explained(wire: Wire, failure: NetlinkFailure, budget: Budget): Promise<NsmError> {
    if (failure.errno !== errno.exists) return failureError(failure, wire.id);
    const { byWire } = await takeInventory(this.#netlink, this.#marks, budget);
    const vxlan = /^create VXLAN (\d+)/.exec(failure.what);
    if (vxlan !== null) {
      const holder = [...byWire].find(([, links]) =>
        links.some(({ link }) => link.vxlan?.vni === Number(vxlan[1])),
      );
      return new NsmError('ALREADY_EXISTS', `VNI ${vxlan[1]} is taken on this node`, {
        rule: 'vni',
        expected: 'a VNI that is free for this UDP port and address family',
        found: `${failure.found}${holder === undefined ? '' : `, held by wire ${holder[0]}`}`,
        remedy: 'draw another VNI or listen on another UDP port',
        connectionId: wire.id,
      });
    }
    return new NsmError('ALREADY_EXISTS', `could not ${failure.what}: the name is taken`, {
      rule: 'interface name',
      expected: 'a name that no other interface of the namespace has',
      found: failure.found,
      remedy: 'choose another interface name, or remove the interface that has it',
      connectionId: wire.id,
    });
  }

  #onLinkEvent(event: LinkEvent): void {
    if (event.kind === 'lost') {
      void this.#afterLostEvents();
      return;
    }
    const news = this.#wires.interpret(event);
    if (news !== undefined) this.#publish(news);
  }

  /** Compares what is watched with what is there, as if each difference had been an event. */
  async #afterLostEvents(): Promise<void> {
    let inventory: Inventory;
    try {
      inventory = await takeInventory(this.#netlink, this.#marks, probeBudget);
    } catch {
      // The next operation on a wire finds out by itself.
      return;
    }
    const links = [...inventory.byWire.values()].flat();
    const byIndex = new Map(links.map(({ link }) => [link.index, link]));
    for (const index of this.#wires.watchedIndexes()) {
      const link = byIndex.get(index);
      const kind = link === undefined ? 'gone' : link.isRunning ? 'running' : 'notRunning';
      this.#onLinkEvent({ kind, index, name: link?.name ?? '' });
    }
  }

  #publish(event: DataplaneEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** Refusals that a look at the kernel may explain: what was thought to be (or not) there is not (or is). */
const stale: readonly number[] = [
  errno.exists,
  errno.noDevice,
  errno.noEntry,
  errno.invalid,
  errno.noSuchRoute,
];

function endsOf(wire: Pick<CurrentWire, 'client' | 'endpoint'> & Partial<CurrentWire>): EndState[] {
  return [...sides.flatMap((side) => wire[side] ?? []), ...(wire.replaced ?? [])];
}
