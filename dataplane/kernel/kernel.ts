// The kernel data plane: wires of veth pairs and VXLAN devices, joined in the node's namespace, over netlink.
// NSM concept: a forwarder's data plane (cmd-forwarder-vpp's kernel side). One driver per installation and forwarder.
// Invariants: the client's end lives as long as the wire; an operation either succeeds or leaves what was there
// before; the kernel's links and tags are the truth, memory only saves looking; others' objects are never touched.

import type { NsmError } from '../../protocols/errors.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type {
  Budget,
  Dataplane,
  DataplaneCapabilities,
  DataplaneEvent,
  VxlanEnd,
  Wire,
  WireStatistics,
} from '../../protocols/ports/dataplane.ts';
import type { Netlink, NetlinkFailure } from '../../protocols/ports/netlink.ts';
import type { Joined, Joining, ObservedEnds } from '../../protocols/ports/wire-ends.ts';
import { checkInterfaces, checkWire } from '../../protocols/netlink/check-wire.ts';
import type { CrossConnect } from './cross-connect.ts';
import { createFilterUse } from './filter-use.ts';
import { inspectDoubted } from './inspect-doubted.ts';
import { type Inspected, inspectWire } from './inspect-wire.ts';
import type { Inventory, OwnedLink } from './observe.ts';
import { bareState } from './observe.ts';
import type { Owner } from './owner.ts';
import { marksOf } from './owner.ts';
import type { KernelFeatures } from './probe.ts';
import { familyOf } from './probe.ts';
import { KnownFeatures } from './known-features.ts';
import { joinOutside, type OutsideJoint, outsideReach } from './join-outside.ts';
import { createPolicyUse } from './policy-use.ts';
import { createRemovals } from './removals.ts';
import { failureError } from './run.ts';
import { readStatistics } from './statistics.ts';
import { chooseMtu } from './underlay-mtu.ts';
import { createDamageWatch } from './damage-watch.ts';
import { createNeighborWatch } from './neighbor-watch.ts';
import { wakeRisen } from './wake-workload.ts';
import { describeObserved, describeUnreadable } from './describe-observed.ts';
import { createLooks } from './looks.ts';
import { untilPassed } from './in-flight.ts';
import {
  isInTheWay,
  isUpToRename,
  portTakenError,
  stale,
  takenError,
  withNamespaceRule,
} from './refusals.ts';
import { clearLeft, stillOwned } from './take-over.ts';
import { createWireLocks } from '../../protocols/wire-locks.ts';
import type { PlanContext, WireguardUse } from './wire-plan.ts';
import { planWire } from './wire-plan.ts';
import type { CurrentWire, EndState } from './wire-state.ts';
import { absentWire, endsOf, fittingState, leavingOf, sides } from './wire-state.ts';
import { WireTable } from './wire-table.ts';

export interface KernelDataplaneOptions extends Owner {
  readonly netlink: Netlink;
  readonly clock: Clock;
  /** Absent: redirect where the kernel has it, else bridge. */
  readonly crossConnect?: CrossConnect['kind'];
  readonly isJoinedOutside?: boolean;
  /** Private keys of tunnels; absent: none of WireGuard. */
  readonly secrets?: WireguardUse['secrets'];
  /** Called while the driver watches: somebody changed something at the wire's links, and its ends lack nothing. */
  readonly onHarmless?: (wireId: string) => void;
}

/** Looks at the kernel and plans anew at most so often per call. */
const attemptsMax = 3;
const probeBudget: Budget = { timeoutMs: 10_000 };

export function createKernelDataplane(options: KernelDataplaneOptions): Dataplane {
  return new KernelDataplane(options);
}

/** A driver of ends that something else joins; `wire-ends.ts` hands it out. */
export type KernelWires = InstanceType<typeof KernelDataplane>;

export function createKernelWires(
  options: Omit<KernelDataplaneOptions, 'crossConnect'>,
): KernelWires {
  return new KernelDataplane({ ...options, isJoinedOutside: true });
}

