// WireGuard devices over generic netlink (linux/wireguard.h): keys, the UDP port, and the one peer that a wire's tunnel
// has, to whom any address belongs. The device itself is a link (`createWireguard`).
// Invariants: setting what is there already ends no session; a private key is written, and never read.

import type { EncodedMessage, NetlinkMessage, NetlinkNumber, NetlinkWriter } from './codec.ts';
import { isLittleEndian, parseAttributeList, parseAttributes, readBe16, viewOf } from './codec.ts';
import { family, flag } from './constants.ts';
import { genericHeaderLength, genericMessage } from './generic.ts';
import { formatIp, type IpAddress } from './ip-address.ts';

/** The family's name. */
export const wireguardFamily = 'wireguard';

const command = { getDevice: 0, setDevice: 1 } as const;
/** WGDEVICE_A_*, WGPEER_A_* and WGALLOWEDIP_A_*. */
const deviceAttribute = {
  index: 1,
  privateKey: 3,
  publicKey: 4,
  flags: 5,
  listenPort: 6,
  peers: 8,
} as const;
const peerAttribute = {
  publicKey: 1,
  endpoint: 4,
  keepaliveInterval: 5,
  allowedIps: 9,
} as const;
const allowedIpAttribute = { family: 1, address: 2, prefixLength: 3 } as const;
/** WGDEVICE_F_REPLACE_PEERS. What belongs to a peer is never replaced: meanwhile nothing would. */
const replacePeers = 1;

/** As the reference has it (nsm-behaviour 15.3). */
const keepaliveSeconds = 10;

export interface WireguardDevice {
  /** 32 bytes. */
  readonly privateKey: Uint8Array;
  /** UDP. */
  readonly listenPort: number;
  readonly peer: WireguardPeer;
}

export interface WireguardPeer {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly ip: IpAddress;
  /** UDP. */
  readonly port: number;
}

/**
 * The device as it is to be. `isOtherPeer`: every peer that it has goes first, with its session. EADDRINUSE where the device
 * is up and somebody else has the port.
 */
export function setWireguard(
  familyId: number,
  index: NetlinkNumber,
  { privateKey, listenPort, peer, isOtherPeer }: WireguardDevice & { isOtherPeer: boolean },
): EncodedMessage {
  const writer = genericMessage(familyId, command.setDevice, flag.request | flag.ack)
    .u32Attribute(deviceAttribute.index, index)
    .bytesAttribute(deviceAttribute.privateKey, privateKey)
    .u16Attribute(deviceAttribute.listenPort, listenPort);
  if (isOtherPeer) writer.u32Attribute(deviceAttribute.flags, replacePeers);
  return writer
    .nested(deviceAttribute.peers, () => writer.nested(0, () => writePeer(writer, peer)))
    .finish();
}

function writePeer(writer: NetlinkWriter, { publicKey, ip, port }: WireguardPeer): void {
  writer
    .bytesAttribute(peerAttribute.publicKey, publicKey)
    .attribute(peerAttribute.endpoint, () => writeSocketAddress(writer, ip, port))
    .u16Attribute(peerAttribute.keepaliveInterval, keepaliveSeconds)
    .nested(peerAttribute.allowedIps, () => {
      for (const [number, length] of [
        [family.inet, 4],
        [family.inet6, 16],
      ] as const) {
        writer.nested(0, () =>
          writer
            .u16Attribute(allowedIpAttribute.family, number)
            .bytesAttribute(allowedIpAttribute.address, new Uint8Array(length))
            .u8Attribute(allowedIpAttribute.prefixLength, 0),
        );
      }
    });
}

/** sockaddr_in (padded to 16 bytes) or sockaddr_in6 (flow information before the address, scope after it). */
function writeSocketAddress(writer: NetlinkWriter, ip: IpAddress, port: number): void {
  writer.u16(ip.family).be16(port);
  if (ip.family === family.inet) writer.bytes(ip.bytes).zeros(8);
  else writer.u32(0).bytes(ip.bytes).u32(0);
}

export function dumpWireguard(familyId: number, index: NetlinkNumber): EncodedMessage {
  return genericMessage(familyId, command.getDevice, flag.request | flag.dump)
    .u32Attribute(deviceAttribute.index, index)
    .finish();
}

export interface FoundWireguard {
  /** Of the device's own key; all zero where it has none. */
  readonly publicKey: Uint8Array;
  readonly listenPort: number;
  readonly peers: readonly FoundWireguardPeer[];
}

export interface FoundWireguardPeer {
  readonly publicKey: Uint8Array;
  /** Where it was heard last, or is expected; absent where neither is known. */
  readonly endpoint?: { readonly ip: string; readonly port: number };
  /** How many prefixes belong to it. */
  readonly allowedIpCount: number;
}

/** The messages of one dump; undefined where they are about no device. */
export function parseWireguard(messages: readonly NetlinkMessage[]): FoundWireguard | undefined {
  let found: Omit<FoundWireguard, 'peers'> | undefined;
  const peers: FoundWireguardPeer[] = [];
  for (const { payload } of messages) {
    if (payload.length < genericHeaderLength) continue;
    const attributes = parseAttributes(payload, genericHeaderLength);
    const publicKey = attributes.get(deviceAttribute.publicKey);
    const port = attributes.get(deviceAttribute.listenPort);
    if (port?.length === 2) {
      // A device without a private key has no public one either.
      const key = publicKey ?? new Uint8Array(32);
      found ??= { publicKey: key, listenPort: viewOf(port).getUint16(0, isLittleEndian) };
    }
    const list = attributes.get(deviceAttribute.peers) ?? new Uint8Array();
    for (const [, peer] of parseAttributeList(list)) addPeer(peers, parseAttributes(peer));
  }
  return found === undefined ? undefined : { ...found, peers };
}

/** A peer with more prefixes than a message holds goes on, by its key, in the next. */
function addPeer(peers: FoundWireguardPeer[], attributes: ReadonlyMap<number, Uint8Array>): void {
  const publicKey = attributes.get(peerAttribute.publicKey) ?? new Uint8Array();
  const allowed = parseAttributeList(attributes.get(peerAttribute.allowedIps) ?? new Uint8Array());
  const last = peers.at(-1);
  if (last !== undefined && isSameKey(last.publicKey, publicKey)) {
    peers[peers.length - 1] = {
      ...last,
      allowedIpCount: last.allowedIpCount + allowed.length,
    };
    return;
  }
  const endpoint = readSocketAddress(attributes.get(peerAttribute.endpoint));
  peers.push({
    publicKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    allowedIpCount: allowed.length,
  });
}

const isSameKey = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && one.every((byte, position) => byte === other[position]);

function readSocketAddress(bytes: Uint8Array | undefined): FoundWireguardPeer['endpoint'] {
  if (bytes === undefined || bytes.length < 16) return undefined;
  const port = readBe16(bytes.subarray(2)) ?? 0;
  const number = viewOf(bytes).getUint16(0, isLittleEndian);
  if (number === family.inet) return { ip: formatIp(bytes.subarray(4, 8)), port };
  if (number !== family.inet6 || bytes.length < 24) return undefined;
  return { ip: formatIp(bytes.subarray(8, 24)), port };
}
