// The networks outside of the mesh that a node is in, each a link of the node: the connection's label `via` names one, and
// a wire's pipe leads into a bridge domain of VPP that is one VLAN there. NSM concept: the VLAN mechanism of forwarder-vpp.
// Invariants: a VLAN has one bridge domain and one sub-interface, which are there as long as a pipe is tagged with it; of
// a host interface that somebody else made only the own sub-interfaces are this forwarder's.

import { NsmError } from '../../protocols/errors.ts';
import { networkNamed } from '../../protocols/nsm/egress-networks.ts';
import type { Link } from '../../protocols/netlink/link.ts';
import type { Budget, Wire } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import { allOnes, interfaceFlags, subInterfaceFlags } from '../../protocols/vpp/messages/enums.ts';
import { vlanRewrite } from '../../protocols/vpp/messages/switching-messages.ts';
import type { WireLocks } from '../../protocols/wire-locks.ts';
import { takeUpLink, tagInterface } from './host-over-link.ts';
import type { FoundEnd, FoundPipe, Inventory } from './inventory.ts';
import { findLink, setPromiscuous } from './network-link.ts';
import { hostInterfaceRefused } from './refusals.ts';
import {
  networkTag,
  type Owner,
  ownInstances,
  parseNetworkTag,
  parseUplinkTag,
  parseVlanTag,
  type Side,
  sides,
  vlanMark,
  vlanOfMark,
  vlanTag,
} from './tags.ts';

export interface VlanNetwork {
  /** A link in the network namespace of VPP. */
  readonly interfaceName: string;
}

/** By the value of the label `via`. */
export type VlanNetworks = ReadonlyMap<string, VlanNetwork>;

/** A VLAN of a network that the node is in. */
export interface VlanPlace {
  readonly link: Link;
  readonly vlanId: number;
}

interface Setup {
  readonly vpp: Vpp;
  /** Absent: the node is in no network. */
  readonly netlink: Netlink | undefined;
  readonly owner: Owner;
  readonly inventory: Inventory;
  readonly networks: VlanNetworks;
  /** Of the node's links that VPP takes up. */
  readonly locks: WireLocks;
}

interface Domain {
  readonly id: number;
  readonly members: ReadonlySet<number>;
}

export const hostLock = 'links of the node';
/** After so many minutes an address that was not heard again is forgotten; as other switches. */
const forgottenAfterMinutes = 5;

type PipeEnd = FoundEnd & { readonly pipe: FoundPipe };
const isPipe = (end: FoundEnd): end is PipeEnd => end.pipe !== undefined;

export class VlanSwitch {
  readonly #setup: Setup;
  /** The life of VPP in which nothing was left. */
  #cleanLife: number | undefined;

  constructor(setup: Setup) {
    this.#setup = setup;
  }

  /** Errors: NOT_FOUND (no such network), FAILED_PRECONDITION (its link is not there), both with rule `via`. */
  async placesOf(wire: Wire, budget: Budget): Promise<Partial<Record<Side, VlanPlace>>> {
    const { networks, netlink } = this.#setup;
    const places: Partial<Record<Side, VlanPlace>> = {};
    for (const side of sides) {
      const end = wire[side];
      if (end.kind !== 'vlan') continue;
      const known = netlink === undefined ? new Map<string, VlanNetwork>() : networks;
      const { interfaceName } = networkNamed(known, end.via, 'NSM_DEVICE_SELECTOR_FILE');
      const link = netlink && (await findLink(netlink, interfaceName, budget));
      if (link === undefined) throw noLink(wire.id, end.via, interfaceName);
      places[side] = { link, vlanId: end.vlanId };
    }
    return places;
  }

  /** The pipe leads into the VLAN, all of which is made where it is missing. */
  async connect(end: FoundEnd, place: VlanPlace, budget: Budget): Promise<void> {
    if (!isPipe(end)) return;
    const { inventory, locks } = this.#setup;
    const { far } = end.pipe;
    this.#cleanLife = undefined;
    await locks.hold([hostLock], async () => {
      await inventory.lookAtOne(far, budget);
      const wireId = end.tag?.wireId ?? '';
      await this.#lead([far], { ...place, wireId }, budget);
      await this.#setUp(far, budget);
    });
  }

