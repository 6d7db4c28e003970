// Joining ends at layer 3, where a tunnel carries packets without Ethernet headers. NSM concept: the L3 cross connect of
// forwarder-vpp.
// Invariants: what comes in at a routed interface goes where its cross connect says or nowhere, since all of them are in
// a routing table that leads nowhere; what an interface has is taken off it before it goes, since VPP would leave it to
// the next interface of that number.

import { asNsmError } from '../../protocols/errors.ts';
import { clientMacAddress, hashText } from '../../protocols/nsm/derived-mac.ts';
import { parseMac } from '../../protocols/netlink/ip-address.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { allOnes, fibPathProtocol, neighborFlags } from '../../protocols/vpp/messages/enums.ts';
import type { DetailsFields } from '../../protocols/vpp/messages/known-messages.ts';
import { noLabels } from '../../protocols/vpp/messages/no-labels.ts';
import { type VppAddress, vppAddress, vppPrefix } from '../../protocols/vpp/vpp-address.ts';
import type { Inventory } from './inventory.ts';
import { ownTag, type Owner } from './tags.ts';

/** `heldIn`: a prefix for each interface, in the table of what is held. */
const families = [
  {
    isIp6: false,
    protocol: fibPathProtocol.ip4,
    nextHop: vppAddress('169.254.0.2'),
    heldIn: (index: number) => `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}/32`,
  },
  {
    isIp6: true,
    protocol: fibPathProtocol.ip6,
    nextHop: vppAddress('fe80::2'),
    heldIn: (index: number) =>
      `fd00::${(index >>> 16).toString(16)}:${(index & 0xffff).toString(16)}/128`,
  },
] as const;

const tableSeed = 0x7461;
/** Of routed interfaces, without a route; and of routes that only hold something, without an interface. */
const tables = ['nowhere', 'held'] as const;
type Table = (typeof tables)[number];

export interface RoutingSetup {
  readonly vpp: Vpp;
  readonly owner: Owner;
  readonly inventory: Inventory;
}

export class Routing {
  readonly #setup: RoutingSetup;
  /** The interface whose table and IP the routed ones share, by life of VPP. */
  #ground: { readonly life: number; readonly index: Promise<number> } | undefined;

  constructor(setup: RoutingSetup) {
    this.#setup = setup;
  }

  /** Lets the interface take in packets; they go nowhere yet. It may be one that frames are switched from meanwhile. */
  async admit(index: number, budget: Budget): Promise<void> {
    const { vpp } = this.#setup;
    const ground = await this.#groundIndex(budget);
    const lent = { sw_if_index: ground, unnumbered_sw_if_index: index, is_add: true };
    await Promise.all([
      this.#bind(index, budget),
      vpp.request('sw_interface_set_unnumbered', lent, budget),
    ]);
  }

  /**
   * For an admitted interface with a workload of this MAC at its other end. It asks for no neighbours and sends to its
   * own address.
   */
  async admitWorkload(index: number, macAddress: string, budget: Budget): Promise<void> {
    const { vpp } = this.#setup;
    const own = { sw_if_index: index, addr: parseMac(macAddress), is_add: 1 };
    const neighbors = families.map(({ nextHop }) => ({
      sw_if_index: index,
      flags: neighborFlags.static | neighborFlags.noFibEntry,
      mac_address: parseMac(macAddress),
      ip_address: nextHop,
    }));
    await Promise.all([
      vpp.request('sw_interface_add_del_mac_address', own, budget),
      ...neighbors.map((neighbor) =>
        vpp.request('ip_neighbor_add_del', { is_add: true, neighbor }, budget),
      ),
    ]);
  }

  /**
   * Keeps what VPP has for packets into an admitted tunnel as long as the tunnel is there, by a route that no packet takes.
   * VPP 26.10 lets a WireGuard peer that goes take it away by its number, whoever has that number by then
   * (`adj_indices` in src/plugins/wireguard/wireguard_peer.c).
   */
  async hold(index: number, budget: Budget): Promise<void> {
    await this.#route(index, true, budget);
  }

  /** Right before the tunnel goes. */
  async letGo(index: number, budget: Budget): Promise<void> {
    await this.#route(index, false, budget).catch(() => {});
  }

