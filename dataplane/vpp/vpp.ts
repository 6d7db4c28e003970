// The VPP data plane: ends in the kernel, taken up by host interfaces of VPP and joined by its cross connects, driven over
// its binary API. NSM concept: the data plane of cmd-forwarder-vpp.
// Invariants: as those of the kernel's driver; VPP's life is not this process's: a restart of this process changes nothing
// that is right, and a VPP that restarted gets everything back without anybody's asking.

import { checkWire } from '../../protocols/netlink/check-wire.ts';
import type { AccessRule } from '../../protocols/nsm/access-rules-document.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type {
  Budget,
  Dataplane,
  DataplaneCapabilities,
  DataplaneEvent,
  ObservedWire,
  PortRange,
  Wire,
  WireStatistics,
} from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { KeyFiles } from '../../protocols/ports/key-files.ts';
import type { TunnelSecrets } from '../../protocols/ports/tunnel-keys.ts';
import type { Vpp, VppStatistics } from '../../protocols/ports/vpp.ts';
import type { Joined, NodeLinks, WireEnds } from '../../protocols/ports/wire-ends.ts';
import { createWireLocks } from '../../protocols/wire-locks.ts';
import type { Ike } from './ike-profiles.ts';
import { IkeKey, type IkeKeySetup } from './ike-key.ts';
import { type FoundEnd, Inventory } from './inventory.ts';
import { listWires } from './list-wires.ts';
import { Operations } from './operations.ts';
import type { PathOf } from './memif-socket.ts';
import { MemifWatch } from './memif-watch.ts';
import { probeVpp } from './probe.ts';
import { checkIpsec } from './refusals.ts';
import { type RememberedWire, restoreWires } from './restore.ts';
import { Routing } from './routing.ts';
import { addTunnelCounters } from './statistics.ts';
import { Suspicion } from './suspicion.ts';
import type { Owner } from './tags.ts';
import { createTrunks, noTrunks } from './trunks.ts';
import { createUplink, noUplink } from './uplink.ts';
import { type VlanNetworks, VlanSwitch } from './vlan-networks.ts';
import { createWireFilter, noFilter } from './wire-filter.ts';
import { endsOfWire, joinWire, type Joinery } from './wire-join.ts';
import { missingInVpp } from './wire-judgement.ts';
import { isRouted } from './wire-parts.ts';
import { isThere, leaveWires } from './wire-leave.ts';

export interface VppDataplaneOptions extends Owner {
  /** In the network namespace in which VPP runs. */
  readonly ends: WireEnds;
  readonly vpp: Vpp;
  readonly statistics: VppStatistics;
  readonly clock: Clock;
  /** Of the network namespace in which VPP runs. Absent: neither trunks nor uplink. */
  readonly netlink?: Netlink;
  /** Ends share host interfaces where the kernel can do that. Absent: each has its own. */
  readonly hasTrunks?: boolean;
  /** Gives VPP the link that holds the outer address of tunnels. Absent: VPP has its way to the other nodes already. */
  readonly hasUplink?: boolean;
  /** Absent: no memif is made. */
  readonly pathOf?: PathOf;
  /** Absent: no tunnel that is encrypted is made. */
  readonly secrets?: TunnelSecrets;
  /** Where VPP reads keys of IKEv2. Absent, or without a key for it among the secrets: no IPsec tunnel is made. */
  readonly keyFiles?: KeyFiles;
  /** UDP ports that its tunnels listen on; any other is let in where it is asked for. */
  readonly wireguardPorts?: PortRange;
  /** Outside of the mesh. */
  readonly networks?: VlanNetworks;
  /** What clients may send through any of its wires. Absent: anything. */
  readonly accessRules?: readonly AccessRule[];
}

const noPorts: PortRange = { first: 0, last: 0 };

/** For each wire that a VPP that restarted gets back; making an interface costs it some ten milliseconds. */
const restoreBudget: Budget = { timeoutMs: 10_000 };

export function createVppDataplane(options: VppDataplaneOptions): Dataplane {
  return new VppDataplane(options);
}

const noPath: PathOf = (url) => url;

function ikeOf(
  setup: Pick<IkeKeySetup, 'vpp' | 'owner' | 'inventory'> &
    Pick<VppDataplaneOptions, 'secrets' | 'keyFiles'>,
): Ike | undefined {
  const { keyFiles, secrets } = setup;
  const privateKey = secrets?.ipsecPrivateKey;
  if (keyFiles === undefined || privateKey === undefined) return undefined;
  return { keyFiles, key: new IkeKey({ ...setup, keyFiles, privateKey }) };
}

class VppDataplane implements Dataplane {
  readonly kind = 'vpp';
  readonly #options: VppDataplaneOptions;
  readonly #joinery: Joinery;
  readonly #locks = createWireLocks();
  readonly #suspicion: Suspicion;
  readonly #remembered = new Map<string, RememberedWire>();
  /** Removed while VPP was away. */
  readonly #departed = new Set<string>();
  readonly #listeners = new Set<(event: DataplaneEvent) => void>();
  readonly #stops: (() => void)[] = [];
  #isAway = false;

