// What VPP has of this owner's wires, as last seen: interfaces by number, who of them hands frames to whom. VPP tells
// nobody when a cross connect is changed, so it is also looked at from time to time.
// Invariants: whatever was seen later wins: everything carries the moment at which it was asked for, and VPP works in
// the order of asking; nothing is kept across a loss of the connection.

import { afPacketMode, allOnes, interfaceFlags } from '../../protocols/vpp/messages/enums.ts';
import { vlanRewrite } from '../../protocols/vpp/messages/switching-messages.ts';
import { formatVppAddress } from '../../protocols/vpp/vpp-address.ts';
import { formatMac } from '../../protocols/netlink/ip-address.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { DetailsFields } from '../../protocols/vpp/messages/known-messages.ts';
import { findIpsecs, type FoundIpsec } from './ipsec.ts';
import { noneWithoutPlugin } from './missing-plugin.ts';
import { routesOf } from './routing.ts';
import type { EndTag, Owner } from './tags.ts';
import { parseEndTag } from './tags.ts';
import { linkOfTags } from './trunk-programs.ts';
import { findWireguards, type FoundWireguard, lookAtWireguard } from './wireguard.ts';

/** Where a VXLAN tunnel leads to, as VPP keeps it. */
export interface TunnelPlace {
  readonly localIp: string;
  readonly remoteIp: string;
  readonly localPort: number;
  readonly remotePort: number;
  readonly vni: number;
}

export interface FoundMemif {
  readonly socketId: number;
  /** As VPP has it: `abstract:/tmp/memif.sock,netns_name=/proc/1/ns/net`, or a path. */
  readonly socketName: string;
  readonly role: number;
  /** Of `memifMode`. */
  readonly mode: number;
  /** Whether the other end is there. */
  readonly isConnected?: boolean;
}

/** A sub-interface with two VLAN tags. */
export interface FoundBranch {
  /** `sw_if_index` of the interface that it is a part of. */
  readonly trunk: number;
  readonly subId: number;
  /** Index of the kernel's link that its tags name. */
  readonly link: number;
  /** Whether frames lose the tags when they come in, and get them when they go out. */
  readonly isRewritten: boolean;
}

/** One side of a pair of interfaces: what goes out at one comes in at the other. */
export interface FoundPipe {
  /** `sw_if_index` of the one above both, which sets them up and down. */
  readonly parent: number;
  /** `sw_if_index` of the other side. */
  readonly far: number;
  readonly instance: number;
}

/** A sub-interface with one VLAN tag. */
export interface FoundAccess {
  /** `sw_if_index` of the interface that it is a part of. */
  readonly host: number;
  readonly subId: number;
  readonly vlanId: number;
  /** Whether frames lose the tag when they come in, and get it when they go out. */
  readonly isRewritten: boolean;
}

/** An interface that is, or may be, the end of a wire. */
export interface FoundEnd {
  /** `sw_if_index`. */
  readonly index: number;
  readonly name: string;
  /** Administratively. */
  readonly isUp: boolean;
  /** Absent where it is not this owner's, or was made and not yet tagged. */
  readonly tag?: EndTag;
  /** Name of the kernel's link, of a host interface. */
  readonly hostLink?: string;
  readonly tunnel?: TunnelPlace & { readonly instance: number };
  readonly memif?: FoundMemif;
  readonly wireguard?: FoundWireguard;
  readonly ipsec?: FoundIpsec;
  readonly branch?: FoundBranch;
  readonly pipe?: FoundPipe;
  readonly access?: FoundAccess;
  readonly macAddress?: string;
  /** The tag as it stands there. */
  readonly text: string;
}

interface Seen {
  readonly askedAt: number;
  /** Undefined: it is gone. */
  readonly end: FoundEnd | undefined;
}

interface SeenJoint {
  readonly askedAt: number;
  readonly to: number | undefined;
}

export interface InventoryOptions {
  readonly vpp: Vpp;
  readonly owner: Owner;
}

/** What an interface is made of. */
type Made = Partial<Pick<FoundEnd, 'tunnel' | 'memif' | 'wireguard' | 'ipsec' | 'pipe'>>;

/** How frames, or packets, get from one interface to another. */
type Layer = 'switched' | 'routed';

const hostPrefix = 'host-';
/** No link can be called so. */
const noLink = 'vwire/none';