  /** Packets that come in at `from` go out at `to`; undefined: nowhere. */
  async lead(from: number, to: number | undefined, budget: Budget): Promise<void> {
    const { vpp, inventory } = this.#setup;
    const askedAt = inventory.asking();
    const requests = families.flatMap(({ isIp6: is_ip6, protocol, nextHop }) => {
      const gone = vpp.request('l3xc_del', { sw_if_index: from, is_ip6 }, budget).catch(wasNone);
      if (to === undefined) return [gone];
      const paths = [pathTo(to, protocol, nextHop)];
      // VPP 26.10 says of one that is changed that it leads there, and leads where it did.
      const l3xc = { sw_if_index: from, is_ip6, paths };
      return [gone, vpp.request('l3xc_update', { l3xc }, budget)];
    });
    const outcomes = await Promise.allSettled(requests);
    const failed = outcomes.find((each) => each.status === 'rejected');
    // One family may lead there, and the other nowhere.
    inventory.routed(askedAt, from, failed === undefined ? to : allOnes);
    if (failed !== undefined) throw failed.reason;
  }

  async #route(index: number, is_add: boolean, budget: Budget): Promise<void> {
    await Promise.all(
      families.map(({ protocol, nextHop, heldIn }) => {
        const paths = [pathTo(index, protocol, nextHop)];
        const route = { table_id: this.#tableId('held'), prefix: vppPrefix(heldIn(index)), paths };
        return this.#setup.vpp.request('ip_route_add_del', { is_add, route }, budget);
      }),
    );
  }

  /** Into the table that leads nowhere; an interface that is in use there already stays. */
  async #bind(index: number, budget: Budget): Promise<void> {
    const { vpp } = this.#setup;
    await Promise.all(
      families.map(({ isIp6: is_ipv6 }) =>
        vpp
          .request(
            'sw_interface_set_table',
            { sw_if_index: index, is_ipv6, vrf_id: this.#tableId('nowhere') },
            budget,
          )
          .catch(wasBound),
      ),
    );
  }

  #tableId(table: Table): number {
    const { installation, forwarder } = this.#setup.owner;
    const { low } = hashText(`${installation} ${forwarder} ${table}`, tableSeed);
    // Neither the main table nor one that a person would number.
    return ((low & 0x3fff_ffff) | 0x4000_0000) >>> 0;
  }

  #groundIndex(budget: Budget): Promise<number> {
    const { life } = this.#setup.inventory;
    if (this.#ground?.life !== life) {
      const making = { life, index: this.#makeGround(budget) };
      this.#ground = making;
      making.index.catch(() => {
        if (this.#ground === making) this.#ground = undefined;
      });
    }
    return this.#ground.index;
  }

  /** Every step may have been done by a process that was killed. */
  async #makeGround(budget: Budget): Promise<number> {
    const { vpp, inventory, owner } = this.#setup;
    const name = ownTag(owner, 'nowhere');
    const macAddress = clientMacAddress(name);
    await inventory.ready(budget);
    for (const each of tables) {
      for (const { isIp6: is_ip6 } of families) {
        const table = { table_id: this.#tableId(each), is_ip6, name: ownTag(owner, each) };
        await vpp.request('ip_table_add_del', { is_add: true, table }, budget);
      }
    }
    const there = inventory
      .all()
      .find((each) => each.text === name || (each.text === '' && each.macAddress === macAddress));
    const index = there?.index ?? (await this.#makeLoopback(macAddress, budget));
    const tag = { is_add: true, sw_if_index: index, tag: name };
    await vpp.request('sw_interface_tag_add_del', tag, budget);
    await this.#bind(index, budget);
    return index;
  }

  async #makeLoopback(macAddress: string, budget: Budget): Promise<number> {
    const { vpp } = this.#setup;
    const mac_address = parseMac(macAddress);
    const { sw_if_index: index } = await vpp.request('create_loopback', { mac_address }, budget);
    return index;
  }
}

/** Where packets go, of both families; where they part ways, or one has none, it is no interface. */
export function routesOf(
  found: readonly DetailsFields<'l3xc_dump'>[],
): ReadonlyMap<number, number> {
  const targets = new Map<number, number[]>();
  for (const { l3xc } of found) {
    const [path, ...more] = l3xc.paths;
    const to = path === undefined || more.length > 0 ? [] : [path.sw_if_index];
    targets.set(l3xc.sw_if_index, [...(targets.get(l3xc.sw_if_index) ?? []), ...to]);
  }
  return new Map(
    [...targets].flatMap(([from, [one, other]]) => [
      [from, one !== undefined && one === other ? one : allOnes] as const,
    ]),
  );
}

function pathTo(to: number, proto: number, nextHop: VppAddress) {
  const nh = { address: nextHop.un };
  return { sw_if_index: to, proto, weight: 1, nh, label_stack: noLabels };
}

/** What `l3xc_del` answers where there is none. */
function wasNone(error: unknown): void {
  if (!ruleOf(error).startsWith('INVALID_VALUE ')) throw error;
}

function wasBound(error: unknown): void {
  if (!ruleOf(error).startsWith('ADDRESS_FOUND_FOR_INTERFACE')) throw error;
}

const ruleOf = (error: unknown): string => asNsmError(error).details.rule ?? '';
