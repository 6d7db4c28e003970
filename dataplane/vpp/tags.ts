// Who an interface in VPP belongs to, written into its tag, and the number by which a tunnel is known before it has one.
// Invariants: a tag has 63 bytes at most, so installation and forwarder stand in it as a hash, the wire's id in full;
// what does not carry the hash of this owner is never touched.

import { NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import { clientMacAddress, hashText } from '../../protocols/nsm/derived-mac.ts';

export interface Owner {
  readonly installation: string;
  readonly forwarder: string;
  /** Version of the tags that are written; earlier ones are read and rewritten, later ones left alone. */
  readonly tagVersion?: number;
}

export type Side = 'client' | 'endpoint';
export const sides = ['client', 'endpoint'] as const;

export interface EndTag {
  readonly version: number;
  readonly wireId: string;
  readonly side: Side;
  /** Index of the kernel's link behind a host interface; of a WireGuard tunnel its `peerMark`, of an IPsec tunnel its `tunnelMark`, of a pipe its `vlanMark`; 0 for what has neither. */
  readonly link: number;
  /** Which of `frameClasses` a host interface was made with; 0 for what has no frames of its own. */
  readonly frames: number;
}

/** `tag` of VPP's API has 64 bytes, the last of which is NUL. */
const tagLengthMax = 63;
const ownerSeed = 0x7670;
const instanceSeed = 0x696e;
/** Crockford's digits in lower case: no two look alike. */
const digits = '0123456789abcdefghjkmnpqrstvwxyz';
const ownerDigits = 10;
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const letters: Record<Side, string> = { client: 'c', endpoint: 'e' };

export const tagVersionOf = (owner: Owner): number => owner.tagVersion ?? formats.wireTag;

/** Errors: INVALID_ARGUMENT (rule `tag`) for an id that does not fit. */
export function formatEndTag(owner: Owner, tag: EndTag): string {
  const { version, wireId, side, link, frames } = tag;
  const end = `${letters[side]}${frames}${link.toString(36)}`;
  const text = `vwire/${version} ${ownerHash(owner)} ${end} ${formatId(wireId)}`;
  if (text.length <= tagLengthMax) return text;
  throw new NsmError('INVALID_ARGUMENT', 'the tag of an interface in VPP would be too long', {
    rule: 'tag',
    expected: `at most ${tagLengthMax} bytes`,
    found: `${text.length} bytes`,
    remedy: 'use a UUID as the id of the path segment, or one of at most 30 letters and digits',
    connectionId: wireId,
  });
}

/** The tag of an end of a wire, if it is this owner's. */
export function parseEndTag(owner: Owner, text: string): EndTag | undefined {
  const match = /^vwire\/(\d{1,6}) ([0-9a-z]+) ([ce])(\d)([0-9a-z]{1,8}) (\S+)$/.exec(text);
  const [, version = '', hash, letter, frames = '', link = '', id = ''] = match ?? [];
  if (hash !== ownerHash(owner)) return undefined;
  const wireId = parseId(id);
  const side = sides.find((each) => letters[each] === letter);
  if (wireId === undefined || side === undefined) return undefined;
  const numbers = { version: Number(version), frames: Number(frames), link: parseInt(link, 36) };
  return { ...numbers, wireId, side };
}

/** The tag of the interface that holds the node's own address. */
export function uplinkTag(owner: Owner, link: number): string {
  return `vwire/${tagVersionOf(owner)} ${ownerHash(owner)} uplink ${link.toString(36)}`;
}

/** Index of the kernel's link that was behind the uplink; undefined for what is no uplink of this owner's. */
export function parseUplinkTag(owner: Owner, text: string): number | undefined {
  const match = /^vwire\/\d{1,6} ([0-9a-z]+) uplink ([0-9a-z]{1,7})$/.exec(text);
  return match?.[1] === ownerHash(owner) ? parseInt(match[2] ?? '', 36) : undefined;
}

/** The tag of a host interface that leads into networks outside alone. `link`: index of the kernel's link behind it. */
export interface NetworkTag {
  readonly link: number;
  /** Of the link, before this forwarder took it up. */
  readonly wasPromiscuous: boolean;
}

export function networkTag(owner: Owner, { link, wasPromiscuous }: NetworkTag): string {
  return ownTag(owner, `network${wasPromiscuous ? 1 : 0} ${link.toString(36)}`);
}

/** Undefined for what is no such interface of this owner's. */
export function parseNetworkTag(owner: Owner, text: string): NetworkTag | undefined {
  const match = /^vwire\/\d{1,6} ([0-9a-z]+) network([01]) ([0-9a-z]{1,7})$/.exec(text);
  const [, hash, before, link = ''] = match ?? [];
  if (hash !== ownerHash(owner)) return undefined;
  return { link: parseInt(link, 36), wasPromiscuous: before === '1' };
}

/** A VLAN of the network that a link of the node is in. */
export interface Vlan {
  readonly link: number;
  readonly vlanId: number;
}

const vlanIds = 4096;

/** Both as one number. */
export const vlanMark = ({ link, vlanId }: Vlan): number => link * vlanIds + vlanId;

export const vlanOfMark = (mark: number): Vlan => ({
  link: Math.floor(mark / vlanIds),
  vlanId: mark % vlanIds,
});

/** The tag of what all wires in a VLAN share. */
export function vlanTag(owner: Owner, mark: number): string {
  return ownTag(owner, `vlan ${mark.toString(36)}`);
}

/** `vlanMark`; undefined for what is no such thing of this owner's. */
export function parseVlanTag(owner: Owner, text: string): number | undefined {
  const match = /^vwire\/\d{1,6} ([0-9a-z]+) vlan ([0-9a-z]{1,8})$/.exec(text);
  return match?.[1] === ownerHash(owner) ? parseInt(match[2] ?? '', 36) : undefined;
}

/** Which trunk: one digit each. */
export interface TrunkId {
  /** Which of `frameClasses` it was made with. */
  readonly frames: number;
  /** Which of those with such frames. */
  readonly lane: number;
}

export interface TrunkTag extends TrunkId {
  /** Index of the kernel's link that VPP took up; 0 in the alias of such a link itself. */
  readonly link: number;
}

export function trunkTag(owner: Owner, { frames, lane, link }: TrunkTag): string {
  return ownTag(owner, `trunk${frames}${lane} ${link.toString(36)}`);
}

/** Undefined for what is no trunk of this owner's. */
export function parseTrunkTag(owner: Owner, text: string): TrunkTag | undefined {
  const match = /^vwire\/\d{1,6} ([0-9a-z]+) trunk(\d)(\d) ([0-9a-z]{1,7})$/.exec(text);
  const [, hash, frames = '', lane = '', link = ''] = match ?? [];
  if (hash !== ownerHash(owner)) return undefined;
  return { frames: Number(frames), lane: Number(lane), link: parseInt(link, 36) };
}

export const isSameTrunk = (one: TrunkId, other: TrunkId): boolean =>
  one.frames === other.frames && one.lane === other.lane;

/** `o`: the side that VPP takes up; `i`: the side that the ends are joined to. 13 characters of at most 15. */
export function trunkLinkName(owner: Owner, { frames, lane }: TrunkId, side: 'o' | 'i'): string {
  return `vt${ownerHash(owner).slice(0, 8)}${frames}${lane}${side}`;
}

/** The tag of what the owner has once, such as an ACL. */
export function ownTag(owner: Owner, what: string): string {
  return `vwire/${tagVersionOf(owner)} ${ownerHash(owner)} ${what}`;
}

/**
 * VPP makes a tunnel, and a branch of a trunk, without a tag. Its number is ours to choose, so it follows from the wire: one
 * for what is there, one for another that replaces it.
 */
export function ownInstances(owner: Owner, wireId: string, side: Side): readonly number[] {
  const { high, low } = hashText(`${ownerKey(owner)} ${wireId} ${side}`, instanceSeed);
  // All ones lets VPP choose.
  return [low & 0x7fff_ffff, (high & 0x7fff_ffff) | 0x8000_0000].map((each) =>
    Math.min(each >>> 0, 0xffff_fffe),
  );
}

/**
 * How many numbers of WireGuard's interfaces there are, of IPsec's and of pipes (WG_ITF_MAX_INSTANCE in VPP's
 * src/plugins/wireguard/wireguard_if.c, IPSEC_ITF_MAX_INSTANCE in src/vnet/ipsec/ipsec_itf.c, PIPE_MAX_INSTANCE in
 * src/vnet/devices/pipe/pipe.c).
 */
export const fewInstanceCount = 16 * 1024;

/** As `ownInstances`, of these fewer numbers, which others are likely to have as well. */
export function fewInstances(owner: Owner, wireId: string, side: Side): readonly number[] {
  const { high, low } = hashText(`${ownerKey(owner)} ${wireId} ${side}`, instanceSeed);
  return [low, low >>> 14, high, high >>> 14].map((each) => each % fewInstanceCount);
}

/** As `ownInstances`, for what has an address of its own: by that VPP's end of a memif is known before it has a tag. */
export function ownMacAddress(owner: Owner, wireId: string, side: Side): string {
  return clientMacAddress(`${ownerKey(owner)} ${wireId} ${side}`);
}

/** A UUID without its dashes, so that it fits. */
function formatId(id: string): string {
  return uuidPattern.test(id) ? `u${id.replaceAll('-', '')}` : `=${encodeURIComponent(id)}`;
}

function parseId(text: string): string | undefined {
  if (text.startsWith('=')) {
    try {
      return decodeURIComponent(text.slice(1));
    } catch {
      return undefined;
    }
  }
  const parts = /^u([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(text);
  return parts === null ? undefined : parts.slice(1).join('-');
}

function ownerHash(owner: Owner): string {
  const { high, low } = hashText(ownerKey(owner), ownerSeed);
  const character = (_: unknown, index: number): string =>
    digits[((index < 6 ? low : high) >>> ((index % 6) * 5)) & 31] ?? '';
  return Array.from({ length: ownerDigits }, character).join('');
}

const ownerKey = ({ installation, forwarder }: Owner): string =>
  `${encodeURIComponent(installation)} ${encodeURIComponent(forwarder)}`;