export class Inventory {
  readonly #options: InventoryOptions;
  readonly #ends = new Map<number, Seen>();
  readonly #joints: Record<Layer, Map<number, SeenJoint>> = {
    switched: new Map(),
    routed: new Map(),
  };
  readonly #byWire = new Map<string, Set<number>>();
  /** Nobody's yet, of what is known of them. */
  readonly #untagged = new Set<number>();
  #askedAt = 0;
  #life = 0;
  #isKnown = false;
  #looking: Promise<void> | undefined;

  constructor(options: InventoryOptions) {
    this.#options = options;
  }

  /** The moment of asking; to be taken right before a request is sent, and given back with what came of it. */
  asking(): number {
    return ++this.#askedAt;
  }

  /** Changes with every loss of the connection: what was done before may be gone. */
  get life(): number {
    return this.#life;
  }

  /** Everything is unknown again. */
  forget(): void {
    this.#life++;
    this.#isKnown = false;
    this.#looking = undefined;
    const { switched, routed } = this.#joints;
    const all = [this.#ends, switched, routed, this.#byWire, this.#untagged];
    for (const each of all) each.clear();
  }

  /** Resolves once everything has been seen since the connection was made. */
  async ready(budget: Budget): Promise<void> {
    if (this.#isKnown) return;
    this.#looking ??= this.look(budget).finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  /** Looks at everything. */
  async look(budget: Budget): Promise<void> {
    const { vpp } = this.#options;
    const life = this.#life;
    const askedAt = this.asking();
    const [interfaces, tunnels, memifs, sockets, ...more] = await Promise.all([
      vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget),
      vpp.dump('vxlan_tunnel_v2_dump', { sw_if_index: allOnes }, budget).catch(noneWithoutPlugin),
      vpp.dump('memif_dump', {}, budget).catch(noneWithoutPlugin),
      vpp.dump('memif_socket_filename_dump', {}, budget).catch(noneWithoutPlugin),
      findWireguards(vpp, budget),
      findIpsecs(vpp, budget),
      findPipes(vpp, budget),
      ...this.#dumpJoints(budget),
    ]);
    const [wireguardAt, ipsecAt, pipeAt, joints, routes] = more;
    // Of a VPP that may have ended meanwhile.
    if (life !== this.#life) return this.look(budget);
    const tunnelAt = new Map(tunnels.map((each) => [each.sw_if_index, tunnelOf(each)]));
    const socketNames = new Map(sockets.map((each) => [each.socket_id, each.socket_filename]));
    const memifAt = new Map(
      memifs.map(({ sw_if_index: index, socket_id: socketId, role, mode }) => {
        const socketName = socketNames.get(socketId) ?? '';
        return [index, { socketId, socketName, role, mode }];
      }),
    );
    const found = new Map(interfaces.map((each) => [each.sw_if_index, each]));
    for (const index of new Set([...this.#ends.keys(), ...found.keys()])) {
      const details = found.get(index);
      const [tunnel, memif] = [tunnelAt.get(index), memifAt.get(index)];
      const [wireguard, ipsec] = [wireguardAt.get(index), ipsecAt.get(index)];
      const made = madeOf({ tunnel, memif, wireguard, ipsec, pipe: pipeAt.get(index) });
      this.seen(askedAt, index, details && this.#endOf(details, made));
    }
    this.#applyJoints(askedAt, joints, routes);
    this.#isKnown = true;
    await this.#failOnPurpose(budget);
  }

  /**
   * VPP 26.10 does not notice that a client has ended where the last failure of a system call was EAGAIN, as when a long
   * answer had to wait; it stands still once 16 such are left. So the last thing after long answers is another failure.
   */
  async #failOnPurpose(budget: Budget): Promise<void> {
    const nobody = { mode: afPacketMode.ethernet, host_if_name: noLink };
    await this.#options.vpp.read('af_packet_create_v3', nobody, budget).catch(() => {});
  }

  /** Looks at who hands frames to whom. Returns the interfaces of which that is news. */
  async lookAtJoints(budget: Budget): Promise<readonly number[]> {
    const askedAt = this.asking();
    const [joints, routes] = await Promise.all(this.#dumpJoints(budget));
    return this.#applyJoints(askedAt, joints, routes);
  }

  /** Looks at the interfaces of one wire. */
  async lookAt(wireId: string, budget: Budget): Promise<void> {
    const { vpp } = this.#options;
    await Promise.all(
      this.of(wireId).map(async ({ index, name, tunnel, memif, wireguard, ipsec, pipe }) => {
        const askedAt = this.asking();
        const [[details], wireguardNow, ipsecNow] = await Promise.all([
          vpp.dump('sw_interface_dump', { sw_if_index: index }, budget),
          wireguard && lookAtWireguard(vpp, index, { known: wireguard, budget }),
          ipsec && findIpsecs(vpp, budget, index),
        ]);
        // But for peers and profiles, what it is made of never changes; another interface of the same number has another name.
        const isSame = details?.interface_name === name;
        const now = { tunnel, memif, pipe, wireguard: wireguardNow, ipsec: ipsecNow?.get(index) };
        const made = isSame ? madeOf(now) : {};
        this.seen(askedAt, index, details && this.#endOf(details, made));
      }),
    );
  }

  /** Looks at one interface that is not the end of a wire. */
  async lookAtOne(index: number, budget: Budget): Promise<void> {
    const askedAt = this.asking();
    const fields = { sw_if_index: index };
    const [details] = await this.#options.vpp.dump('sw_interface_dump', fields, budget);
    this.seen(askedAt, index, details && this.#endOf(details, {}));
  }

  seen(askedAt: number, index: number, end: FoundEnd | undefined): void {
    const before = this.#ends.get(index);
    if (before !== undefined && before.askedAt > askedAt) return;
    this.#ends.set(index, { askedAt, end });
    this.#sort(index, end, before?.end?.tag?.wireId);
  }

  #sort(index: number, end: FoundEnd | undefined, wireBefore: string | undefined): void {
    if (wireBefore !== undefined) {
      this.#byWire.get(wireBefore)?.delete(index);
      if (this.#byWire.get(wireBefore)?.size === 0) this.#byWire.delete(wireBefore);
    }
    if (end?.text === '') this.#untagged.add(index);
    else this.#untagged.delete(index);
    const wireId = end?.tag?.wireId;
    if (wireId === undefined) return;
    this.#byWire.set(wireId, (this.#byWire.get(wireId) ?? new Set()).add(index));
  }

  /** `to`: the interface that frames of `from` go to; undefined for none. Returns whether that is news. */
  joined(askedAt: number, from: number, to: number | undefined): boolean {
    return this.#joined('switched', askedAt, { from, to });
  }

  /** As `joined`, of packets, wherever frames of `from` are not switched. */
  routed(askedAt: number, from: number, to: number | undefined): boolean {
    return this.#joined('routed', askedAt, { from, to });
  }

  /** VPP told whether the other end of a memif is there. Returns what was known before. */
  connected(index: number, isConnected: boolean): boolean | undefined {
    const end = this.at(index);
    if (end?.memif === undefined) return undefined;
    this.seen(this.asking(), index, { ...end, memif: { ...end.memif, isConnected } });
    return end.memif.isConnected;
  }

  at(index: number): FoundEnd | undefined {
    return this.#ends.get(index)?.end;
  }

  /** Where what comes in at the interface goes to. */
  jointOf(index: number): number | undefined {
    return this.switchedTo(index) ?? this.routedTo(index);
  }

  switchedTo(index: number): number | undefined {
    return this.#joints.switched.get(index)?.to;
  }

  /** While it is switched somewhere this has no effect. */
  routedTo(index: number): number | undefined {
    return this.#joints.routed.get(index)?.to;
  }

  of(wireId: string): FoundEnd[] {
    return [...(this.#byWire.get(wireId) ?? [])].flatMap((index) => this.at(index) ?? []);
  }

  /** What may be of a wire whose maker was killed before it could say so. */
  untagged(): FoundEnd[] {
    return [...this.#untagged].flatMap((index) => this.at(index) ?? []);
  }

  wireIds(): string[] {
    return [...this.#byWire.keys()];
  }

  /** Everything, whoever's it is. */
  all(): FoundEnd[] {
    return [...this.#ends.values()].flatMap(({ end }) => end ?? []);
  }

  some(isIt: (end: FoundEnd) => boolean): boolean {
    for (const { end } of this.#ends.values()) if (end !== undefined && isIt(end)) return true;
    return false;
  }

  #dumpJoints(budget: Budget) {
    const { vpp } = this.#options;
    return [
      vpp.dump('l2_xconnect_dump', {}, budget),
      vpp.dump('l3xc_dump', { sw_if_index: allOnes }, budget).catch(noneWithoutPlugin),
    ] as const;
  }

  #applyJoints(
    askedAt: number,
    joints: readonly DetailsFields<'l2_xconnect_dump'>[],
    routes: readonly DetailsFields<'l3xc_dump'>[],
  ): readonly number[] {
    const found: Record<Layer, ReadonlyMap<number, number>> = {
      switched: new Map(joints.map((each) => [each.rx_sw_if_index, each.tx_sw_if_index])),
      routed: routesOf(routes),
    };
    const changed = (['switched', 'routed'] as const).flatMap((layer) => {
      const indexes = [...this.#joints[layer].keys(), ...found[layer].keys()];
      return [...new Set(indexes)].filter((from) =>
        this.#joined(layer, askedAt, { from, to: found[layer].get(from) }),
      );
    });
    return [...new Set(changed)];
  }

  #joined(
    layer: Layer,
    askedAt: number,
    { from, to }: { readonly from: number; readonly to: number | undefined },
  ): boolean {
    const before = this.#joints[layer].get(from);
    if (before !== undefined && before.askedAt > askedAt) return false;
    this.#joints[layer].set(from, { askedAt, to });
    return before?.to !== to;
  }

  #endOf(details: DetailsFields<'sw_interface_dump'>, made: Made): FoundEnd {
    const { sw_if_index: index, interface_name: name, flags, tag: text, l2_address: mac } = details;
    const tag = parseEndTag(this.#options.owner, text);
    const [branch, access] = [branchIn(details), accessIn(details)];
    const isConnected = (flags & interfaceFlags.linkUp) !== 0;
    const isHost = branch === undefined && access === undefined && name.startsWith(hostPrefix);
    return {
      index,
      name,
      text,
      macAddress: formatMac(mac),
      isUp: (flags & interfaceFlags.adminUp) !== 0,
      ...(tag === undefined ? {} : { tag }),
      ...(branch === undefined ? {} : { branch }),
      ...(access === undefined ? {} : { access }),
      ...(isHost ? { hostLink: name.slice(hostPrefix.length) } : {}),
      ...made,
      ...(made.memif && { memif: { ...made.memif, isConnected } }),
    };
  }
}

function branchIn(details: DetailsFields<'sw_interface_dump'>): FoundBranch | undefined {
  const { sup_sw_if_index: trunk, sub_id: subId, vtr_op: operation } = details;
  const [outer, inner] = [details.sub_outer_vlan_id, details.sub_inner_vlan_id];
  if (trunk === details.sw_if_index || outer === 0 || inner === 0) return undefined;
  const isRewritten = operation === vlanRewrite.popTwo;
  return { trunk, subId, link: linkOfTags({ outer, inner }), isRewritten };
}

function accessIn(details: DetailsFields<'sw_interface_dump'>): FoundAccess | undefined {
  const { sup_sw_if_index: host, sub_id: subId, sub_outer_vlan_id: vlanId } = details;
  if (host === details.sw_if_index || vlanId === 0 || details.sub_inner_vlan_id !== 0) {
    return undefined;
  }
  return { host, subId, vlanId, isRewritten: details.vtr_op === vlanRewrite.popOne };
}

/** By the side that the client is joined to. */
async function findPipes(vpp: Vpp, budget: Budget): Promise<ReadonlyMap<number, FoundPipe>> {
  const found = await vpp.dump('pipe_dump', {}, budget).catch(noneWithoutPlugin);
  return new Map(
    found.flatMap(({ sw_if_index: parent, pipe_sw_if_index: [near, far], instance }) =>
      near === undefined || far === undefined ? [] : [[near, { parent, far, instance }] as const],
    ),
  );
}

/** Without what is undefined. */
function madeOf(made: { readonly [Key in keyof Made]: Made[Key] | undefined }): Made {
  const { tunnel, memif, wireguard, ipsec, pipe } = made;
  return {
    ...(tunnel === undefined ? {} : { tunnel }),
    ...(memif === undefined ? {} : { memif }),
    ...(wireguard === undefined ? {} : { wireguard }),
    ...(ipsec === undefined ? {} : { ipsec }),
    ...(pipe === undefined ? {} : { pipe }),
  };
}

export const hostInterfaceName = (link: string): string => `${hostPrefix}${link}`;

function tunnelOf(details: DetailsFields<'vxlan_tunnel_v2_dump'>) {
  return {
    instance: details.instance,
    localIp: formatVppAddress(details.src_address),
    remoteIp: formatVppAddress(details.dst_address),
    localPort: details.src_port,
    remotePort: details.dst_port,
    vni: details.vni,
  };
}
