// Addresses, routes and neighbours of one interface, and the FDB entry that is a VXLAN device's remote.
// Everything that vwire sets carries its protocol number, so that it is told from what others set.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber } from './codec.ts';
import { NetlinkWriter, parseAttributes, readBe16, readU32 } from './codec.ts';
import {
  addressAttribute,
  family,
  flag,
  messageType,
  neighborAttribute,
  neighborFlag,
  neighborState,
  nextHopOnLink,
  noDuplicateDetection,
  routeAttribute,
  routeScope,
  routeTableMain,
  routeTypeUnicast,
  vwireProtocol,
} from './constants.ts';
import type { IpAddress, IpPrefix } from './ip-address.ts';
import { formatIp, formatPrefix, networkOf, formatMac } from './ip-address.ts';

const acknowledged = flag.request | flag.ack;
/** ifaddrmsg: family, prefix length, flags, scope (u8 each), index u32. */
const addressHeaderLength = 8;
/** rtmsg: family, destination and source length, tos, table, protocol, scope, type (u8 each), flags u32. */
const routeHeaderLength = 12;
/** ndmsg: family u8, pads, index i32, state u16, flags u8, type u8. */
const neighborHeaderLength = 12;

/** Adds an address that must not be there yet (EEXIST where it is); IPv6 without duplicate address detection. */
export function addAddress(index: NetlinkNumber, prefix: IpPrefix): EncodedMessage {
  const flags = acknowledged | flag.create | flag.excl;
  return addressMessage({ type: messageType.newAddress, flags, index, prefix });
}

export function deleteAddress(index: NetlinkNumber, prefix: IpPrefix): EncodedMessage {
  return addressMessage({ type: messageType.delAddress, flags: acknowledged, index, prefix });
}

/** Of one link alone where it is named: ENODEV where there is none. */
export function dumpAddresses(index: NetlinkNumber = 0): EncodedMessage {
  return new NetlinkWriter(messageType.getAddress, flag.request | flag.dump)
    .zeros(addressHeaderLength - 4)
    .u32(index)
    .finish();
}

export interface FoundAddress {
  readonly index: number;
  readonly prefix: string;
  readonly isOurs: boolean;
}

export function parseAddress(message: NetlinkMessage): FoundAddress | undefined {
  const { payload } = message;
  if (payload.length < addressHeaderLength) return undefined;
  const attributes = parseAttributes(payload, addressHeaderLength);
  const bytes = attributes.get(addressAttribute.local) ?? attributes.get(addressAttribute.address);
  if (bytes === undefined || (bytes.length !== 4 && bytes.length !== 16)) return undefined;
  return {
    index: readU32(payload, 4) ?? 0,
    prefix: formatPrefix(bytes, payload[1] ?? 0),
    isOurs: attributes.get(addressAttribute.protocol)?.[0] === vwireProtocol,
  };
}

export interface RouteOptions {
  readonly index: NetlinkNumber;
  readonly destination: IpPrefix;
  /** Reached through this interface whether or not a prefix on it covers it. */
  readonly gateway?: IpAddress;
}

/** Adds the route beside others to the same destination; EEXIST where this very route is there. */
export function addRoute(options: RouteOptions): EncodedMessage {
  return routeMessage(messageType.newRoute, acknowledged | flag.create | flag.append, options);
}

export function deleteRoute(options: RouteOptions): EncodedMessage {
  return routeMessage(messageType.delRoute, acknowledged, options);
}

/** Over one link alone where it is named: ENODEV where there is none. */
export function dumpRoutes(index?: NetlinkNumber): EncodedMessage {
  const writer = new NetlinkWriter(messageType.getRoute, flag.request | flag.dump);
  writer.zeros(routeHeaderLength);
  if (index !== undefined) writer.u32Attribute(routeAttribute.outputInterface, index);
  return writer.finish();
}

/** Asks the kernel which route a packet to `destination` would take. */
export function getRouteTo(destination: IpAddress): EncodedMessage {
  const bits = destination.bytes.length * 8;
  return new NetlinkWriter(messageType.getRoute, flag.request)
    .u8(destination.family)
    .u8(bits)
    .zeros(routeHeaderLength - 2)
    .bytesAttribute(routeAttribute.destination, destination.bytes)
    .finish();
}

export interface FoundRoute {
  readonly index: number;
  readonly prefix: string;
  readonly isOurs: boolean;
  /** Absent where the destination is on the link, or the gateway is of the other family. */
  readonly gateway: string | undefined;
}

