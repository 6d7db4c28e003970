// Links over rtnetlink: veth pairs, VXLAN and WireGuard devices, bridges; changing, finding, removing and reading them.
// Invariant: a created link is down and (EXCL) new; the caller tags it in the next message, because the kernel
// ignores IFLA_IFALIAS at creation.

import {
  addressGenerationMode,
  bridgeAttribute,
  family,
  flag,
  interfaceFlag,
  linkAttribute,
  linkInfoAttribute,
  messageType,
  skipStatistics,
  vethPeer,
  vxlanAttribute,
} from './constants.ts';
import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import { isLittleEndian, NetlinkWriter, parseAttributes, readBe16, readText } from './codec.ts';
import { readU32, viewOf } from './codec.ts';
import type { IpAddress } from './ip-address.ts';
import { formatIp, formatMac } from './ip-address.ts';

const acknowledged = flag.request | flag.ack;
/** ifinfomsg: family u8, pad u8, type u16, index i32, flags u32, change mask u32. */
export const linkHeaderLength = 16;

function linkMessage(type: number, flags: number, index: NetlinkNumber = 0): NetlinkWriter {
  return new NetlinkWriter(type, flags).zeros(4).u32(index).zeros(8);
}

export interface VethOptions {
  readonly name: string;
  readonly group: number;
  /** 0: the kernel's choice. */
  readonly mtu: number;
  readonly peer: {
    readonly name: string;
    /** Absent: beside the main side. */
    readonly namespaceDescriptor?: NetlinkNumber;
    readonly macAddress?: Uint8Array;
  };
}

/** A veth pair; the peer is made straight in its namespace (it cannot be created up: ENOTCONN). */
export function createVeth(options: VethOptions): EncodedMessage {
  const { peer } = options;
  const writer = linkMessage(messageType.newLink, acknowledged | flag.create | flag.excl);
  writer.textAttribute(linkAttribute.name, options.name);
  writer.u32Attribute(linkAttribute.group, options.group);
  if (options.mtu > 0) writer.u32Attribute(linkAttribute.mtu, options.mtu);
  writeKind(writer, 'veth', () =>
    writer.nested(vethPeer, () => {
      writer.zeros(linkHeaderLength);
      writer.textAttribute(linkAttribute.name, peer.name);
      if (peer.macAddress !== undefined) {
        writer.bytesAttribute(linkAttribute.address, peer.macAddress);
      }
      if (options.mtu > 0) writer.u32Attribute(linkAttribute.mtu, options.mtu);
      if (peer.namespaceDescriptor !== undefined) {
        writer.u32Attribute(linkAttribute.namespaceDescriptor, peer.namespaceDescriptor);
      }
    }),
  );
  return writer.finish();
}

export interface VxlanOptions {
  readonly name: string;
  readonly group: number;
  /** Explicit: the kernel's default is 1500 whatever the underlay carries. */
  readonly mtu: number;
  readonly vni: number;
  readonly local: IpAddress;
  /** UDP port on which the device listens. */
  readonly port: number;
}

/** A VXLAN device without a remote; the remote is a default FDB entry (`setVxlanRemote`). */
export function createVxlan(options: VxlanOptions): EncodedMessage {
  const writer = linkMessage(messageType.newLink, acknowledged | flag.create | flag.excl);
  writer.textAttribute(linkAttribute.name, options.name);
  writer.u32Attribute(linkAttribute.group, options.group);
  writer.u32Attribute(linkAttribute.mtu, options.mtu);
  writeKind(writer, 'vxlan', () => {
    const isIpv4 = options.local.family === family.inet;
    writer.u32Attribute(vxlanAttribute.id, options.vni);
    writer.bytesAttribute(
      isIpv4 ? vxlanAttribute.local : vxlanAttribute.local6,
      options.local.bytes,
    );
    writer.be16Attribute(vxlanAttribute.port, options.port);
    writer.u8Attribute(vxlanAttribute.learning, 0);
    // RFC 6935: tunnels over IPv6 may send no checksum, and some peers do.
    if (!isIpv4) writer.u8Attribute(vxlanAttribute.zeroChecksum6Receive, 1);
  });
  return writer.finish();
}

/** A WireGuard device without keys; they are set over generic netlink (`wireguard.ts`). It asks for no neighbours. */
export function createWireguard(options: {
  readonly name: string;
  readonly group: number;
  readonly mtu: number;
}): EncodedMessage {
  const writer = linkMessage(messageType.newLink, acknowledged | flag.create | flag.excl);
  writer.textAttribute(linkAttribute.name, options.name);
  writer.u32Attribute(linkAttribute.group, options.group);
  writer.u32Attribute(linkAttribute.mtu, options.mtu);
  writeKind(writer, 'wireguard', () => {});
  return writer.finish();
}

