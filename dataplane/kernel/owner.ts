// Who an object in the kernel belongs to: names, groups and tags of the node-side links of a wire.
// NSM concept: none; the reference cannot tell its links from others' after a crash.
// Invariants: a name is at most 15 bytes and follows from owner, side and wire id; the tag repeats all of it in
// full; objects that do not carry this owner's name, group or tag are never considered.

import { NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import { hashText } from '../../protocols/nsm/derived-mac.ts';

export interface Owner {
  readonly installation: string;
  readonly forwarder: string;
  /** Version of the tags that are written; earlier ones are read and rewritten, later ones left alone. */
  readonly tagVersion?: number;
}

/** What the owner's objects have in common. */
export interface OwnerMarks {
  readonly owner: Owner;
  readonly tagVersion: number;
  /** Every node-side link's name begins so: 7 characters. */
  readonly namePrefix: string;
  /** Group of live links: what marks a link as ours between creation and tagging. */
  readonly group: number;
  /** Group into which links go to be deleted together. */
  readonly dyingGroup: number;
  /** Name of the owner's nf_tables table. */
  readonly filterTable: string;
}

/** Which part of a wire a link is. */
export type LinkRole = 'client' | 'endpoint' | 'bridge';

export interface Tag {
  readonly version: number;
  readonly wireId: string;
  readonly role: LinkRole;
  /** Interface name and MAC that the workload's end was given; absent for a VXLAN device. */
  readonly interfaceName?: string;
  readonly macAddress?: string;
  /** Where a VXLAN device sends to. */
  readonly remoteIp?: string;
  readonly remotePort?: number;
  /** Set when the wire has been made whole with this end. */
  readonly isDone: boolean;
}

/** IFALIASZ of linux/if.h less the closing NUL. */
const tagLengthMax = 255;
const nameSeed = 0x7669;
const groupSeed = 0x6770;
const letters: Record<LinkRole, readonly string[]> = {
  client: ['a', 'c'],
  endpoint: ['b', 'd'],
  bridge: ['x'],
};
/** Crockford's digits in lower case: no two look alike. */
const digits = '0123456789abcdefghjkmnpqrstvwxyz';

export function marksOf(owner: Owner): OwnerMarks {
  const key = ownerKey(owner);
  const hash = hashText(key, nameSeed);
  const groups = hashText(key, groupSeed);
  return {
    owner,
    tagVersion: owner.tagVersion ?? formats.wireTag,
    namePrefix: `vw${base32(hash.low, hash.high, 5)}`,
    // Kept within 31 bits (iproute2 shows groups as signed) and away from 0, the default group.
    group: (groups.high & 0x7fffffff) | 1,
    dyingGroup: (groups.low & 0x7ffffffe) | 2,
    filterTable: `vwire-${base32(hash.low, hash.high, 10)}`,
  };
}

/** The name of a node-side link. `attempt` moves on after a clash with another wire's name. */
export function linkName(
  marks: OwnerMarks,
  wireId: string,
  choice: { readonly role: LinkRole; readonly generation: number; readonly attempt: number },
): string {
  const hash = hashText(`${wireId}#${choice.attempt}`, nameSeed);
  const letter = letters[choice.role][choice.generation % letters[choice.role].length];
  return `${marks.namePrefix}${letter}${base32(hash.low, hash.high, 7)}`;
}

/** Whether a link of this role may be called so. */
export function isNameOf(marks: OwnerMarks, role: LinkRole, name: string): boolean {
  const letter = name[marks.namePrefix.length] ?? '';
  return name.startsWith(marks.namePrefix) && letters[role].includes(letter);
}

/** How many links of a role can exist side by side while one replaces the other. */
export function generationsOf(role: LinkRole): number {
  return letters[role].length;
}

export function formatTag(owner: Owner, tag: Tag): string {
  const fields = [
    `i=${encodeURIComponent(owner.installation)}`,
    `f=${encodeURIComponent(owner.forwarder)}`,
    `w=${encodeURIComponent(tag.wireId)}`,
    `e=${tag.role}`,
  ];
  if (tag.interfaceName !== undefined) fields.push(`n=${encodeURIComponent(tag.interfaceName)}`);
  if (tag.macAddress !== undefined) fields.push(`m=${tag.macAddress.replaceAll(':', '')}`);
  if (tag.remoteIp !== undefined) fields.push(`r=${tag.remoteIp}`, `p=${tag.remotePort}`);
  if (tag.isDone) fields.push('done');
  const text = `vwire/${tag.version} ${fields.join(' ')}`;
  if (text.length > tagLengthMax) {
    throw new NsmError('INVALID_ARGUMENT', 'the tag of a kernel link would be too long', {
      rule: 'tag',
      expected: `at most ${tagLengthMax} bytes`,
      found: `${text.length} bytes`,
      remedy: 'use shorter ids for installation, forwarder and connection',
    });
  }
  return text;
}

/** The tag in a link's alias, if it is this owner's. */
export function parseTag(owner: Owner, alias: string): Tag | undefined {
  const read = readTag(alias);
  const isOurs = read?.installation === owner.installation && read.forwarder === owner.forwarder;
  return isOurs ? read.tag : undefined;
}

/** The tag in a link's alias and whose it is, if it is another forwarder's of the owner's installation. */
export function parseOthersTag(
  owner: Owner,
  alias: string,
): { readonly forwarder: string; readonly tag: Tag } | undefined {
  const read = readTag(alias);
  const isOthers = read?.installation === owner.installation && read.forwarder !== owner.forwarder;
  return isOthers ? read : undefined;
}

function readTag(
  alias: string,
): { readonly installation: string; readonly forwarder: string; readonly tag: Tag } | undefined {
  const match = /^vwire\/(\d{1,6}) (.*)$/.exec(alias);
  if (match === null) return undefined;
  const fields = new Map<string, string>();
  for (const word of (match[2] ?? '').split(' ')) {
    const equals = word.indexOf('=');
    fields.set(equals < 0 ? word : word.slice(0, equals), decoded(word.slice(equals + 1)));
  }
  const role = fields.get('e');
  const wireId = fields.get('w');
  const installation = fields.get('i');
  const forwarder = fields.get('f');
  if (installation === undefined || forwarder === undefined) return undefined;
  if (wireId === undefined || !isRole(role)) return undefined;
  const interfaceName = fields.get('n');
  const macAddress = fields.get('m')?.match(/../g)?.join(':');
  const remoteIp = fields.get('r');
  const tag: Tag = {
    version: Number(match[1]),
    wireId,
    role,
    ...(interfaceName === undefined ? {} : { interfaceName }),
    ...(macAddress === undefined ? {} : { macAddress }),
    ...(remoteIp === undefined ? {} : { remoteIp, remotePort: Number(fields.get('p')) }),
    isDone: fields.has('done'),
  };
  return { installation, forwarder, tag };
}

function isRole(text: string | undefined): text is LinkRole {
  return text === 'client' || text === 'endpoint' || text === 'bridge';
}

function ownerKey(owner: Owner): string {
  return `${encodeURIComponent(owner.installation)} ${encodeURIComponent(owner.forwarder)}`;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** `count` base-32 digits of a 64-bit number, at most 12. */
function base32(low: number, high: number, count: number): string {
  let text = '';
  for (let index = 0; index < count; index++) {
    const half = index < 6 ? low : high;
    text += digits[(half >>> ((index % 6) * 5)) & 31];
  }
  return text;
}

/** Which generation of its role a link's name says; unknown letters count as the first. */
export function generationOf(marks: OwnerMarks, role: LinkRole, name: string): number {
  return Math.max(0, letters[role].indexOf(name[marks.namePrefix.length] ?? ''));
}