/** Only routes of the main table are ours; others are reported as foreign. */
export function parseRoute(message: NetlinkMessage): FoundRoute | undefined {
  const { payload } = message;
  if (payload.length < routeHeaderLength) return undefined;
  const attributes = parseAttributes(payload, routeHeaderLength);
  const bits = payload[1] ?? 0;
  const length = payload[0] === family.inet ? 4 : 16;
  const destination = attributes.get(routeAttribute.destination) ?? new Uint8Array(length);
  return {
    index: readU32(attributes.get(routeAttribute.outputInterface)) ?? 0,
    prefix: formatPrefix(destination, bits),
    isOurs: payload[4] === routeTableMain && payload[5] === vwireProtocol,
    gateway: ipIn(attributes.get(routeAttribute.gateway)),
  };
}

/** A permanent neighbour, so that no resolution is needed. */
export function setNeighbor(
  index: NetlinkNumber,
  address: IpAddress,
  macAddress: Uint8Array,
): EncodedMessage {
  return neighborHeader(messageType.newNeighbor, {
    flags: acknowledged | flag.create | flag.replace,
    family: address.family,
    index,
    state: neighborState.permanent,
  })
    .bytesAttribute(neighborAttribute.destination, address.bytes)
    .bytesAttribute(neighborAttribute.linkAddress, macAddress)
    .finish();
}

export function deleteNeighbor(index: NetlinkNumber, address: IpAddress): EncodedMessage {
  return neighborHeader(messageType.delNeighbor, {
    flags: acknowledged,
    family: address.family,
    index,
    state: 0,
  })
    .bytesAttribute(neighborAttribute.destination, address.bytes)
    .finish();
}

/** Has the kernel ask for it at once, as for a packet, where it does not know how to reach it. */
export function resolveNeighbor(index: NetlinkNumber, address: IpAddress): EncodedMessage {
  return neighborHeader(messageType.newNeighbor, {
    flags: acknowledged | flag.create,
    family: address.family,
    index,
    state: 0,
    neighborFlags: neighborFlag.use,
  })
    .bytesAttribute(neighborAttribute.destination, address.bytes)
    .finish();
}

export function getNeighbor(index: NetlinkNumber, address: IpAddress): EncodedMessage {
  return neighborHeader(messageType.getNeighbor, {
    flags: flag.request,
    family: address.family,
    index,
    state: 0,
  })
    .bytesAttribute(neighborAttribute.destination, address.bytes)
    .finish();
}

/** Of every interface and both families. */
export function dumpNeighbors(): EncodedMessage {
  return neighborHeader(messageType.getNeighbor, {
    flags: flag.request | flag.dump,
    family: family.unspecified,
    index: 0,
    state: 0,
  }).finish();
}

export interface FoundNeighbor {
  readonly index: number;
  readonly ip: string;
  /** Of `neighborState`. */
  readonly state: number;
  /** Absent where it is not known. */
  readonly macAddress?: string;
}

/** Undefined for what is no neighbour of the Internet's families. */
export function parseNeighbor({ payload }: NetlinkMessage): FoundNeighbor | undefined {
  if (payload.length < neighborHeaderLength) return undefined;
  if (payload[0] !== family.inet && payload[0] !== family.inet6) return undefined;
  const attributes = parseAttributes(payload, neighborHeaderLength);
  const ip = ipIn(attributes.get(neighborAttribute.destination));
  const state = (payload[8] ?? 0) | ((payload[9] ?? 0) << 8);
  if (ip === undefined) return undefined;
  const mac = attributes.get(neighborAttribute.linkAddress);
  const found = { index: readU32(payload, 4) ?? 0, ip, state };
  return mac?.length === 6 ? { ...found, macAddress: formatMac(mac) } : found;
}

function ipIn(bytes: Uint8Array | undefined): string | undefined {
  return bytes?.length === 4 || bytes?.length === 16 ? formatIp(bytes) : undefined;
}

export interface VxlanRemote {
  readonly ip: IpAddress;
  readonly port: number;
}

/** Where a VXLAN device sends every frame: the FDB entry of the all-zero address. */
export function addVxlanRemote(index: NetlinkNumber, remote: VxlanRemote): EncodedMessage {
  const flags = acknowledged | flag.create | flag.append;
  return vxlanRemoteMessage({ type: messageType.newNeighbor, flags, index, remote });
}

