// VPP's own interface on the network between nodes: a host interface over the kernel's link that holds the outer
// address, with the link's MAC, addresses and routes. NSM concept: NSM_VPP_INIT=AF_PACKET of forwarder-vpp.
// Invariants: the kernel keeps the link and answers for everything but tunnels: VPP takes in what is for the UDP ports of
// tunnels and no more, and hears what the kernel hears. It stays as long as VPP runs.

import { asNsmError, type NsmError } from '../../protocols/errors.ts';
import type { Budget, PortRange } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { fibPathProtocol, interfaceFlags } from '../../protocols/vpp/messages/enums.ts';
import { noLabels } from '../../protocols/vpp/messages/no-labels.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import { vppAddress, vppPrefix } from '../../protocols/vpp/vpp-address.ts';
import { tagInterface, takeUpLink } from './host-over-link.ts';
import type { Inventory, TunnelPlace } from './inventory.ts';
import { createPinholes, type Pinholes } from './pinholes.ts';
import { type Owner, parseNetworkTag, parseUplinkTag, uplinkTag } from './tags.ts';
import { introduce } from './underlay-neighbor.ts';
import { findUnderlayLink, type UnderlayLink } from './underlay-link.ts';
import { hostLock } from './vlan-networks.ts';

/** Where a node listens for tunnels. */
export interface OuterPorts {
  readonly localIp: string;
  readonly ports: PortRange;
}

export interface Uplink {
  /** To be called before a tunnel is made: what comes for it can come in. */
  admit(outer: OuterPorts, budget: Budget): Promise<void>;
  /** To be called once it is admitted, before the tunnel is made: VPP is to reach the other node at once. */
  introduce(place: Pick<TunnelPlace, 'localIp' | 'remoteIp'>, budget: Budget): Promise<void>;
  /** Makes again what a VPP that ended had, or what somebody took away, and adds what the kernel's link has got since. */
  restore(budget: Budget): Promise<void>;
}

/** VPP has its way to the other nodes already, made by whoever runs it. */
export const noUplink: Uplink = {
  admit: async () => {},
  introduce: async () => {},
  restore: async () => {},
};

interface Admitted extends OuterPorts {
  readonly life: number;
  /** Undefined where the way to other nodes is not this interface. */
  readonly index?: number | undefined;
}

/** No life of a VPP. */
const never = -1;

export function createUplink(setup: {
  readonly vpp: Vpp;
  readonly netlink: Netlink;
  readonly owner: Owner;
  readonly inventory: Inventory;
  /** Of the node's links that VPP takes up. */
  readonly locks: WireLocks;
}): Uplink {
  return new AfPacketUplink(setup);
}

class AfPacketUplink implements Uplink {
  readonly #setup;
  readonly #pinholes: Pinholes;
  /** Outer address and UDP port of tunnels, and the life of VPP in which they were let in. */
  readonly #admitted = new Map<string, Admitted>();

  constructor(setup: Parameters<typeof createUplink>[0]) {
    this.#setup = setup;
    this.#pinholes = createPinholes(setup);
  }

