// Who an object in Open vSwitch belongs to, written into external_ids, and which wire a flow is of, written into its
// cookie. Everything that a wire's flows follow from stands in the database, so that they can be made again from it.
// Invariants: what does not carry installation and forwarder of this owner is never touched; each use of a shared
// tunnel has an entry of its own.

import { formats } from '../../protocols/formats.ts';
import { hashText } from '../../protocols/nsm/derived-mac.ts';
import type { OvsdbAtom, OvsdbMap } from '../../protocols/ovs/ovsdb-values.ts';
import type { VlanEnd, VxlanEnd } from '../../protocols/ports/dataplane.ts';

export interface Owner {
  readonly installation: string;
  readonly forwarder: string;
  /** Version of the tags that are written; earlier ones are read and rewritten, later ones left alone. */
  readonly tagVersion?: number;
}

export type Side = 'client' | 'endpoint';
export const sides = ['client', 'endpoint'] as const;

/** A port that is one wire's end. */
export interface PortEnd {
  readonly wireId: string;
  readonly side: Side;
  readonly version: number;
  /** Index of the link that was behind it; 0 for a patch to another bridge. */
  readonly link: number;
  /** Of frames that come in and go out here, where the workload tags them. */
  readonly vlanId?: number;
  /** False while it is to take over from another. */
  readonly isJoined: boolean;
}

/** What one wire has of a tunnel that others may share. */
export interface TunnelUse {
  readonly wireId: string;
  readonly side: Side;
  readonly version: number;
  readonly vni: number;
  readonly localPort: number;
  readonly remotePort: number;
  readonly isJoined: boolean;
}

export type ExternalIds = ReadonlyMap<string, OvsdbAtom>;

const key = {
  installation: 'vwire-installation',
  forwarder: 'vwire-forwarder',
  version: 'vwire-version',
  wire: 'vwire-wire',
  side: 'vwire-side',
  link: 'vwire-link',
  vlan: 'vwire-vlan',
  state: 'vwire-state',
  /** On another bridge: the wire whose patch leads there. */
  far: 'vwire-far-end-of',
} as const;
const usePrefix = 'vwire-use/';

export const tagVersionOf = (owner: Owner): number => owner.tagVersion ?? formats.wireTag;

export function ownerIds({ installation, forwarder }: Owner): Record<string, string> {
  return { [key.installation]: installation, [key.forwarder]: forwarder };
}

export function isOwnedBy({ installation, forwarder }: Owner, ids: ExternalIds): boolean {
  return ids.get(key.installation) === installation && ids.get(key.forwarder) === forwarder;
}

/** For people: whose it is. */
export function describeOwner(ids: ExternalIds): string {
  const installation = ids.get(key.installation);
  if (installation === undefined) return 'not made by vwire';
  return `of forwarder ${String(ids.get(key.forwarder))} of installation ${String(installation)}`;
}

export function portIds(owner: Owner, end: PortEnd): OvsdbMap {
  const pairs: [string, string][] = [
    [key.installation, owner.installation],
    [key.forwarder, owner.forwarder],
    [key.version, String(end.version)],
    [key.wire, end.wireId],
    [key.side, end.side],
    [key.link, String(end.link)],
    [key.state, end.isJoined ? 'joined' : 'made'],
  ];
  if (end.vlanId !== undefined) pairs.push([key.vlan, String(end.vlanId)]);
  return ['map', pairs];
}

export function farIds(owner: Owner, wireId: string): Record<string, string> {
  return { ...ownerIds(owner), [key.far]: wireId };
}

export function readFarEndOf(ids: ExternalIds): string | undefined {
  const wireId = ids.get(key.far);
  return wireId === undefined ? undefined : String(wireId);
}

export function readPortEnd(ids: ExternalIds): PortEnd | undefined {
  const wireId = ids.get(key.wire);
  const side = sides.find((each) => each === ids.get(key.side));
  if (typeof wireId !== 'string' || side === undefined) return undefined;
  const vlanId = ids.get(key.vlan);
  return {
    wireId,
    side,
    version: Number(ids.get(key.version)),
    link: Number(ids.get(key.link)),
    isJoined: ids.get(key.state) === 'joined',
    ...(vlanId === undefined ? {} : { vlanId: Number(vlanId) }),
  };
}