export function deleteVxlanRemote(index: NetlinkNumber, remote: VxlanRemote): EncodedMessage {
  return vxlanRemoteMessage({ type: messageType.delNeighbor, flags: acknowledged, index, remote });
}

/** Every forwarding entry of one VXLAN device. */
export function dumpVxlanRemotes(index: NetlinkNumber): EncodedMessage {
  return neighborHeader(messageType.getNeighbor, {
    flags: flag.request | flag.dump,
    family: family.bridge,
    index,
    state: 0,
  }).finish();
}

/** Where the entry of the all-zero address sends to; no port means the one that the device listens on. */
export function parseVxlanRemote(
  message: NetlinkMessage,
): { readonly ip: string; readonly port: number | undefined } | undefined {
  const { payload } = message;
  if (message.type !== messageType.newNeighbor || payload.length < neighborHeaderLength) {
    return undefined;
  }
  const attributes = parseAttributes(payload, neighborHeaderLength);
  const ip = ipIn(attributes.get(neighborAttribute.destination));
  const linkAddress = attributes.get(neighborAttribute.linkAddress);
  if (ip === undefined || linkAddress?.some((byte) => byte !== 0) !== false) return undefined;
  return { ip, port: readBe16(attributes.get(neighborAttribute.port)) };
}

function addressMessage(options: {
  readonly type: number;
  readonly flags: number;
  readonly index: NetlinkNumber;
  readonly prefix: IpPrefix;
}): EncodedMessage {
  const { prefix } = options;
  const writer = new NetlinkWriter(options.type, options.flags)
    .u8(prefix.family)
    .u8(prefix.prefixLengthBits)
    .u8(0)
    .u8(routeScope.universe)
    .u32(options.index)
    .bytesAttribute(addressAttribute.local, prefix.bytes)
    .bytesAttribute(addressAttribute.address, prefix.bytes);
  if (options.type === messageType.newAddress) {
    writer.u8Attribute(addressAttribute.protocol, vwireProtocol);
    if (prefix.family === family.inet6) {
      writer.u32Attribute(addressAttribute.flags, noDuplicateDetection);
    }
  }
  return writer.finish();
}

function routeMessage(type: number, flags: number, options: RouteOptions): EncodedMessage {
  const destination = networkOf(options.destination);
  const { gateway } = options;
  const writer = new NetlinkWriter(type, flags)
    .u8(destination.family)
    .u8(destination.prefixLengthBits)
    .u8(0)
    .u8(0)
    .u8(routeTableMain)
    .u8(vwireProtocol)
    .u8(gateway === undefined && destination.family === family.inet ? routeScope.link : 0)
    .u8(routeTypeUnicast)
    .u32(gateway === undefined ? 0 : nextHopOnLink);
  if (destination.prefixLengthBits > 0) {
    writer.bytesAttribute(routeAttribute.destination, destination.bytes);
  }
  writer.u32Attribute(routeAttribute.outputInterface, options.index);
  if (gateway === undefined) return writer.finish();
  if (gateway.family === destination.family) {
    return writer.bytesAttribute(routeAttribute.gateway, gateway.bytes).finish();
  }
  // RTA_VIA: a gateway of the other family (RFC 8950 style), its family first.
  return writer
    .attribute(routeAttribute.via, () => writer.u16(gateway.family).bytes(gateway.bytes))
    .finish();
}

function neighborHeader(
  type: number,
  options: {
    readonly flags: number;
    readonly family: number;
    readonly index: NetlinkNumber;
    readonly state: number;
    readonly neighborFlags?: number;
  },
): NetlinkWriter {
  return new NetlinkWriter(type, options.flags)
    .u8(options.family)
    .zeros(3)
    .u32(options.index)
    .u16(options.state)
    .u8(options.neighborFlags ?? 0)
    .u8(0);
}

function vxlanRemoteMessage(options: {
  readonly type: number;
  readonly flags: number;
  readonly index: NetlinkNumber;
  readonly remote: VxlanRemote;
}): EncodedMessage {
  return neighborHeader(options.type, {
    flags: options.flags,
    family: family.bridge,
    index: options.index,
    state: neighborState.noArp | neighborState.permanent,
    neighborFlags: neighborFlag.self,
  })
    .bytesAttribute(neighborAttribute.linkAddress, new Uint8Array(6))
    .bytesAttribute(neighborAttribute.destination, options.remote.ip.bytes)
    .be16Attribute(neighborAttribute.port, options.remote.port)
    .finish();
}