  constructor(options: VppDataplaneOptions) {
    this.#options = options;
    const { vpp, netlink, clock, hasUplink = false, hasTrunks = false } = options;
    const owner: Owner = options;
    const inventory = new Inventory({ vpp, owner });
    const routing = new Routing({ vpp, owner, inventory });
    const { secrets } = options;
    const operations = new Operations({ vpp, owner, inventory, routing, clock, secrets });
    const locks = createWireLocks();
    const uplink =
      netlink && hasUplink ? createUplink({ vpp, netlink, owner, inventory, locks }) : noUplink;
    const { networks = new Map() } = options;
    const vlans = new VlanSwitch({ vpp, netlink, owner, inventory, networks, locks });
    const trunks =
      netlink && hasTrunks ? createTrunks({ vpp, netlink, owner, inventory }) : noTrunks;
    const { pathOf = noPath, wireguardPorts = noPorts } = options;
    const ike = ikeOf({ ...options, owner, inventory });
    const { accessRules: rules } = options;
    const filter =
      rules === undefined ? noFilter : createWireFilter({ vpp, owner, inventory, rules });
    const together = { owner, vpp, clock, inventory, operations, routing, uplink, trunks, filter };
    this.#joinery = { ...together, vlans, wireguardPorts, ike, pathOf };
    this.#suspicion = new Suspicion({
      vpp,
      clock,
      inventory,
      locks: this.#locks,
      trunks,
      vlans,
      memifs: new MemifWatch({
        inventory,
        pathOf,
        wireOf: (id) => this.#remembered.get(id)?.wire,
        publish: (event) => this.#publish(event),
      }),
      inspect: (id) => this.#inspectLocked(id, restoreBudget),
      publish: (event) => this.#publish(event),
    });
    this.#stops.push(
      vpp.watch((event) => {
        this.#isAway = event.kind === 'lost';
        inventory.forget();
        if (event.kind === 'connected') this.#restore();
      }),
    );
  }

  probe(budget: Budget): Promise<DataplaneCapabilities> {
    return probeVpp({ ...this.#options, ...this.#joinery }, budget);
  }

  async ensure(wire: Wire, budget: Budget): Promise<void> {
    const { pathOf, secrets } = this.#options;
    const [memif, wireguard] = [pathOf !== undefined, secrets !== undefined];
    checkWire(wire, { vlans: true, memif, wireguard, ipsec: this.#joinery.ike !== undefined });
    checkIpsec(wire);
    await this.#locks.hold([wire.id], async () => {
      await this.#options.ends.ensure(wire, budget, {
        needsChecksums: true,
        isRouted: isRouted(wire),
        join: (links) => this.#join(wire, links, budget),
      });
      this.#suspicion.ensured(wire.id);
    });
  }

  async remove(
    ids: readonly string[],
    budget: Budget,
    namespaces?: ReadonlyMap<string, string>,
  ): Promise<void> {
    const { ends } = this.#options;
    await this.#locks.hold(ids, async () => {
      for (const id of ids) {
        this.#suspicion.forget(id);
        this.#remembered.delete(id);
      }
      const isHere = !this.#isAway && (await isThere(this.#joinery, budget));
      const leave = async (): Promise<void> => {
        if (isHere) await leaveWires(this.#joinery, ids, budget);
        else for (const id of ids) this.#departed.add(id);
      };
      await ends.remove(ids, budget, { leave, namespaces });
      // What is left the next look at everything takes away.
      if (!isHere) return;
      await this.#joinery.trunks.release(budget).catch(() => {});
      await this.#joinery.vlans.release(budget).catch(() => {});
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
    const { statistics } = this.#options;
    return addTunnelCounters({ ...this.#joinery, statistics }, { ids, ofLinks, budget });
  }

  watch(listener: (event: DataplaneEvent) => void): () => void {
    if (this.#listeners.size === 0) {
      this.#stops.push(this.#options.ends.watch((event) => this.#suspicion.told(event)));
      this.#suspicion.watch();
    }
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Stops watching; the wires stay. The clients belong to whoever made them. */
  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    this.#suspicion.close();
    this.#listeners.clear();
    await this.#options.ends.close();
  }

  async #join(wire: Wire, links: NodeLinks, budget: Budget): Promise<Joined> {
    const joining = () => joinWire(this.#joinery, wire, links, budget);
    const joined = await this.#joinery.trunks.during(joining);
    return {
      isReplacing: joined.isReplacing,
      undo: () => joined.undo(),
      settle: () => {
        this.#remembered.set(wire.id, { wire, links });
        return joined.settle();
      },
    };
  }

  async #inspectLocked(id: string, budget: Budget): Promise<readonly string[]> {
    const { inventory, trunks, vlans } = this.#joinery;
    await inventory.ready(budget);
    const [{ missing, links }] = await Promise.all([
      this.#options.ends.inspect(id, budget),
      inventory.lookAt(id, budget),
      inventory.lookAtJoints(budget),
    ]);
    const ends = endsOfWire(inventory, this.#options, id);
    const jointOf = (index: number) => inventory.jointOf(index);
    const unattached = await trunks.unattached(ends, budget);
    const cutOff = await vlans.cutOff(ends, budget);
    const inVpp = missingInVpp({ ends, jointOf, links, unattached, cutOff });
    const unfiltered = await this.#unfiltered(ends, budget);
    return [...missing, ...inVpp, ...unfiltered];
  }

  async #unfiltered(ends: readonly FoundEnd[], budget: Budget): Promise<string[]> {
    const clients = ends.filter(({ tag }) => tag?.side === 'client');
    const indexes = clients.map(({ index }) => index);
    const open = await this.#joinery.filter.without(indexes, budget);
    return clients
      .filter(({ index }) => open.includes(index))
      .map(({ name }) => `the access rules of ${name} are gone`);
  }

  /** What cannot be put back now is found by the next look at everything. */
  #restore(): void {
    const { statistics } = this.#options;
    statistics.reopen();
    const setup = {
      joinery: this.#joinery,
      locks: this.#locks,
      remembered: this.#remembered,
      departed: this.#departed,
      suspect: (id: string) => this.#suspicion.suspect(id),
    };
    restoreWires(setup, restoreBudget)
      .catch(() => {})
      .finally(() => this.#suspicion.allBut(this.#remembered));
  }

  #publish(event: DataplaneEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
