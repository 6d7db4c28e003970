// The MTU of a wire: what a tunnel costs, and how the hops agree. 0 means that nobody has said, as on the wire.

import type { Family } from '../ipam/address.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import { numberParameter, parameterKey } from './mechanism.ts';

/** Bytes that a tunnel adds to each packet, by mechanism type and family of the outer header (reference, 15.2-15.4). */
const overheadBytes: Readonly<Record<string, Readonly<Record<Family, number>>>> = {
  VXLAN: { 4: 54, 6: 74 },
  WIREGUARD: { 4: 60, 6: 80 },
  IPSEC: { 4: 81, 6: 101 },
};

/** Bytes that the tunnel adds; 0 for a mechanism that is no tunnel. */
export function tunnelOverheadBytes(type: string, outer: Family): number {
  return Object.hasOwn(overheadBytes, type) ? (overheadBytes[type]?.[outer] ?? 0) : 0;
}

/** What fits through a tunnel over a link of this MTU; 0 where the link's is not known. */
export function tunnelMtu(linkMtu: number, type: string, outer: Family): number {
  return linkMtu === 0 ? 0 : Math.max(0, linkMtu - tunnelOverheadBytes(type, outer));
}

/** What a tunnel's mechanism says; 0 where it does not. */
export function readTunnelMtu(mechanism: Mechanism): number {
  return numberParameter(mechanism, parameterKey.mtu, 0xffff_ffff);
}

/** The smallest of those that are known (not 0); 0 where none is. */
export function agreeMtu(...mtus: readonly number[]): number {
  const known = mtus.filter((mtu) => mtu > 0);
  return known.length === 0 ? 0 : Math.min(...known);
}
