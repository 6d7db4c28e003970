// What is said to VPP about the ends of wires, each with what it changes in the inventory.
// Invariants: an end that is made is tagged, up and known before it is used, or taken away again; an interface that goes
// hands nothing to another any more, since VPP would take the other one's cross connect away with it.

import { asNsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { TunnelSecrets } from '../../protocols/ports/tunnel-keys.ts';
import type { Vpp } from '../../protocols/ports/vpp.ts';
import type { NodeLink } from '../../protocols/ports/wire-ends.ts';
import { decodeBase64 } from '../../protocols/spiffe/base64url.ts';
import { parseMac } from '../../protocols/netlink/ip-address.ts';
import {
  afPacketFlags,
  afPacketMode,
  allOnes,
  interfaceFlags,
  memifMode,
  subInterfaceFlags,
  tunnelMode,
} from '../../protocols/vpp/messages/enums.ts';
import { vlanRewrite } from '../../protocols/vpp/messages/switching-messages.ts';
import { vppAddress, vppPrefix } from '../../protocols/vpp/vpp-address.ts';
import { frameClassAt } from './frame-classes.ts';
import { type FoundEnd, hostInterfaceName, type Inventory, type TunnelPlace } from './inventory.ts';
import type { Routing } from './routing.ts';
import {
  type EndTag,
  formatEndTag,
  ownInstances,
  type Owner,
  ownMacAddress,
  parseEndTag,
} from './tags.ts';
import { branchTags } from './trunk-programs.ts';
import type { Trunk } from './trunks.ts';
import { Turns } from './turns.ts';
import type { IpsecPart, WireguardPart } from './wire-parts.ts';
import { type FoundPeer, wireguardPlaceOf } from './wireguard.ts';

export interface NewMemif {
  readonly socketName: string;
  /** Of `memifRole`. */
  readonly role: number;
  readonly mode: 'ip' | 'ethernet';
  /** One of packets has none. */
  readonly macAddress: string;
  readonly tag: EndTag;
}

export interface NewInstance {
  readonly instance: number;
  readonly tag: EndTag;
}

/** Time for taking back what was done, whatever became of the caller's own. */
export const undoBudget: Budget = { timeoutMs: 5_000 };

export interface OperationsOptions {
  readonly vpp: Vpp;
  readonly owner: Owner;
  readonly inventory: Inventory;
  readonly routing: Routing;
  readonly clock: Clock;
  /** Absent: no WireGuard tunnel is made. */
  readonly secrets?: TunnelSecrets | undefined;
}

/** Seconds; as the reference's. */
const keepaliveSeconds = 10;
const anywhere = [vppPrefix('0.0.0.0/0'), vppPrefix('::/0')];

/**
 * In between VPP forwards what has come meanwhile. That of 26.10 never gets to it again where 16 host interfaces have frames
 * waiting when it looks (`epoll_events` in src/vlib/file.c), which a few slow calls in a row are enough for.
 */
const slowCallsMax = 1;

export class Operations {
  readonly #vpp: Vpp;
  readonly #owner: Owner;
  readonly #inventory: Inventory;
  readonly #routing: Routing;
  readonly #secrets: TunnelSecrets | undefined;
  readonly #turns: Turns;

  constructor({ vpp, owner, inventory, routing, clock, secrets }: OperationsOptions) {
    this.#vpp = vpp;
    this.#owner = owner;
    this.#inventory = inventory;
    this.#routing = routing;
    this.#secrets = secrets;
    this.#turns = new Turns(clock, slowCallsMax);
  }

  async makeHost(link: NodeLink, tag: EndTag, budget: Budget): Promise<FoundEnd> {
    formatEndTag(this.#owner, tag);
    const { frameBytes, framesPerRing } = frameClassAt(tag.frames);
    const macAddress = ownMacAddress(this.#owner, tag.wireId, tag.side);
    const fields = {
      mode: afPacketMode.ethernet,
      hw_addr: parseMac(macAddress),
      use_random_hw_addr: false,
      host_if_name: link.name,
      rx_frame_size: frameBytes,
      tx_frame_size: frameBytes,
      rx_frames_per_block: framesPerRing,
      tx_frames_per_block: framesPerRing,
      num_rx_queues: 1,
      num_tx_queues: 1,
      // Version 3 of the kernel's rings holds frames back until a block is full, or a millisecond over.
      flags: afPacketFlags.version2 | afPacketFlags.qdiscBypass,
    };
    const { sw_if_index: index } = await this.#turns.take(budget, (left) =>
      this.#vpp.request('af_packet_create_v3', fields, left),
    );
    const name = hostInterfaceName(link.name);
    const made = { index, name, text: '', isUp: false, hostLink: link.name, macAddress };
    return this.#finish(made, tag, budget);
  }

  async makeBranch(
    { index: trunk }: Pick<Trunk, 'index'>,
    { instance: subId, tag }: NewInstance,
    budget: Budget,
  ): Promise<FoundEnd> {
    formatEndTag(this.#owner, tag);
    const { outer, inner } = branchTags(tag.link);
    const fields = {
      sw_if_index: trunk,
      sub_id: subId,
      // Without exact match frames that a workload has tagged itself come in as well.
      sub_if_flags: subInterfaceFlags.twoTags,
      outer_vlan_id: outer,
      inner_vlan_id: inner,
    };
    const { sw_if_index: index } = await this.#vpp.request('create_subif', fields, budget);
    const name = `${this.#inventory.at(trunk)?.name ?? ''}.${subId}`;
    const branch = { trunk, subId, link: tag.link, isRewritten: false };
    return this.#finish({ index, name, text: '', isUp: false, branch }, tag, budget);
  }

  async makeTunnel(
    place: TunnelPlace,
    { instance, tag }: NewInstance,
    budget: Budget,
  ): Promise<FoundEnd> {
    formatEndTag(this.#owner, tag);
    const { sw_if_index: index } = await this.#vpp.request(
      'vxlan_add_del_tunnel_v3',
      { ...tunnelFields(place), is_add: true, instance },
      budget,
    );
    const tunnel = { ...place, instance };
    const name = `vxlan_tunnel${instance}`;
    return this.#finish({ index, name, text: '', isUp: true, tunnel }, tag, budget);
  }

  async makeMemif({ socketName, role, mode: kind, macAddress, tag }: NewMemif, budget: Budget) {
    formatEndTag(this.#owner, tag);
    const socketId = await this.#socketOf(socketName, tag, budget);
    const mode = memifMode[kind];
    const address = parseMac(macAddress);
    const { sw_if_index: index } = await this.#vpp
      .request(
        'memif_create_v2',
        { role, mode, id: 0, socket_id: socketId, hw_addr: address },
        budget,
      )
      .catch(async (error: unknown) => {
        await this.#dropSocket(socketId, undoBudget);
        throw error;
      });
    const memif = { socketId, socketName, role, mode };
    const name = `memif${socketId}/0`;
    return this.#finish({ index, name, text: '', isUp: false, memif, macAddress }, tag, budget);
  }

  /** Without its peer. */
  async makeWireguard(
    { end, tag }: WireguardPart,
    instance: number,
    budget: Budget,
  ): Promise<FoundEnd> {
    formatEndTag(this.#owner, tag);
    const place = wireguardPlaceOf(end);
    const fields = {
      user_instance: instance,
      private_key: this.#secrets?.wireguardPrivateKey(end.keyName) ?? new Uint8Array(),
      port: place.localPort,
      src_ip: vppAddress(place.localIp),
    };
    const { sw_if_index: index } = await this.#vpp.request(
      'wireguard_interface_create',
      { interface: fields },
      budget,
    );
    const wireguard = { ...place, instance, peers: [] };
    return this.#finish(
      { index, name: `wg${instance}`, text: '', isUp: false, wireguard },
      tag,
      budget,
    );
  }

  /** Returns its index. Whatever it sends comes through, and it is called for by any address. */
  async addPeer(
    { index }: FoundEnd,
    peer: Omit<FoundPeer, 'index'>,
    budget: Budget,
  ): Promise<number> {
    const askedAt = this.#inventory.asking();
    const fields = {
      public_key: decodeBase64(peer.publicKey) ?? new Uint8Array(),
      endpoint: vppAddress(peer.remoteIp),
      port: peer.remotePort,
      persistent_keepalive: keepaliveSeconds,
      sw_if_index: index,
      allowed_ips: anywhere,
    };
    const made = await this.#vpp.request('wireguard_peer_add', { peer: fields }, budget);
    this.#changePeers(index, askedAt, (peers) => [...peers, { ...peer, index: made.peer_index }]);
    return made.peer_index;
  }

  /** What is gone already is no error. */
  async removePeer({ index }: FoundEnd, peerIndex: number, budget: Budget): Promise<void> {
    const askedAt = this.#inventory.asking();
    await this.#vpp
      .request('wireguard_peer_remove', { peer_index: peerIndex }, budget)
      .catch((error: unknown) => {
        if (!isGone(error)) throw error;
      });
    this.#changePeers(index, askedAt, (peers) => peers.filter((each) => each.index !== peerIndex));
  }

  /** Without its profile. VPP sets it up, and down, as its ends agree. */
  async makeIpsec({ tag }: IpsecPart, instance: number, budget: Budget): Promise<FoundEnd> {
    formatEndTag(this.#owner, tag);
    const itf = { user_instance: instance, mode: tunnelMode.pointToPoint };
    const { sw_if_index: index } = await this.#vpp.request('ipsec_itf_create', { itf }, budget);
    const ipsec = { instance, profiles: [] };
    const made = { index, name: `ipsec${instance}`, text: '', isUp: false, ipsec };
    return this.#finish(made, tag, budget);
  }

  /** Its far side leads nowhere yet. */
  async makePipe({ instance, tag }: NewInstance, budget: Budget): Promise<FoundEnd> {
    formatEndTag(this.#owner, tag);
    const fields = { is_specified: true, user_instance: instance };
    const { sw_if_index: parent, pipe_sw_if_index: made } = await this.#vpp.request(
      'pipe_create',
      fields,
      budget,
    );
    const [index = allOnes, far = allOnes] = made;
    const pipe = { parent, far, instance };
    const name = `pipe${instance}.0`;
    return this.#finish({ index, name, text: '', isUp: false, pipe }, tag, budget);
  }

  /** And what was agreed by it, at both ends. What is gone already is no error. */
  async dropProfile(name: string, budget: Budget): Promise<void> {
    const profile = { name, is_add: false };
    await this.#vpp.request('ikev2_profile_add_del', profile, budget).catch((error: unknown) => {
      if (!asNsmError(error).details.rule?.startsWith('UNSPECIFIED')) throw error;
    });
  }

  /** What was made by a process that was killed before it was done. */
  complete(found: FoundEnd, tag: EndTag, budget: Budget): Promise<unknown> {
    return Promise.all([
      found.text === '' ? this.retag(found, tag, budget) : undefined,
      found.isUp || found.ipsec ? undefined : this.setUp(found, budget),
      found.branch?.isRewritten === false ? this.#rewrite(found.index, budget) : undefined,
    ]);
  }

  /** Writes the tag anew. */
  async retag({ index }: FoundEnd, tag: EndTag, budget: Budget): Promise<void> {
    const text = formatEndTag(this.#owner, tag);
    const askedAt = this.#inventory.asking();
    const fields = { is_add: true, sw_if_index: index, tag: text };
    await this.#vpp.request('sw_interface_tag_add_del', fields, budget);
    this.#change(index, askedAt, { tag, text });
  }

  async setUp({ index, pipe }: FoundEnd, budget: Budget): Promise<void> {
    const askedAt = this.#inventory.asking();
    const flags = interfaceFlags.adminUp;
    const set = (sw_if_index: number): Promise<unknown> =>
      this.#vpp.request('sw_interface_set_flags', { sw_if_index, flags }, budget);
    // Sets both sides up if it was down itself.
    if (pipe !== undefined) await set(pipe.parent);
    await set(index);
    this.#change(index, askedAt, { isUp: true });
  }

  /** Frames that come in at `from` go out at `to`, from one packet to the next; undefined: nowhere. */
  async joinTo(from: number, to: number | undefined, budget: Budget): Promise<void> {
    const isBranch = this.#inventory.at(from)?.branch !== undefined;
    const askedAt = this.#inventory.asking();
    const fields = { rx_sw_if_index: from, tx_sw_if_index: to ?? 0, enable: to !== undefined };
    await Promise.all([
      // It is lost with every cross connect that is taken away, be it by VPP itself.
      isBranch && to !== undefined ? this.#rewrite(from, budget) : undefined,
      this.#vpp.request('sw_interface_set_l2_xconnect', fields, budget),
    ]);
    this.#inventory.joined(askedAt, from, to);
  }

  /** What is gone already is no error. */
  async drop(end: FoundEnd, budget: Budget): Promise<void> {
    const { index, memif, wireguard } = end;
    const { ipsec } = this.#inventory.at(index) ?? end;
    const isTunnel = wireguard !== undefined || ipsec !== undefined;
    const hasFrames = !isTunnel && memif?.mode !== memifMode.ip;
    const isRouted = !hasFrames || this.#inventory.routedTo(index) !== undefined;
    // An agreement would go on for the next interface of that number.
    for (const { name } of ipsec?.profiles ?? []) {
      if (parseEndTag(this.#owner, name) !== undefined) await this.dropProfile(name, budget);
    }
    const unjoined = Promise.all([
      ...(hasFrames ? [this.joinTo(index, undefined, budget)] : []),
      ...(isRouted ? [this.#routing.lead(index, undefined, budget)] : []),
      ...(wireguard === undefined ? [] : [this.#routing.letGo(index, budget)]),
    ]);
    const deleted = this.#delete(end, budget);
    const [, outcome] = await Promise.allSettled([unjoined, deleted]);
    if (outcome.status === 'rejected') throw outcome.reason;
    if (memif !== undefined) await this.#dropSocket(memif.socketId, budget);
  }

  async #delete(end: FoundEnd, budget: Budget): Promise<void> {
    const { index, hostLink, tunnel, memif, wireguard, ipsec, branch, pipe } = end;
    const ask = (left: Budget): Promise<unknown> => {
      const on = { sw_if_index: index };
      if (branch !== undefined) return this.#vpp.request('delete_subif', on, left);
      const tunnelGone = tunnel && { ...tunnelFields(tunnel), is_add: false };
      if (tunnelGone) return this.#vpp.request('vxlan_add_del_tunnel_v3', tunnelGone, left);
      if (wireguard !== undefined) return this.#vpp.request('wireguard_interface_delete', on, left);
      if (ipsec !== undefined) return this.#vpp.request('ipsec_itf_delete', on, left);
      const pipeGone = pipe && { sw_if_index: pipe.parent };
      if (pipeGone) return this.#vpp.request('pipe_delete', pipeGone, left);
      return memif === undefined
        ? this.#vpp.request('af_packet_delete', { host_if_name: hostLink ?? '' }, left)
        : this.#vpp.request('memif_delete', on, left);
    };
    const send = async (left: Budget): Promise<void> => {
      const askedAt = this.#inventory.asking();
      await ask(left).catch((error: unknown) => {
        if (!isGone(error)) throw error;
      });
      for (const each of [index, ...(pipe ? [pipe.parent, pipe.far] : [])]) {
        this.#inventory.seen(askedAt, each, undefined);
      }
      this.#inventory.joined(askedAt, index, undefined);
      this.#inventory.routed(askedAt, index, undefined);
    };
    await (hostLink === undefined ? send(budget) : this.#turns.take(budget, send));
  }

  /** Frames lose the tags of their branch when they come in, and get them when they go out. */
  async #rewrite(index: number, budget: Budget): Promise<void> {
    const askedAt = this.#inventory.asking();
    const fields = { sw_if_index: index, vtr_op: vlanRewrite.popTwo };
    await this.#vpp.request('l2_interface_vlan_tag_rewrite', fields, budget);
    const branch = this.#inventory.at(index)?.branch;
    if (branch) this.#change(index, askedAt, { branch: { ...branch, isRewritten: true } });
  }

  /** One that an earlier life has left behind serves as well. A memif is known by its number before it has a tag. */
  async #socketOf(socketName: string, { wireId, side }: EndTag, budget: Budget): Promise<number> {
    const sockets = await this.#vpp.dump('memif_socket_filename_dump', {}, budget);
    const found = sockets.find((each) => each.socket_filename === socketName);
    if (found !== undefined) return found.socket_id;
    const isFree = (id: number) => !sockets.some((each) => each.socket_id === id);
    const id = ownInstances(this.#owner, wireId, side).find(isFree) ?? allOnes;
    const { socket_id: made } = await this.#vpp.request(
      'memif_socket_filename_add_del_v2',
      { is_add: true, socket_id: id, socket_filename: socketName },
      budget,
    );
    return made;
  }

  /** One that somebody else uses as well stays. */
  async #dropSocket(socketId: number, budget: Budget): Promise<void> {
    const fields = { is_add: false, socket_id: socketId };
    await this.#vpp.request('memif_socket_filename_add_del_v2', fields, budget).catch(() => {});
  }

  /** Tags the new interface and sets it up; where that fails it goes again. */
  async #finish(made: FoundEnd, tag: EndTag, budget: Budget): Promise<FoundEnd> {
    const { index } = made;
    this.#inventory.seen(this.#inventory.asking(), index, made);
    try {
      await this.complete(made, tag, budget);
    } catch (error) {
      // What cannot be taken back now is found by its name or number when the wire is made or removed.
      await this.drop(made, undoBudget).catch(() => {});
      throw error;
    }
    return this.#inventory.at(index) ?? made;
  }

  #changePeers(
    index: number,
    askedAt: number,
    change: (peers: readonly FoundPeer[]) => readonly FoundPeer[],
  ): void {
    const wireguard = this.#inventory.at(index)?.wireguard;
    if (wireguard === undefined) return;
    const peers = change(wireguard.peers);
    this.#change(index, askedAt, { wireguard: { ...wireguard, peers } });
  }

  #change(index: number, askedAt: number, change: Partial<FoundEnd>): void {
    const end = this.#inventory.at(index);
    if (end !== undefined) this.#inventory.seen(askedAt, index, { ...end, ...change });
  }
}

/** What af_packet_delete and the deletion of a tunnel answer where there is none: SYSCALL_ERROR_1 and NO_SUCH_ENTRY. */
const isGone = (error: unknown): boolean =>
  /NO_SUCH_ENTRY|INVALID_SW_IF_INDEX|SYSCALL_ERROR_1 /.test(asNsmError(error).details.rule ?? '');

function tunnelFields({ localIp, remoteIp, localPort, remotePort, vni }: TunnelPlace) {
  return {
    src_address: vppAddress(localIp),
    dst_address: vppAddress(remoteIp),
    src_port: localPort,
    dst_port: remotePort,
    mcast_sw_if_index: allOnes,
    encap_vrf_id: 0,
    /** All ones: frames go where the cross connect says. */
    decap_next_index: allOnes,
    vni,
  };
}
