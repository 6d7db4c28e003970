// Who may send VXLAN packets to us: an nf_tables table on the node's input hook, one per owner. A packet for a VNI
// of ours that comes from another outer source than that wire's remote is dropped.
// NSM concept: the VXLAN mechanism's src_ip; the reference accepts any sender that guesses the VNI.
// Invariants: entries are made before the device and removed after it, each wire's in one transaction.

import type { EncodedMessage, NetlinkMessage } from '../../protocols/netlink/codec.ts';
import { viewOf } from '../../protocols/netlink/codec.ts';
import { family } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import type { NftExpression } from '../../protocols/netlink/nftables.ts';
import {
  addElement,
  addRule,
  deleteElement,
  deleteTable,
  dumpElements,
  dumpRules,
  ensureInputChain,
  ensureSet,
  ensureTable,
  flushChain,
  getElement,
  parseElementKeys,
} from '../../protocols/netlink/nftables.ts';
import type { VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type { NetlinkAnswer, NetlinkRequest, NetlinkStep } from '../../protocols/ports/netlink.ts';

const chain = 'input';
/** NF_IP_PRI_RAW: before connection tracking spends anything on a forged packet. */
const priority = -300;

interface Family {
  readonly number: number;
  /** NFPROTO_IPV4, NFPROTO_IPV6. */
  readonly protocol: number;
  readonly sourceOffset: number;
  readonly sourceLength: number;
  readonly allowed: string;
  readonly guarded: string;
}

const families: readonly Family[] = [
  {
    number: family.inet,
    protocol: 2,
    sourceOffset: 12,
    sourceLength: 4,
    allowed: 'allowed4',
    guarded: 'guarded4',
  },
  {
    number: family.inet6,
    protocol: 10,
    sourceOffset: 8,
    sourceLength: 16,
    allowed: 'allowed6',
    guarded: 'guarded6',
  },
];

/** Table, chain, sets and rules; made anew without touching the sets' elements. */
export function filterBase(table: string): NetlinkRequest[] {
  const what = `make the VXLAN source filter ${table}`;
  const messages: EncodedMessage[] = [
    ensureTable(table),
    ensureInputChain(table, chain, priority),
    flushChain(table, chain),
  ];
  for (const [index, { allowed, guarded, sourceLength }] of families.entries()) {
    const id = index * 2 + 1;
    messages.push(
      ensureSet({ table, name: allowed, id, keyLengthBytes: sourceLength + 8 }),
      ensureSet({ table, name: guarded, id: id + 1, keyLengthBytes: 8 }),
    );
  }
  for (const entry of families) messages.push(addRule(table, chain, dropForged(entry)));
  return messages.map((message) => ({ message, what }));
}

/** Both entries of one VXLAN end; undone only where they were made for this end. */
export function allowSource(table: string, end: VxlanEnd, isNew: boolean): NetlinkRequest[] {
  const what = `allow VXLAN ${end.vni} from ${end.remoteIp}`;
  return elementsOf(table, end).map((element) => ({
    message: addElement(element),
    what,
    ...(isNew ? { undo: [deleteElement(element)] } : {}),
  }));
}

/** Takes the entries away, each by itself: one that is missing must not keep the others. */
export function forbidSource(table: string, end: VxlanEnd, keepsVni: boolean): NetlinkStep[] {
  return elementsOf(table, end)
    .slice(0, keepsVni ? 1 : 2)
    .map((element) => removeElement(element));
}

export function removeFilter(table: string): NetlinkStep {
  const request = {
    message: deleteTable(table),
    what: `remove the VXLAN source filter ${table}`,
    tolerate: [errno.noEntry, errno.busy, errno.notSupported],
  };
  return { protocol: 'netfilter', requests: [request] };
}

/** Reads the rules and every set; a table that is not there has none. */
export function dumpFilter(table: string): NetlinkStep {
  const messages = [dumpRules(table, chain), ...setNames.map((set) => dumpElements(table, set))];
  return { protocol: 'netfilter', requests: messages.map((message) => reading(table, message)) };
}

/** What the answers to `dumpFilter` say. */
export interface FoundFilter {
  /** False where a rule is missing, and so nothing is filtered. */
  readonly hasRules: boolean;
  /** Whether both entries of the end are there. */
  allows(end: VxlanEnd): boolean;
  /** Removes every entry that belongs to none of the ends. */
  prune(ends: readonly VxlanEnd[]): NetlinkStep[];
}

export function readFilter(
  table: string,
  [rules = [], ...sets]: readonly (readonly NetlinkMessage[])[],
): FoundFilter {
  const text = ({ set, key }: Pick<Element, 'set' | 'key'>) => `${set} ${key.join()}`;
  const found = setNames.flatMap((set, index) =>
    (sets[index] ?? []).flatMap(parseElementKeys).map((key) => ({ table, set, key })),
  );
  const texts = new Set(found.map(text));
  return {
    hasRules: rules.length >= families.length,
    allows: (end) => elementsOf(table, end).every((element) => texts.has(text(element))),
    prune(ends) {
      const wanted = new Set(ends.flatMap((end) => elementsOf(table, end).map(text)));
      return found.filter((element) => !wanted.has(text(element))).map(removeElement);
    },
  };
}

/** Reads the rules and what one end has in the sets; `readEntries` says what the answers mean. */
export function findEntries(table: string, end: VxlanEnd): NetlinkStep {
  const messages = [dumpRules(table, chain), ...elementsOf(table, end).map(getElement)];
  return { protocol: 'netfilter', requests: messages.map((message) => reading(table, message)) };
}

/** Whether the filter works for the end that `findEntries` asked about. */
export function readEntries([rules, ...elements]: readonly NetlinkAnswer[]): boolean {
  const hasRules = (rules?.messages.length ?? 0) >= families.length;
  return hasRules && elements.every(({ errno: number }) => number === 0);
}

function reading(table: string, message: EncodedMessage): NetlinkRequest {
  const what = `read the VXLAN source filter ${table}`;
  return { message, what, tolerate: [errno.noEntry, errno.invalid, errno.notSupported] };
}

const setNames = families.flatMap(({ allowed, guarded }) => [allowed, guarded]);

interface Element {
  readonly table: string;
  readonly set: string;
  readonly key: Uint8Array;
}

function removeElement(element: Element): NetlinkStep {
  const request = {
    message: deleteElement(element),
    what: `remove an entry of the VXLAN source filter ${element.table}`,
    tolerate: [errno.noEntry, errno.notSupported],
  };
  return { protocol: 'netfilter', requests: [request] };
}

/** Source with port and VNI that may pass, then port and VNI that are guarded. */
function elementsOf(table: string, end: VxlanEnd): [Element, Element] {
  const source = parseIp(end.remoteIp);
  const entry = families.find(({ number }) => number === source.family) as Family;
  const guardedKey = portAndVni(end);
  const allowedKey = new Uint8Array(source.bytes.length + guardedKey.length);
  allowedKey.set(source.bytes);
  allowedKey.set(guardedKey, source.bytes.length);
  return [
    { table, set: entry.allowed, key: allowedKey },
    { table, set: entry.guarded, key: guardedKey },
  ];
}

/** Two parts of a concatenated key, each padded to 4 bytes: UDP port (2), VNI (3). */
function portAndVni(end: VxlanEnd): Uint8Array {
  const key = new Uint8Array(8);
  const view = viewOf(key);
  view.setUint16(0, end.localPort);
  view.setUint32(4, end.vni << 8);
  return key;
}

/**
 * UDP to a guarded port and VNI from a source that is not allowed for it. The VNI is loaded as its three bytes
 * (RFC 7348: flags 1, reserved 3, VNI 3, reserved 1 after the 8 bytes of UDP), so the reserved byte cannot be
 * used to slip past, whatever a kernel makes of it.
 */
function dropForged(entry: Family): NftExpression[] {
  const ports = entry.sourceLength / 4;
  return [
    { kind: 'meta', key: 'nfproto', register: 0 },
    { kind: 'equals', register: 0, value: Uint8Array.of(entry.protocol) },
    { kind: 'meta', key: 'l4proto', register: 0 },
    { kind: 'equals', register: 0, value: Uint8Array.of(17) },
    {
      kind: 'payload',
      base: 'network',
      offset: entry.sourceOffset,
      length: entry.sourceLength,
      register: 0,
    },
    { kind: 'payload', base: 'transport', offset: 2, length: 2, register: ports },
    { kind: 'payload', base: 'transport', offset: 12, length: 3, register: ports + 1 },
    { kind: 'lookup', set: entry.guarded, register: ports },
    { kind: 'lookup', set: entry.allowed, register: 0, isInverted: true },
    { kind: 'drop' },
  ];
}
