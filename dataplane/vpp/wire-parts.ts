// What a wire needs in VPP: for each side a branch of a trunk or a host interface over its link in the node, or a tunnel of
// its own, or a pipe into a VLAN.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { carriesPackets } from '../../protocols/netlink/check-wire.ts';
import type {
  IpsecEnd,
  MemifEnd,
  VxlanEnd,
  Wire,
  WireguardEnd,
} from '../../protocols/ports/dataplane.ts';
import { namespaceRules } from '../../protocols/ports/dataplane.ts';
import type { NodeLink, NodeLinks } from '../../protocols/ports/wire-ends.ts';
import { memifMode, memifRole } from '../../protocols/vpp/messages/enums.ts';
import { formatVppAddress, vppAddress } from '../../protocols/vpp/vpp-address.ts';
import { frameClassFor, trunkClassFor } from './frame-classes.ts';
import type { FoundEnd, TunnelPlace } from './inventory.ts';
import { tunnelMark } from './ipsec.ts';
import { isSameSocket, memifSocketName, type PathOf } from './memif-socket.ts';
import { noSuchMechanism } from './refusals.ts';
import {
  type EndTag,
  type Owner,
  ownMacAddress,
  type Side,
  sides,
  tagVersionOf,
  ownInstances,
  fewInstances,
  vlanMark,
} from './tags.ts';
import type { VlanPlace } from './vlan-networks.ts';
import { isSameWireguard, peerMark, wireguardPlaceOf } from './wireguard.ts';

export interface HostPart {
  readonly kind: 'host';
  readonly link: NodeLink;
  /** Packets are routed at it. */
  readonly isRouted: boolean;
  /** Of the workload's interface. */
  readonly workloadMac: string;
  readonly tag: EndTag;
}

export interface TunnelPart {
  readonly kind: 'tunnel';
  readonly place: TunnelPlace;
  readonly end: VxlanEnd;
  readonly tag: EndTag;
}

export interface MemifPart {
  readonly kind: 'memif';
  /** As VPP takes it. */
  readonly socketName: string;
  /** Of `memifRole`. */
  readonly role: number;
  readonly mode: MemifEnd['mode'];
  readonly macAddress: string;
  readonly tag: EndTag;
}

export interface WireguardPart {
  readonly kind: 'wireguard';
  readonly end: WireguardEnd;
  readonly tag: EndTag;
}

export interface IpsecPart {
  readonly kind: 'ipsec';
  readonly end: IpsecEnd;
  readonly tag: EndTag;
}

/** A pipe whose far side is in the VLAN. */
export interface VlanPart {
  readonly kind: 'vlan';
  readonly place: VlanPlace;
  readonly tag: EndTag;
}

export type WirePart = HostPart | TunnelPart | MemifPart | WireguardPart | IpsecPart | VlanPart;

/** What the sides of a wire need of the node. */
export interface PartsPlaces {
  readonly links: NodeLinks;
  readonly vlans: Partial<Record<Side, VlanPlace>>;
}

/** Where an end carries packets alone. */
export const isRouted = ({ client, endpoint }: Wire): boolean =>
  carriesPackets(client) || carriesPackets(endpoint);

export interface PartsContext {
  readonly owner: Owner;
  readonly pathOf: PathOf;
}

/** Errors: UNIMPLEMENTED (rule `mechanism`), those of `PathOf`. */
export function partsOf(
  context: PartsContext,
  wire: Wire,
  places: PartsPlaces,
): readonly WirePart[] {
  return sides.map((side) => partOf(context, wire, side, places));
}

function partOf(
  { owner, pathOf }: PartsContext,
  wire: Wire,
  side: Side,
  { links, vlans }: PartsPlaces,
): WirePart {
  const end = wire[side];
  const own = { version: tagVersionOf(owner), wireId: wire.id, side };
  if (end.kind === 'vxlan') {
    const place = placeOf(end);
    return { kind: 'tunnel', place, end, tag: { ...own, link: 0, frames: 0 } };
  }
  if (end.kind === 'memif') {
    return {
      kind: 'memif',
      socketName: socketNameOf(end, side, pathOf),
      role: memifRole[end.role],
      mode: end.mode,
      macAddress: ownMacAddress(owner, wire.id, side),
      tag: { ...own, link: 0, frames: 0 },
    };
  }
  if (end.kind === 'wireguard') {
    return { kind: 'wireguard', end, tag: { ...own, link: peerMark(end), frames: 0 } };
  }
  if (end.kind === 'ipsec') {
    return { kind: 'ipsec', end, tag: { ...own, link: tunnelMark(end), frames: 0 } };
  }
  const place = vlans[side];
  if (end.kind === 'vlan' && place !== undefined) {
    const mark = vlanMark({ link: place.link.index, vlanId: place.vlanId });
    return { kind: 'vlan', place, tag: { ...own, link: mark, frames: 0 } };
  }
  const link = links[side];
  if (end.kind !== 'kernel' || link === undefined) throw noSuchMechanism(wire.id, end.kind);
  const tag = { ...own, link: link.index, frames: frameClassFor(link.mtu) };
  return { kind: 'host', link, isRouted: isRouted(wire), workloadMac: end.macAddress, tag };
}