/** A bridge of two ports: no spanning tree, no multicast snooping, no forwarding delay. */
export function createBridge(options: {
  readonly name: string;
  readonly group: number;
}): EncodedMessage {
  const writer = linkMessage(messageType.newLink, acknowledged | flag.create | flag.excl);
  writer.textAttribute(linkAttribute.name, options.name);
  writer.u32Attribute(linkAttribute.group, options.group);
  writeKind(writer, 'bridge', () => {
    writer.u32Attribute(bridgeAttribute.stpState, 0);
    writer.u32Attribute(bridgeAttribute.forwardDelay, 0);
    // With no learned entry every frame is flooded to the one other port, so a retarget needs no relearning.
    writer.u32Attribute(bridgeAttribute.ageingTime, 0);
    writer.u8Attribute(bridgeAttribute.multicastSnooping, 0);
  });
  return writer.finish();
}

/** A link that no kernel makes: EOPNOTSUPP where the kind is unknown, EINVAL (the MTU is 1) where it is known. */
export function createImpossibleLink(kind: string): EncodedMessage {
  const writer = linkMessage(messageType.newLink, acknowledged | flag.create | flag.excl);
  writer.textAttribute(linkAttribute.name, 'vwimpossible');
  // Negative for the kernel, so less than the least of every kind, of which WireGuard's is 0.
  writer.u32Attribute(linkAttribute.mtu, 0xffff_ffff);
  writeKind(writer, kind, () => {});
  return writer.finish();
}

export interface LinkChange {
  readonly index: NetlinkNumber;
  readonly alias?: string;
  readonly group?: number;
  readonly mtu?: number;
  readonly name?: string;
  readonly macAddress?: Uint8Array;
  /** 0 releases the link from its bridge. */
  readonly master?: NetlinkNumber;
  readonly isUp?: boolean;
  /**
   * Whether its kernel asks for link addresses, by ARP and neighbour discovery. Where it does not it sends to its own
   * address; at a change it forgets what it has learned.
   */
  readonly asksNeighbors?: boolean;
  /** Whether it takes in frames for anybody's address. */
  readonly isPromiscuous?: boolean;
  /** The link gets no IPv6 link-local address by itself, so the node's stack stays silent on it. */
  readonly isSilentIpv6?: boolean;
}

export function changeLink(change: LinkChange): EncodedMessage {
  return writeChange(new NetlinkWriter(messageType.setLink, acknowledged), change);
}

/** The same for a link known by name only; `index` of the change is not used. */
export function changeLinkByName(name: string, change: Omit<LinkChange, 'index' | 'name'>) {
  return writeChange(new NetlinkWriter(messageType.setLink, acknowledged), {
    ...change,
    index: 0,
    name,
  });
}

export function getLinkByName(name: string): EncodedMessage {
  return linkMessage(messageType.getLink, flag.request)
    .textAttribute(linkAttribute.name, name)
    .u32Attribute(linkAttribute.extensionMask, skipStatistics)
    .finish();
}

export function getLink(index: NetlinkNumber, withStatistics = false): EncodedMessage {
  const writer = linkMessage(messageType.getLink, flag.request, index);
  if (!withStatistics) writer.u32Attribute(linkAttribute.extensionMask, skipStatistics);
  return writer.finish();
}

export function dumpLinks(): EncodedMessage {
  return linkMessage(messageType.getLink, flag.request | flag.dump)
    .u32Attribute(linkAttribute.extensionMask, skipStatistics)
    .finish();
}

export function deleteLink(index: NetlinkNumber): EncodedMessage {
  return linkMessage(messageType.delLink, acknowledged, index).finish();
}

export function deleteLinkByName(name: string): EncodedMessage {
  return linkMessage(messageType.delLink, acknowledged)
    .textAttribute(linkAttribute.name, name)
    .finish();
}

/** Every link of the group at once: they share one grace period of the kernel. */
export function deleteLinkGroup(group: number): EncodedMessage {
  return linkMessage(messageType.delLink, acknowledged)
    .u32Attribute(linkAttribute.group, group)
    .finish();
}

export interface LinkCounters {
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
}

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly isUp: boolean;
  /** Administratively up and with carrier. */
  readonly isRunning: boolean;
  /** As in `LinkChange`. */
  readonly asksNeighbors: boolean;
  /** As somebody asked for by hand or by `LinkChange`; packet sockets that do do not count. */
  readonly isPromiscuous: boolean;
  readonly mtu: number;
  readonly group: number;
  readonly alias: string;
  readonly kind: string;
  readonly macAddress: string;
  readonly master: number;
  /** For a veth the peer's index in its namespace. */
  readonly linkIndex: number;
  /** Id under which this namespace knows the peer's; undefined when it is the same namespace. */
  readonly linkNamespaceId: number | undefined;
  readonly vxlan?: { readonly vni: number; readonly port: number; readonly local: string };
  readonly counters?: LinkCounters;
}