export function useEntry(use: TunnelUse): { readonly key: string; readonly value: string } {
  const { version, vni, localPort, remotePort, isJoined } = use;
  const state = isJoined ? 'joined' : 'made';
  const value = `${version} ${vni} ${localPort} ${remotePort} ${state}`;
  return { key: `${usePrefix}${use.side}/${use.wireId}`, value };
}

export function readTunnelUses(ids: ExternalIds): TunnelUse[] {
  return [...ids].flatMap(([name, value]) => {
    if (!name.startsWith(usePrefix)) return [];
    const [, sideText, wireId] = /^vwire-use\/([a-z]+)\/(.+)$/s.exec(name) ?? [];
    const side = sides.find((each) => each === sideText);
    const numbers = String(value).split(' ');
    if (side === undefined || wireId === undefined || numbers.length < 5) return [];
    const [version = 0, vni = 0, localPort = 0, remotePort = 0] = numbers.map(Number);
    const isJoined = numbers[4] === 'joined';
    return [{ wireId, side, version, vni, localPort, remotePort, isJoined }];
  });
}

/** The tunnel to or from one peer and UDP port; Open vSwitch has one number for both directions. */
export interface TunnelPlace {
  readonly localIp: string;
  readonly remoteIp: string;
  readonly udpPort: number;
}

export const receivingTunnel = ({ localIp, remoteIp, localPort }: VxlanEnd): TunnelPlace => ({
  localIp,
  remoteIp,
  udpPort: localPort,
});

export const sendingTunnel = ({ localIp, remoteIp, remotePort }: VxlanEnd): TunnelPlace => ({
  localIp,
  remoteIp,
  udpPort: remotePort,
});

const tunnelSeed = 0x7478;
const patchSeed = 0x7061;
const ownerSeed = 0x6f77;
const cookieSeed = 0x636b;
/** Crockford's digits in lower case: no two look alike. */
const digits = '0123456789abcdefghjkmnpqrstvwxyz';

/** At most 15 bytes, as an interface's name is. */
export function tunnelName(owner: Owner, { localIp, remoteIp, udpPort }: TunnelPlace): string {
  return `vwt${hashDigits(`${ownerKey(owner)} ${localIp} ${remoteIp} ${udpPort}`, tunnelSeed)}`;
}

/** The two ends of a patch from this bridge into a VLAN of another. */
export interface PatchNames {
  readonly near: string;
  readonly far: string;
}

export function patchNames(
  owner: Owner,
  wire: { readonly id: string; readonly side: Side },
  { via, vlanId }: VlanEnd,
): PatchNames {
  const text = `${ownerKey(owner)} ${wire.id} ${wire.side} ${via} ${vlanId}`;
  const rest = hashDigits(text, patchSeed);
  return { near: `${nearPrefix}${rest}`, far: `${farPrefix}${rest}` };
}

const [nearPrefix, farPrefix] = ['vwp', 'vwq'] as const;

/** Undefined for what is no patch. */
export const farNameOf = (near: string): string | undefined =>
  near.startsWith(nearPrefix) ? `${farPrefix}${near.slice(nearPrefix.length)}` : undefined;

function hashDigits(text: string, seed: number): string {
  const { high, low } = hashText(text, seed);
  const character = (_: unknown, index: number): string =>
    digits[((index < 6 ? low : high) >>> ((index % 6) * 5)) & 31] ?? '';
  return Array.from({ length: 12 }, character).join('');
}

/** Upper 16 bits of a cookie: the owner. */
export const ownerCookieMask = 0xffff_0000_0000_0000n;

export function ownerCookie(owner: Owner): bigint {
  // Never 0, which is the cookie of flows that people add by hand.
  return BigInt((hashText(ownerKey(owner), ownerSeed).low & 0xffff) | 1) << 48n;
}

export function wireCookie(owner: Owner, wireId: string): bigint {
  const { high, low } = hashText(wireId, cookieSeed);
  return ownerCookie(owner) | (BigInt(high & 0xffff) << 32n) | BigInt(low);
}

const ownerKey = ({ installation, forwarder }: Owner): string =>
  `${encodeURIComponent(installation)} ${encodeURIComponent(forwarder)}`;