/** Errors: NOT_FOUND by the rule of the side's namespace. */
function socketNameOf({ socket }: MemifEnd, side: Side, pathOf: PathOf): string {
  try {
    return memifSocketName(socket, pathOf);
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (error.code !== 'NOT_FOUND') throw error;
    const { message, details } = error;
    throw new NsmError('NOT_FOUND', message, { ...details, rule: namespaceRules[side] });
  }
}

/** Addresses as VPP gives them back. */
function placeOf({ localIp, remoteIp, localPort, remotePort, vni }: VxlanEnd): TunnelPlace {
  const normal = (ip: string): string => formatVppAddress(vppAddress(ip));
  return { localIp: normal(localIp), remoteIp: normal(remoteIp), localPort, remotePort, vni };
}

/** Whether the interface is what the part needs, but for the version of its tag. */
export function fits(owner: Owner, part: WirePart, found: FoundEnd): boolean {
  const { wireId, side } = part.tag;
  if (part.kind === 'host') return fitsLink(owner, part, found);
  const { tag } = found;
  if (!isMadeAs(part, found)) return false;
  if (tag !== undefined) return tag.wireId === wireId && tag.side === side;
  return isUntagged(owner, found, { wireId, side });
}

/** The peers of a WireGuard tunnel, and the profile of an IPsec one, can still be changed. */
function isMadeAs(
  part: Exclude<WirePart, HostPart>,
  { tunnel, memif, wireguard, ipsec, pipe, tag }: FoundEnd,
): boolean {
  switch (part.kind) {
    case 'tunnel':
      return tunnel !== undefined && isSamePlace(tunnel, part.place);
    case 'memif':
      return (
        memif !== undefined &&
        memif.role === part.role &&
        memif.mode === memifMode[part.mode] &&
        isSameSocket(memif.socketName, part.socketName)
      );
    case 'wireguard':
      return wireguard !== undefined && isSameWireguard(wireguard, wireguardPlaceOf(part.end));
    case 'ipsec':
      return ipsec !== undefined && (tag === undefined || tag.link === part.tag.link);
    case 'vlan':
      return pipe !== undefined && (tag === undefined || tag.link === part.tag.link);
  }
}

/** A host interface of its own, as earlier versions made for each link, is as good as a branch, and the only one to route. */
function fitsLink(
  owner: Owner,
  { link, tag, isRouted: routed }: HostPart,
  found: FoundEnd,
): boolean {
  const { branch, hostLink, tag: foundTag } = found;
  const isOverLink = branch ? branch.link === link.index : hostLink === link.name;
  if (!isOverLink || (branch && routed)) return false;
  if (branch && foundTag === undefined) return isUntagged(owner, found, tag);
  const needed = branch ? (trunkClassFor(link.mtu) ?? Infinity) : tag.frames;
  return (
    foundTag?.link === tag.link &&
    foundTag.frames >= needed &&
    foundTag.wireId === tag.wireId &&
    foundTag.side === tag.side
  );
}

/** What was made for this wire by a process that was killed before it could write the tag. */
export function isUntagged(
  owner: Owner,
  found: FoundEnd,
  { wireId, side }: Pick<EndTag, 'wireId' | 'side'>,
): boolean {
  const { tunnel, hostLink, memif, branch, macAddress, text } = found;
  if (text !== '') return false;
  // A memif of packets has no address.
  const number = tunnel?.instance ?? branch?.subId ?? memif?.socketId;
  if (number !== undefined && ownInstances(owner, wireId, side).includes(number)) return true;
  const few = bareInstance(found);
  if (few !== undefined) return fewInstances(owner, wireId, side).includes(few);
  const isMade = hostLink !== undefined || memif !== undefined;
  return isMade && macAddress === ownMacAddress(owner, wireId, side);
}

/** Of an encrypted tunnel, or a pipe, to which nothing has been done yet: it gets its tag before anything else. */
function bareInstance({ wireguard, ipsec, pipe, isUp }: FoundEnd): number | undefined {
  if (isUp) return undefined;
  if (wireguard?.peers.length === 0) return wireguard.instance;
  return ipsec?.profiles.length === 0 ? ipsec.instance : pipe?.instance;
}

export const isSamePlace = (one: TunnelPlace, other: TunnelPlace): boolean =>
  isSameKey(one, other) && one.remotePort === other.remotePort;

/** VPP has one tunnel of these. */
export const isSameKey = (one: TunnelPlace, other: TunnelPlace): boolean =>
  one.localIp === other.localIp &&
  one.remoteIp === other.remoteIp &&
  one.localPort === other.localPort &&
  one.vni === other.vni;
