// The Open vSwitch data plane: ends in the kernel, joined by flows of a bridge of this forwarder's own, driven over the
// sockets of ovsdb-server and ovs-vswitchd. NSM concept: the data plane of cmd-forwarder-ovs.
// Invariants: as those of the kernel's driver; the database says what there is to be, and the flows follow from it, so
// that a switch that restarted, or lost some, gets them back without anybody's asking; a restart of this process
// changes nothing that is right.

import { checkInterfaceName, checkWire } from '../../protocols/netlink/check-wire.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type {
  Budget,
  Dataplane,
  DataplaneCapabilities,
  DataplaneEvent,
  ObservedWire,
  Wire,
  WireStatistics,
} from '../../protocols/ports/dataplane.ts';
import type { OpenFlow, Ovsdb } from '../../protocols/ports/ovs.ts';
import type { WireEnds } from '../../protocols/ports/wire-ends.ts';
import { createWireLocks } from '../../protocols/wire-locks.ts';
import { createFlowKeeper } from './flow-keeper.ts';
import { probeSwitch, unmadeLines } from './probe.ts';
import { addTunnelCounters } from './statistics.ts';
import { type DatapathType, Switch } from './switch.ts';
import { SwitchRows } from './switch-rows.ts';
import type { Owner } from './tags.ts';
import { wireCookie } from './tags.ts';
import { joinWire } from './wire-join.ts';
import { farEndIn, missingInSwitch } from './wire-judgement.ts';
import type { EgressNetworks } from './egress.ts';
import type { Joinery } from './wire-parts.ts';
import { leaveWires } from './wire-leave.ts';
import { createSuspicion } from './suspicion.ts';
import { listWires } from './list-wires.ts';

export interface OvsDataplaneOptions extends Owner {
  /** In the network namespace in which ovs-vswitchd runs. */
  readonly ends: WireEnds;
  readonly database: Ovsdb;
  /** Of the bridge. */
  readonly openFlow: OpenFlow;
  /** Name of the forwarder's bridge, at most 15 bytes; made where it is missing. */
  readonly bridge: string;
  readonly clock: Clock;
  /** Networks outside of the mesh that this node is in, for wires with a VLAN there; none by default. */
  readonly networks?: EgressNetworks;
  /** Of a bridge that is made; a bridge that is there keeps its own. */
  readonly datapathType: DatapathType;
}

const restoreBudget: Budget = { timeoutMs: 10_000 };

/** Errors: INVALID_ARGUMENT for a name that no bridge can have. */
export function createOvsDataplane(options: OvsDataplaneOptions): Dataplane {
  checkInterfaceName(options.bridge);
  return new OvsDataplane(options);
}

class OvsDataplane implements Dataplane {
  readonly kind = 'ovs';
  readonly #options: OvsDataplaneOptions;
  readonly #joinery: Joinery;
  readonly #locks = createWireLocks();
  readonly #keeper;
  readonly #suspicion;
  readonly #listeners = new Set<(event: DataplaneEvent) => void>();
  readonly #stops: (() => void)[] = [];

  constructor(options: OvsDataplaneOptions) {
    this.#options = options;
    const { database, openFlow, clock, bridge, networks = new Map() } = options;
    const rows = new SwitchRows({
      database,
      clock,
      owner: options,
      bridge,
      onChange: (wireIds) => this.#suspicion.rowsChanged(wireIds),
    });
    const ownSwitch = new Switch({ ...options, rows, owner: options });
    const shared = createWireLocks();
    this.#joinery = {
      owner: options,
      switch: ownSwitch,
      rows,
      networks,
      shared,
      making: new Set(),
    };
    this.#keeper = createFlowKeeper({ ...this.#joinery, locks: this.#locks });
    this.#suspicion = createSuspicion({
      owner: options,
      locks: this.#locks,
      inspect: (id) => this.#inspectLocked(id, restoreBudget),
      publish: (event) => this.#publish(event),
    });
    this.#stops.push(
      () => rows.close(),
      openFlow.watch((event) => {
        if (event.kind === 'connected') this.#restore();
        if (event.kind === 'flowRemoved') this.#suspicion.flowRemoved(event.removed.cookie);
      }),
    );
  }

  probe(budget: Budget): Promise<DataplaneCapabilities> {
    return probeSwitch(this.#joinery, this.#options.ends, budget);
  }

  async ensure(wire: Wire, budget: Budget): Promise<void> {
    checkWire(wire, { vlans: true, taggedFrames: true, missing: unmadeLines });
    await this.#locks.hold([wire.id], async () => {
      const at = await this.#joinery.switch.address(budget);
      const needsChecksums = this.#joinery.switch.datapathType === 'netdev';
      await this.#options.ends.ensure(wire, budget, {
        needsChecksums,
        join: (links) => joinWire({ ...this.#joinery, at, wire, budget }, links),
      });
      this.#suspicion.ensured(wire.id);
    });
  }

  async remove(
    ids: readonly string[],
    budget: Budget,
    namespaces?: ReadonlyMap<string, string>,
  ): Promise<void> {
    await this.#locks.hold(ids, async () => {
      for (const id of ids) this.#suspicion.forget(id);
      const leave = () => leaveWires(this.#joinery, ids, budget);
      await this.#options.ends.remove(ids, budget, { leave, namespaces });
    });
  }

  async list(budget: Budget): Promise<readonly ObservedWire[]> {
    const observed = await listWires(this.#joinery, this.#options.ends, budget);
    for (const { id, complete } of observed) this.#suspicion.listed(id, complete);
    return observed;
  }

  inspect(id: string, budget: Budget): Promise<readonly string[]> {
    return this.#locks.hold([id], () => this.#inspectLocked(id, budget));
  }

  async statistics(
    ids: readonly string[],
    budget: Budget,
  ): Promise<ReadonlyMap<string, WireStatistics>> {
    const ofLinks = await this.#options.ends.statistics(ids, budget);
    return addTunnelCounters(this.#joinery, { ids, ofLinks, budget });
  }

  watch(listener: (event: DataplaneEvent) => void): () => void {
    if (this.#listeners.size === 0) {
      this.#stops.push(this.#options.ends.watch((event) => this.#suspicion.told(event)));
    }
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Stops watching; the wires stay. The clients belong to whoever made them. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    this.#listeners.clear();
    await this.#options.ends.close();
  }

  async #inspectLocked(id: string, budget: Budget): Promise<readonly string[]> {
    const { rows, owner } = this.#joinery;
    await rows.ready(budget);
    const { missing, links } = await this.#options.ends.inspect(id, budget);
    const flows = await this.#joinery.switch.flowsOf(wireCookie(owner, id), budget);
    const farEnd = farEndIn(rows);
    const own = rows.of(id);
    const inSwitch = missingInSwitch({ owner, wireId: id, rows: own, flows, links, farEnd });
    return [...missing, ...inSwitch];
  }

  /** What cannot be put back now is found by the next look at everything. */
  #restore(): void {
    this.#keeper.restore(restoreBudget).catch(() => this.#suspicion.all());
  }

  #publish(event: DataplaneEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