  /** Those of the ends whose VLAN is not as it was made. */
  async cutOff(ends: readonly FoundEnd[], budget: Budget): Promise<ReadonlySet<number>> {
    const { inventory } = this.#setup;
    const pipes = ends.filter(isPipe).filter(({ tag }) => tag !== undefined);
    if (pipes.length === 0) return new Set();
    const domains = await this.#domains(budget);
    const isWhole = ({ pipe, tag }: PipeEnd): boolean => {
      const mark = tag?.link ?? 0;
      const members = domains.get(mark)?.members;
      const access = inventory.all().find((each) => this.#markOf(each) === mark);
      const isOpen = access?.isUp === true && access.access?.isRewritten === true;
      const isFarUp = inventory.at(pipe.far)?.isUp !== false;
      return isOpen && isFarUp && [access.index, pipe.far].every((each) => members?.has(each));
    };
    return new Set(pipes.filter((pipe) => !isWhole(pipe)).map(({ index }) => index));
  }

  /** Puts right whatever somebody did to the VLANs of pipes that are there. */
  async mend(budget: Budget): Promise<void> {
    const { inventory, locks, netlink, networks } = this.#setup;
    if (netlink === undefined || !inventory.some(isPipe)) return;
    for (const { interfaceName } of networks.values()) {
      const link = await findLink(netlink, interfaceName, budget);
      if (link === undefined) continue;
      await locks.hold([hostLock], async () => {
        for (const mark of this.#usedMarks()) {
          const { link: index, vlanId } = vlanOfMark(mark);
          if (index !== link.index) continue;
          const pipes = inventory.all().filter(isPipe);
          const fars = pipes.flatMap(({ tag, pipe }) => (tag?.link === mark ? [pipe.far] : []));
          await this.#lead(fars, { link, vlanId, wireId: '' }, budget);
        }
      });
    }
  }

  /** Takes away what no pipe leads to any more. */
  async release(budget: Budget): Promise<void> {
    const { vpp, inventory, owner, locks } = this.#setup;
    await locks.hold([hostLock], async () => {
      await inventory.ready(budget);
      const { life } = inventory;
      if (this.#cleanLife === life) return;
      const domains = await this.#domains(budget);
      const used = this.#usedMarks();
      const links = new Set([...used].map((mark) => vlanOfMark(mark).link));
      for (const end of inventory.all()) {
        const mark = this.#markOf(end);
        const isLeft = mark === undefined ? this.#isUntaggedAccess(end) : !used.has(mark);
        if (isLeft) await this.#dropAccess(end, budget);
      }
      for (const [mark, { id }] of domains) {
        if (used.has(mark)) continue;
        // Where somebody else has put an interface into it, it stays for that.
        await vpp
          .request('bridge_domain_add_del_v2', { bd_id: id, is_add: false }, budget)
          .catch(() => {});
      }
      for (const end of inventory.all()) {
        const tag = parseNetworkTag(owner, end.text);
        const isLeft =
          tag === undefined ? await this.#isUntaggedHost(end, budget) : !links.has(tag.link);
        if (isLeft) await this.#dropHost(end, budget);
      }
      if (used.size === 0) this.#cleanLife = life;
    });
  }

  async #lead(
    fars: readonly number[],
    { link, vlanId, wireId }: VlanPlace & { readonly wireId: string },
    budget: Budget,
  ): Promise<void> {
    const host = await this.#host(link, wireId, budget);
    const mark = vlanMark({ link: link.index, vlanId });
    const access = await this.#access(host, { mark, vlanId, wireId }, budget);
    const { id, members } = await this.#domain(mark, budget);
    const isMember = members.has(access.index);
    if (!isMember) await this.#bridge(access.index, id, budget);
    // It is lost with every change of what the interface is joined to.
    if (!isMember || access.access?.isRewritten !== true) await this.#rewrite(access, budget);
    await this.#setUp(access.index, budget);
    for (const far of fars) if (!members.has(far)) await this.#bridge(far, id, budget);
  }

  /** Whoever's it is. One over a link that was made anew since is of no use, and holds the name. */
  async #host(link: Link, wireId: string, budget: Budget): Promise<FoundEnd> {
    const { inventory, owner, netlink } = this.#setup;
    const named = inventory.all().find(({ hostLink }) => hostLink === link.name);
    if (named !== undefined) await inventory.lookAtOne(named.index, budget);
    let host = named && inventory.at(named.index);
    if (host?.hostLink !== link.name) host = undefined;
    const text = networkTag(owner, { link: link.index, wasPromiscuous: link.isPromiscuous });
    if (host !== undefined && isHostOver(host, link)) {
      host = await tagInterface(this.#setup, host, text, budget);
    }
    const isStale = host !== undefined && (this.#linkOf(host) ?? link.index) !== link.index;
    if (host !== undefined && isStale) {
      await this.#dropHost(host, budget);
      host = undefined;
    }
    if (host === undefined) {
      try {
        host = await takeUpLink(this.#setup, { link, text }, budget);
      } catch (error) {
        throw hostInterfaceRefused(wireId, link.name, error);
      }
    }
    // Else a NIC takes in its own address alone.
    if (netlink && !link.isPromiscuous) await setPromiscuous(netlink, link.index, true, budget);
    await this.#setUp(host.index, budget);
    return host;
  }

  /** Index of the link behind a host interface of this owner's. */
  #linkOf({ text }: FoundEnd): number | undefined {
    const { owner } = this.#setup;
    return parseNetworkTag(owner, text)?.link ?? parseUplinkTag(owner, text);
  }

  /** The sub-interface of the VLAN. */
  async #access(
    host: FoundEnd,
    { mark, vlanId, wireId }: { mark: number; vlanId: number; wireId: string },
    budget: Budget,
  ): Promise<FoundEnd> {
    const { vpp, inventory, owner } = this.#setup;
    const isIt = ({ access }: FoundEnd): boolean =>
      access?.host === host.index && access.vlanId === vlanId;
    for (const { index } of inventory.all().filter(isIt)) await inventory.lookAtOne(index, budget);
    const found = inventory.all().find(isIt);
    const text = vlanTag(owner, mark);
    if (found?.text === text) return found;
    if (found !== undefined && this.#isUntaggedAccess(found)) {
      return tagInterface(this.#setup, found, text, budget);
    }
    if (found !== undefined) throw vlanTaken(wireId, vlanId, found);
    const subId = this.#subId(host, vlanId);
    const askedAt = inventory.asking();
    const fields = {
      sw_if_index: host.index,
      sub_id: subId,
      sub_if_flags: subInterfaceFlags.oneTag | subInterfaceFlags.exactMatch,
      outer_vlan_id: vlanId,
      inner_vlan_id: 0,
    };
    const { sw_if_index: index } = await vpp.request('create_subif', fields, budget);
    const access = { host: host.index, vlanId, subId, isRewritten: false };
    const made = { index, name: `${host.name}.${subId}`, text: '', isUp: false, access };
    inventory.seen(askedAt, index, made);
    return tagInterface(this.#setup, made, text, budget);
  }

  /** By it the sub-interface is known before it has a tag. */
  #subId({ hostLink = '' }: FoundEnd, vlanId: number): number {
    return ownInstances(this.#setup.owner, `${hostLink} ${vlanId}`, 'endpoint')[0] ?? 0;
  }

  #isUntaggedAccess({ text, access }: FoundEnd): boolean {
    if (access === undefined || text !== '') return false;
    const host = this.#setup.inventory.at(access.host);
    return host !== undefined && access.subId === this.#subId(host, access.vlanId);
  }

  /** Made by a process that was killed before it could tag it. */
  async #isUntaggedHost(end: FoundEnd, budget: Budget): Promise<boolean> {
    const { netlink, networks } = this.#setup;
    const { text, hostLink } = end;
    const isNetwork = [...networks.values()].some((each) => each.interfaceName === hostLink);
    if (netlink === undefined || text !== '' || !isNetwork) return false;
    const link = await findLink(netlink, hostLink ?? '', budget);
    return link !== undefined && isHostOver(end, link);
  }

  async #domain(mark: number, budget: Budget): Promise<Domain> {
    const { vpp, owner } = this.#setup;
    const there = (await this.#domains(budget)).get(mark);
    if (there !== undefined) return there;
    const fields = {
      bd_id: allOnes,
      flood: true,
      uu_flood: true,
      forward: true,
      learn: true,
      mac_age: forgottenAfterMinutes,
      bd_tag: vlanTag(owner, mark),
      is_add: true,
    };
    const { bd_id: id } = await vpp.request('bridge_domain_add_del_v2', fields, budget);
    return { id, members: new Set() };
  }

  /** Those of this owner. */
  async #domains(budget: Budget): Promise<ReadonlyMap<number, Domain>> {
    const { vpp, owner } = this.#setup;
    const found = await vpp.dump('bridge_domain_dump', { bd_id: allOnes }, budget);
    return new Map(
      found.flatMap(({ bd_id: id, bd_tag, sw_if_details: all }) => {
        const mark = parseVlanTag(owner, bd_tag);
        const members = new Set(all.map(({ sw_if_index }) => sw_if_index));
        return mark === undefined ? [] : [[mark, { id, members }] as const];
      }),
    );
  }