  async admit(outer: OuterPorts, budget: Budget): Promise<void> {
    const { inventory } = this.#setup;
    const { localIp, ports } = outer;
    const key = `${localIp} ${ports.first}-${ports.last}`;
    const isAdmitted = (): boolean => this.#admitted.get(key)?.life === inventory.life;
    if (isAdmitted()) return;
    await this.#setup.locks.hold([hostLock], async () => {
      if (isAdmitted()) return;
      await inventory.ready(budget);
      const { life } = inventory;
      const index = await this.#make(localIp, budget);
      if (index !== undefined) await this.#pinholes.open(index, outer, budget);
      this.#admitted.set(key, { ...outer, life, index });
    });
  }

  async introduce(
    { localIp, remoteIp }: Pick<TunnelPlace, 'localIp' | 'remoteIp'>,
    budget: Budget,
  ): Promise<void> {
    const admitted = [...this.#admitted.values()];
    const uplink = admitted.find((each) => each.localIp === localIp)?.index;
    if (uplink === undefined) return;
    // It finds its neighbours by itself as well.
    await introduce(this.#setup, { uplink, remoteIp }, budget).catch(() => {});
  }

  async restore(budget: Budget): Promise<void> {
    const all = [...this.#admitted.values()];
    for (const [key, each] of this.#admitted) this.#admitted.set(key, { ...each, life: never });
    for (const each of all) await this.admit(each, budget);
  }

  /** Undefined where the kernel does not have the address, or somebody else gave VPP that link. */
  async #make(localIp: string, budget: Budget): Promise<number | undefined> {
    const { netlink, inventory, owner, vpp } = this.#setup;
    const underlay = await findUnderlayLink(netlink, localIp, budget);
    if (underlay === undefined) return undefined;
    const { link } = underlay;
    const there = inventory.all().find(({ hostLink }) => hostLink === link.name);
    const network = there && parseNetworkTag(owner, there.text);
    const linkThere = there && (parseUplinkTag(owner, there.text) ?? network?.link);
    if (there !== undefined && linkThere === undefined && there.text !== '') return undefined;
    const text = uplinkTag(owner, link.index);
    if (there !== undefined && linkThere === link.index) {
      // From now on it is more than a way into networks outside.
      if (network !== undefined) await tagInterface(this.#setup, there, text, budget);
      await this.#complete(there.index, underlay, budget);
      return there.index;
    }
    if (there !== undefined) {
      await vpp.request('af_packet_delete', { host_if_name: link.name }, budget);
    }
    const { index } = await takeUpLink(this.#setup, { link, text }, budget);
    await this.#complete(index, underlay, budget);
    return index;
  }

  /** Everything that it may have already is said again, which VPP takes as done. */
  async #complete(index: number, underlay: UnderlayLink, budget: Budget): Promise<void> {
    const { vpp } = this.#setup;
    const { link, addresses, routes } = underlay;
    const on = { sw_if_index: index };
    // Closed before it is up: what the kernel serves is none of VPP's business.
    await this.#pinholes.close(index, budget);
    await vpp.request('sw_interface_set_mtu', { ...on, mtu: [link.mtu, 0, 0, 0] }, budget);
    const up = { ...on, flags: interfaceFlags.adminUp };
    await vpp.request('sw_interface_set_flags', up, budget);
    for (const address of addresses) {
      const added = { ...on, is_add: true, prefix: vppPrefix(address) };
      await doneAlready(vpp.request('sw_interface_add_del_address', added, budget));
    }
    for (const { prefix, gateway } of routes) {
      const isIpv6 = prefix.includes(':');
      const isFromAddress = gateway === undefined && isWithin(prefix, addresses);
      if (isFromAddress) continue;
      const path = {
        ...on,
        proto: isIpv6 ? fibPathProtocol.ip6 : fibPathProtocol.ip4,
        weight: 1,
        label_stack: noLabels,
        ...(gateway === undefined ? {} : { nh: { address: vppAddress(gateway).un } }),
      };
      const route = { prefix: vppPrefix(prefix), paths: [path] };
      await vpp.request('ip_route_add_del', { is_add: true, route }, budget);
    }
  }
}

/** The route that comes with an address: VPP makes its own. */
function isWithin(prefix: string, addresses: readonly string[]): boolean {
  const length = prefix.slice(prefix.indexOf('/'));
  return addresses.some((address) => address.endsWith(length) && sharesNetwork(address, prefix));
}

function sharesNetwork(address: string, network: string): boolean {
  const [one, other] = [vppPrefix(address), vppPrefix(network)];
  return other.address.un.every((byte, at) => {
    const bits = Math.min(8, Math.max(0, other.len - at * 8));
    const mask = (0xff << (8 - bits)) & 0xff;
    return (byte & mask) === ((one.address.un[at] ?? 0) & mask);
  });
}

async function doneAlready(request: Promise<unknown>): Promise<void> {
  await request.catch((thrown: unknown) => {
    const error: NsmError = asNsmError(thrown);
    if (error.code !== 'ALREADY_EXISTS') throw error;
  });
}