/** RTM_NEWLINK or RTM_DELLINK; undefined where it is too short to be one or has no name. */
export function parseLink(message: NetlinkMessage): Link | undefined {
  const { payload } = message;
  if (payload.length < linkHeaderLength) return undefined;
  const attributes = parseAttributes(payload, linkHeaderLength);
  const name = readText(attributes.get(linkAttribute.name));
  if (name === undefined) return undefined;
  const flags = readU32(payload, 8) ?? 0;
  const isUp = (flags & interfaceFlag.up) !== 0;
  const number = (type: number) => readU32(attributes.get(type)) ?? 0;
  const info = parseAttributes(attributes.get(linkAttribute.linkInfo) ?? new Uint8Array());
  const kind = readText(info.get(linkInfoAttribute.kind)) ?? '';
  const vxlan = kind === 'vxlan' ? parseVxlan(info.get(linkInfoAttribute.data)) : undefined;
  const counters = parseCounters(attributes.get(linkAttribute.statistics64));
  return {
    index: readU32(payload, 4) ?? 0,
    name,
    isUp,
    isRunning: isUp && (flags & interfaceFlag.lowerUp) !== 0,
    asksNeighbors: (flags & interfaceFlag.noArp) === 0,
    isPromiscuous: (flags & interfaceFlag.promiscuous) !== 0,
    mtu: number(linkAttribute.mtu),
    group: number(linkAttribute.group),
    alias: readText(attributes.get(linkAttribute.alias)) ?? '',
    kind,
    macAddress: formatMac(attributes.get(linkAttribute.address) ?? new Uint8Array()),
    master: number(linkAttribute.master),
    linkIndex: number(linkAttribute.link),
    linkNamespaceId: readU32(attributes.get(linkAttribute.linkNamespaceId)),
    ...(vxlan === undefined ? {} : { vxlan }),
    ...(counters === undefined ? {} : { counters }),
  };
}

function writeKind(writer: NetlinkWriter, kind: string, writeData: () => void): void {
  writer.nested(linkAttribute.linkInfo, () => {
    writer.textAttribute(linkInfoAttribute.kind, kind);
    writer.nested(linkInfoAttribute.data, writeData);
  });
}

function writeChange(writer: NetlinkWriter, change: LinkChange): EncodedMessage {
  writer.zeros(4).u32(change.index);
  const { isUp, asksNeighbors, isPromiscuous } = change;
  const { up, noArp, promiscuous } = interfaceFlag;
  const wanted: readonly (readonly [flag: number, isSet: boolean | undefined])[] = [
    [up, isUp],
    [noArp, asksNeighbors === undefined ? undefined : !asksNeighbors],
    [promiscuous, isPromiscuous],
  ];
  writer.u32(wanted.reduce((all, [flag, isSet]) => all | (isSet === true ? flag : 0), 0));
  writer.u32(wanted.reduce((all, [flag, isSet]) => all | (isSet === undefined ? 0 : flag), 0));
  if (change.name !== undefined) writer.textAttribute(linkAttribute.name, change.name);
  if (change.alias !== undefined) writer.textAttribute(linkAttribute.alias, change.alias);
  if (change.group !== undefined) writer.u32Attribute(linkAttribute.group, change.group);
  if (change.mtu !== undefined) writer.u32Attribute(linkAttribute.mtu, change.mtu);
  if (change.master !== undefined) writer.u32Attribute(linkAttribute.master, change.master);
  if (change.macAddress !== undefined) {
    writer.bytesAttribute(linkAttribute.address, change.macAddress);
  }
  if (change.isSilentIpv6 === true) {
    writer.nested(linkAttribute.afSpec, () =>
      writer.nested(family.inet6, () =>
        writer.u8Attribute(addressGenerationMode.attribute, addressGenerationMode.none),
      ),
    );
  }
  return writer.finish();
}

function parseVxlan(data: Uint8Array | undefined): Link['vxlan'] {
  const attributes = parseAttributes(data ?? new Uint8Array());
  const local = attributes.get(vxlanAttribute.local) ?? attributes.get(vxlanAttribute.local6);
  return {
    vni: readU32(attributes.get(vxlanAttribute.id)) ?? 0,
    port: readBe16(attributes.get(vxlanAttribute.port)) ?? 0,
    local: local === undefined ? '' : formatIp(local),
  };
}

/** rtnl_link_stats64: rx and tx packets, rx and tx bytes, rx and tx errors, rx and tx dropped, and more. */
function parseCounters(bytes: Uint8Array | undefined): LinkCounters | undefined {
  if (bytes === undefined || bytes.length < 64) return undefined;
  const view = viewOf(bytes);
  const at = (position: number) => view.getBigUint64(position * 8, isLittleEndian);
  return {
    rxPackets: at(0),
    txPackets: at(1),
    rxBytes: at(2),
    txBytes: at(3),
    rxDropped: at(4) + at(6),
    txDropped: at(5) + at(7),
  };
}