class KernelDataplane implements Dataplane {
  readonly kind = 'kernel';
  readonly #netlink: Netlink;
  readonly #marks;
  readonly #options: KernelDataplaneOptions;
  readonly #wires = new WireTable();
  readonly #locks = createWireLocks();
  readonly #removals;
  readonly #looks;
  readonly #filter;
  readonly #damage;
  readonly #neighbors;
  readonly #policies;
  readonly #listeners = new Set<(event: DataplaneEvent) => void>();
  readonly #features;
  /** Until it has refused to. */
  #renamesUp = true;
  #stopWatching: (() => void) | undefined;

  constructor(options: KernelDataplaneOptions) {
    this.#options = options;
    this.#netlink = options.netlink;
    this.#marks = marksOf(options);
    this.#features = new KnownFeatures({ ...options, marks: this.#marks });
    this.#removals = createRemovals({ ...options, marks: this.#marks });
    this.#looks = createLooks({
      netlink: options.netlink,
      marks: this.#marks,
      known: (index) => this.#wires.watched(index)?.tag,
      removals: this.#removals,
      isJoinedOutside: options.isJoinedOutside === true,
      wireguardFamily: () => this.#features.wireguardFamily,
    });
    this.#policies = createPolicyUse(options.netlink);
    this.#filter = createFilterUse(options.netlink, this.#marks.filterTable);
    this.#neighbors = createNeighborWatch({
      ...options,
      tunnels: () => this.#wires.tunnels(),
    });
    this.#damage = createDamageWatch({
      netlink: options.netlink,
      wires: this.#wires,
      locks: this.#locks,
      filter: this.#filter,
      inspect: async (id) =>
        this.#inspected(id, await this.#features.get(probeBudget), probeBudget),
      inventory: () => this.#looks.inventory(probeBudget),
      list: () => this.list(probeBudget),
      publish: (event) => this.#publish(event),
      onHarmless: (wireId) => options.onHarmless?.(wireId),
      onFailedNeighbor: (neighbor) => this.#neighbors.onFailed(neighbor),
    });
  }

  async probe(budget: Budget): Promise<DataplaneCapabilities> {
    return this.#features.probe(budget);
  }

  async ensure(wire: Wire, budget: Budget, joining?: Joining): Promise<void> {
    const features = await this.#features.get(probeBudget);
    const { mechanisms, missing } = this.#features.capabilities(features);
    const wireguard = mechanisms.includes('WIREGUARD');
    checkWire(wire, { wireguard, ...(joining && outsideReach), missing });
    const locks = [wire.id, ...this.#policies.locksOf(wire)];
    const making: Making = { features, ...(joining === undefined ? {} : { joining }) };
    await this.#locks.hold(locks, () => this.#ensureLocked(wire, making, budget));
  }

  async remove(
    ids: readonly string[],
    budget: Budget,
    namespaces?: ReadonlyMap<string, string>,
    leave: () => Promise<void> = async () => {},
  ): Promise<void> {
    await this.#locks.hold(ids, async () => {
      const [left] = await Promise.allSettled([leave()]);
      await this.#removeLocked(ids, budget);
      await this.#policies.clear(ids, namespaces, budget);
      if (left.status === 'rejected') throw left.reason;
    });
  }

  async list(budget: Budget): Promise<readonly ObservedEnds[]> {
    const features = await this.#features.get(probeBudget);
    const forgotten = this.#wires.beginLook();
    try {
      const { mark } = this.#filter;
      const inventory = await this.#looks.clean(budget);
      const unfiltered = features.sourceFilter
        ? await this.#filter.prune(inventory, mark, budget)
        : new Set<number>();
      const describing = { ...this.#looking(budget), unfiltered };
      const observed = await describeObserved(describing, inventory);
      const remaining = observed.filter(({ id }) => !forgotten.has(id));
      for (const each of remaining) {
        // What is just being made or changed is remembered by whoever does that.
        if (this.#locks.isHeld(each.id)) continue;
        this.#remember(each, inventory.byWire.get(each.id) ?? []);
      }
      return [...remaining, ...describeUnreadable(inventory)];
    } finally {
      this.#wires.endLook(forgotten);
    }
  }

  async inspect(id: string, budget: Budget): Promise<readonly string[]> {
    return (await this.inspectEnds(id, budget)).missing;
  }

  async inspectEnds(id: string, budget: Budget): Promise<Inspected> {
    const features = await this.#features.get(probeBudget);
    return this.#locks.hold([id], async () => {
      const inspected = await this.#inspected(id, features, budget);
      // What somebody has done by hand, the next `ensure` sees for itself.
      if (inspected.missing.length > 0 && this.#wires.get(id)) this.#wires.doubt(id);
      return inspected;
    });
  }

  /** Watches what was found, and doubts what is not as it is remembered. */
  #remember({ id, complete }: ObservedEnds, links: readonly OwnedLink[]): void {
    // Of an earlier life: an `ensure` that took it for absent would fail first.
    if (!complete || this.#wires.get(id) === undefined) this.#wires.doubt(id);
    for (const { link, tag } of links) {
      if (this.#wires.watched(link.index) !== undefined) continue;
      this.#wires.watch(link.index, { wireId: id, tag, name: link.name, isDown: !link.isRunning });
    }
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
      inventory ??= await this.#looks.inventory(budget);
      const ends = this.#bareEnds(id, inventory);
      if (ends.length > 0) wires.set(id, ends);
    }
    return readStatistics(this.#netlink, wires, budget);
  }

  watch(listener: (event: DataplaneEvent) => void): () => void {
    this.#listeners.add(listener);
    const { namePrefix, filterTable } = this.#marks;
    this.#stopWatching ??= this.#netlink.watchLinks({ namePrefix, filterTable }, (event) =>
      this.#damage.onEvent(event),
    );
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Stops watching; the wires stay. The netlink port belongs to whoever made it. */
  async close(): Promise<void> {
    this.#stopWatching?.();
    this.#stopWatching = undefined;
    this.#neighbors.close();
    this.#listeners.clear();
  }

  async #ensureLocked(wire: Wire, making: Making, budget: Budget): Promise<void> {
    const known = this.#wires.get(wire.id);
    const nothingKnown = wire.replaces === undefined ? absentWire : undefined;
    const current = known === undefined ? nothingKnown : fittingState(known, wire);
    try {
      await this.#convergeFrom(current, wire, making, budget);
    } catch (error) {
      throw withNamespaceRule(wire, error);
    }
  }

  async #convergeFrom(
    start: CurrentWire | undefined,
    wire: Wire,
    making: Making,
    budget: Budget,
  ): Promise<void> {
    let current = start;
    for (let attempt = 1; ; attempt++) {
      const found = (current ??= await this.#looks.at(wire, budget));
      checkInterfaces(wire, (side) => found[side] !== undefined);
      const failure = await this.#converge(wire, making, current, budget);
      if (failure === undefined) return;
      if (isInTheWay(failure) && current.hasForeignFilters !== true) {
        current = { ...current, hasForeignFilters: true };
        continue;
      }
      if (isUpToRename(failure) && this.#renamesUp) {
        this.#renamesUp = false;
        continue;
      }
      const mayHelp = stale.includes(failure.errno) && attempt < attemptsMax;
      if (!mayHelp || current.isFresh === true) {
        throw await this.#explained(wire, failure, budget);
      }
      current = undefined;
    }
  }

  #looking(budget: Budget) {
    const { isJoinedOutside = false } = this.#options;
    const { wireguardFamily } = this.#features;
    const [netlink, marks] = [this.#netlink, this.#marks];
    return { netlink, marks, isJoinedOutside, wireguardFamily, budget };
  }

  /** What is missing of a wire. Its lock is held. */
  async #inspected(id: string, features: KernelFeatures, budget: Budget): Promise<Inspected> {
    const known = this.#wires.get(id);
    const filter = features.sourceFilter ? { filter: this.#filter } : {};
    const context = { ...this.#looking(budget), ...filter };
    if (known !== undefined && known !== 'unknown') return inspectWire(context, known);
    const inventory = await this.#looks.shared(budget);
    return inspectDoubted(context, { id, inventory, last: this.#wires.lastKnown(id) });
  }

  async #converge(
    wire: Wire,
    { features, joining }: Making,
    current: CurrentWire,
    budget: Budget,
  ): Promise<NetlinkFailure | undefined> {
    const mtu = await chooseMtu(this.#netlink, wire, current, budget);
    const context: PlanContext = {
      marks: this.#marks,
      crossConnect: joining === undefined ? this.#features.crossConnect(features) : undefined,
      ...(joining?.needsChecksums === true ? { checksumFamily: familyOf(features) } : {}),
      isRouted: joining === undefined ? this.#features.isRouted(wire) : joining.isRouted,
      wireguard: this.#features.wireguard(),
      filtersSources: features.sourceFilter,
      mtu,
      policies: await this.#policies.plan(wire, current.isFresh === true, budget),
      renamesUp: this.#renamesUp,
    };
    const plan = planWire(context, wire, current);
    const filtered =
      features.sourceFilter && joining === undefined
        ? sides.map((side) => wire[side]).filter((end) => end.kind === 'vxlan')
        : [];
    const outcome = await this.#execute(wire.id, filtered, plan.program.steps, budget);
    if (!outcome.ok) {
      const { undoFailures } = outcome.failure;
      if (undoFailures.length > 0) this.#wires.doubt(wire.id);
      return outcome.failure;
    }
    const joined =
      joining &&
      (await this.#joinOutside(wire.id, joining, { plan, answers: outcome.answers, budget }));
    if (joined !== undefined && 'errno' in joined) return joined;
    const state = plan.outcome(plan.program.indexesIn(outcome.answers));
    this.#wires.set(wire.id, { ...state, replaced: [], attempt: current.attempt });
    await this.#policies.settle(wire, budget);
    const isReplacing = current.replaced.length > 0 || joined?.isReplacing === true;
    if (isReplacing) await untilPassed(this.#options.clock);
    await this.#doubting(wire.id, () => joined?.settle());
    await this.#doubting(wire.id, () => this.#removals.remove(leavingOf(current), budget));
    await this.#filter.release(endsOf(current), endsOf(state), budget);
    const left = { current, policies: this.#policies };
    await this.#doubting(wire.id, () => clearLeft(this.#looking(budget), wire, left));
    await wakeRisen(this.#netlink, wire, current, budget);
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

  /** Whatever goes wrong here has been undone in a way that nobody has looked at. */
  async #joinOutside(
    id: string,
    joining: Joining,
    made: Pick<OutsideJoint, 'plan' | 'answers' | 'budget'>,
  ): Promise<Joined | NetlinkFailure> {
    this.#wires.doubt(id);
    return joinOutside({ netlink: this.#netlink, joining, ...made });
  }

  /** What fails here has left the wire in a state that nobody has looked at. */
  async #doubting(id: string, work: () => Promise<void> | undefined): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#wires.doubt(id);
      throw error;
    }
  }

  async #removeLocked(ids: readonly string[], budget: Budget): Promise<void> {
    const ends: EndState[] = [];
    const remembered: EndState[] = [];
    const indexes: number[] = [];
    let inventory: Inventory | undefined;
    for (const id of ids) {
      const known = this.#wires.get(id);
      if (known !== undefined && known !== 'unknown') {
        remembered.push(...endsOf(known));
        if (known.bridge !== undefined) indexes.push(known.bridge.index);
        continue;
      }
      inventory ??= await this.#looks.clean(budget);
      ends.push(...this.#bareEnds(id, inventory));
      indexes.push(...(inventory.byWire.get(id) ?? []).map(({ link }) => link.index));
    }
    for (const id of ids) this.#wires.forget(id);
    try {
      const ours = await stillOwned(this.#looking(budget), remembered);
      const links = [...ends, ...ours].map(({ index }) => index);
      await this.#removals.remove([...links, ...indexes], budget);
      // No other wire can share a tunnel's device, so nothing remains that needs its entries.
      await this.#filter.release([...ends, ...remembered], [], budget);
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
    if (failure.errno === errno.addressInUse) return portTakenError(wire, failure);
    if (failure.errno !== errno.exists) return failureError(failure, wire.id);
    return takenError(wire, failure, await this.#looks.inventory(budget));
  }

  #publish(event: DataplaneEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

/** What an operation is made with. */
interface Making {
  readonly features: KernelFeatures;
  /** Absent: the kernel joins the ends itself. */
  readonly joining?: Joining;
}