  #usedMarks(): ReadonlySet<number> {
    const pipes = this.#setup.inventory.all().filter(isPipe);
    return new Set(pipes.flatMap(({ tag }) => tag?.link ?? []));
  }

  /** Of a sub-interface of this owner's. */
  #markOf({ access, text }: FoundEnd): number | undefined {
    return access && parseVlanTag(this.#setup.owner, text);
  }

  async #bridge(index: number, id: number, budget: Budget): Promise<void> {
    const fields = { rx_sw_if_index: index, bd_id: id, enable: true };
    await this.#setup.vpp.request('sw_interface_set_l2_bridge', fields, budget);
  }

  /** Frames lose the tag when they come in, and get it when they go out. */
  async #rewrite({ index }: FoundEnd, budget: Budget): Promise<void> {
    const { vpp, inventory } = this.#setup;
    const askedAt = inventory.asking();
    const fields = { sw_if_index: index, vtr_op: vlanRewrite.popOne };
    await vpp.request('l2_interface_vlan_tag_rewrite', fields, budget);
    const end = inventory.at(index);
    if (end?.access === undefined) return;
    inventory.seen(askedAt, index, { ...end, access: { ...end.access, isRewritten: true } });
  }

  async #setUp(index: number, budget: Budget): Promise<void> {
    const { vpp, inventory } = this.#setup;
    const end = inventory.at(index);
    if (end === undefined || end.isUp) return;
    const askedAt = inventory.asking();
    const fields = { sw_if_index: index, flags: interfaceFlags.adminUp };
    await vpp.request('sw_interface_set_flags', fields, budget);
    inventory.seen(askedAt, index, { ...end, isUp: true });
  }

  async #dropAccess({ index }: FoundEnd, budget: Budget): Promise<void> {
    const { vpp, inventory } = this.#setup;
    const askedAt = inventory.asking();
    await vpp.request('delete_subif', { sw_if_index: index }, budget);
    inventory.seen(askedAt, index, undefined);
  }

  /** Its sub-interfaces go with it. The link is as it was before. */
  async #dropHost(end: FoundEnd, budget: Budget): Promise<void> {
    const { vpp, inventory, owner, netlink } = this.#setup;
    const { index, hostLink = '', text } = end;
    const tag = parseNetworkTag(owner, text);
    if (netlink && tag?.wasPromiscuous === false) {
      await setPromiscuous(netlink, tag.link, false, budget);
    }
    const askedAt = inventory.asking();
    await vpp.request('af_packet_delete', { host_if_name: hostLink }, budget);
    for (const each of inventory.all()) {
      if (each.index !== index && each.access?.host !== index) continue;
      inventory.seen(askedAt, each.index, undefined);
    }
  }
}

/** As `takeUpLink` leaves it before it is tagged: VPP gives others an address of its own. */
const isHostOver = ({ text, hostLink, macAddress }: FoundEnd, link: Link): boolean =>
  text === '' && hostLink === link.name && macAddress === link.macAddress;

function noLink(wireId: string, via: string, name: string): NsmError {
  return new NsmError('FAILED_PRECONDITION', `the link of network ${via} is not there`, {
    rule: 'via',
    expected: `a link ${name} in the network namespace of VPP`,
    found: 'none of that name',
    remedy: 'make it, or name another in NSM_DEVICE_SELECTOR_FILE',
    connectionId: wireId,
  });
}

function vlanTaken(wireId: string, vlanId: number, { name, text }: FoundEnd): NsmError {
  return new NsmError('FAILED_PRECONDITION', `VLAN ${vlanId} is taken in this VPP`, {
    rule: 'VLAN id',
    expected: 'a VLAN without a sub-interface of others',
    found: text === '' ? name : `${name}, tagged ${text}`,
    remedy: 'remove that sub-interface, or choose another VLAN',
    connectionId: wireId,
  });
}
