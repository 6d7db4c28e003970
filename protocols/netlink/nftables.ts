// nf_tables over netlink (linux/netfilter/nf_tables.h), as far as a filter on the outer source of VXLAN packets
// needs it: a table, a chain on the input hook, sets of concatenated keys, rules, elements, transactions.
// Invariant: everything is in network byte order and inside a batch, so that it takes effect at once or not at all.

import type { EncodedMessage, NetlinkMessage } from './codec.ts';
import { NetlinkWriter, parseAttributeList, parseAttributes, readText } from './codec.ts';
import { flag } from './constants.ts';

const subsystem = 10;
/** NFT_MSG_*. */
const type = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  newRule: 6,
  getRule: 7,
  delRule: 8,
  newSet: 9,
  newSetElement: 12,
  getSetElement: 13,
  delSetElement: 14,
  /** NFT_MSG_NEWGEN: tells of no table. */
  newGeneration: 15,
} as const;
/** NFPROTO_INET: one table for both address families. */
const inetFamily = 1;
/** NF_INET_PRE_ROUTING and NF_INET_LOCAL_IN. */
const preroutingHook = 0;
const inputHook = 1;
/** NF_IP_PRI_MANGLE, as the unsigned number that the kernel reads as -150. */
const mangle = 2 ** 32 - 150;
const accept = 1;
const drop = 0;

/** nfgenmsg: family u8, version u8, resource id be16. */
function nftMessage(messageType: number, flags: number, family = inetFamily): NetlinkWriter {
  return new NetlinkWriter((subsystem << 8) | messageType, flag.request | flags)
    .u8(family)
    .u8(0)
    .be16(0);
}

/** NFNL_MSG_BATCH_BEGIN and NFNL_MSG_BATCH_END. */
function batchMark(mark: number): EncodedMessage {
  return new NetlinkWriter(mark, flag.request).u8(0).u8(0).be16(subsystem).finish();
}

export const beginBatch = (): EncodedMessage => batchMark(16);
export const endBatch = (): EncodedMessage => batchMark(17);

/** Creates the table, or finds it there. */
export function ensureTable(table: string): EncodedMessage {
  return nftMessage(type.newTable, flag.ack | flag.create)
    .textAttribute(1, table)
    .finish();
}

export function getTable(table: string): EncodedMessage {
  return nftMessage(type.getTable, 0).textAttribute(1, table).finish();
}

/** Removes the table with all that is in it. */
export function deleteTable(table: string): EncodedMessage {
  return nftMessage(type.delTable, flag.ack).textAttribute(1, table).finish();
}

/** A base chain on the input hook that accepts by default. */
export function ensureInputChain(table: string, chain: string, priority: number): EncodedMessage {
  const writer = nftMessage(type.newChain, flag.ack | flag.create)
    .textAttribute(1, table)
    .textAttribute(3, chain);
  writer.nested(4, () => writer.be32Attribute(1, inputHook).be32Attribute(2, priority));
  return writer.be32Attribute(5, accept).textAttribute(7, 'filter').finish();
}

/** A base chain that packets pass before they are routed, whatever others have hung there. */
export function ensurePreroutingChain(table: string, chain: string): EncodedMessage {
  const writer = nftMessage(type.newChain, flag.ack | flag.create)
    .textAttribute(1, table)
    .textAttribute(3, chain);
  writer.nested(4, () => writer.be32Attribute(1, preroutingHook).be32Attribute(2, mangle));
  return writer.be32Attribute(5, accept).textAttribute(7, 'filter').finish();
}

/** Removes every rule of the chain. */
export function flushChain(table: string, chain: string): EncodedMessage {
  return nftMessage(type.delRule, flag.ack)
    .textAttribute(1, table)
    .textAttribute(2, chain)
    .finish();
}

export interface SetOptions {
  readonly table: string;
  readonly name: string;
  /** Unique within the batch. */
  readonly id: number;
  /** The parts of the concatenated key, each padded to 4 bytes. */
  readonly keyLengthBytes: number;
}

/** A hash set of concatenated keys; the key's type is opaque to the kernel. */
export function ensureSet(options: SetOptions): EncodedMessage {
  return nftMessage(type.newSet, flag.ack | flag.create)
    .textAttribute(1, options.table)
    .textAttribute(2, options.name)
    .be32Attribute(3, 0)
    .be32Attribute(4, 0)
    .be32Attribute(5, options.keyLengthBytes)
    .be32Attribute(10, options.id)
    .finish();
}

export interface ElementOptions {
  readonly table: string;
  readonly set: string;
  readonly key: Uint8Array;
}

/** Adds an element, or finds it there. */
export function addElement(options: ElementOptions): EncodedMessage {
  return elementMessage(type.newSetElement, flag.ack | flag.create, options);
}

export function deleteElement(options: ElementOptions): EncodedMessage {
  return elementMessage(type.delSetElement, flag.ack, options);
}

export function dumpElements(table: string, set: string): EncodedMessage {
  return nftMessage(type.getSetElement, flag.dump)
    .textAttribute(1, table)
    .textAttribute(2, set)
    .finish();
}

/** Finds the element; ENOENT where it, its set or its table is not there. */
export function getElement(options: ElementOptions): EncodedMessage {
  return elementMessage(type.getSetElement, 0, options);
}

export function dumpRules(table: string, chain: string): EncodedMessage {
  return nftMessage(type.getRule, flag.dump)
    .textAttribute(1, table)
    .textAttribute(2, chain)
    .finish();
}

/** The table that an event is about: every object names its table first. */
export function tableOfEvent(message: NetlinkMessage): string | undefined {
  const { payload } = message;
  const isOurSubsystem = message.type >> 8 === subsystem;
  if (!isOurSubsystem || (message.type & 0xff) === type.newGeneration) return undefined;
  return payload.length < 4 ? undefined : readText(parseAttributes(payload, 4).get(1));
}

/** The keys in one message of a dump. */
export function parseElementKeys(message: NetlinkMessage): Uint8Array[] {
  if (message.payload.length < 4) return [];
  const elements = parseAttributes(message.payload, 4).get(3) ?? new Uint8Array();
  return parseAttributeList(elements).flatMap(([, element]) => {
    const key = parseAttributes(element).get(1);
    const value = key === undefined ? undefined : parseAttributes(key).get(1);
    return value === undefined ? [] : [value];
  });
}

/** One step of a rule. Registers are the 4-byte ones, numbered from 0. */
export type NftExpression =
  | { readonly kind: 'meta'; readonly key: 'nfproto' | 'l4proto'; readonly register: number }
  | { readonly kind: 'equals'; readonly register: number; readonly value: Uint8Array }
  | {
      readonly kind: 'payload';
      readonly base: 'network' | 'transport';
      readonly offset: number;
      readonly length: number;
      readonly register: number;
    }
  | {
      readonly kind: 'lookup';
      readonly set: string;
      readonly register: number;
      readonly isInverted?: boolean;
    }
  | { readonly kind: 'immediate'; readonly register: number; readonly value: Uint8Array }
  /** Sets the packet's mark from the register. */
  | { readonly kind: 'setMark'; readonly register: number }
  | { readonly kind: 'drop' };

export function addRule(
  table: string,
  chain: string,
  expressions: readonly NftExpression[],
): EncodedMessage {
  const writer = nftMessage(type.newRule, flag.ack | flag.create | flag.append)
    .textAttribute(1, table)
    .textAttribute(2, chain);
  writer.nested(4, () => {
    for (const expression of expressions) {
      writer.nested(1, () => writeExpression(writer, expression));
    }
  });
  return writer.finish();
}

function elementMessage(
  messageType: number,
  flags: number,
  options: ElementOptions,
): EncodedMessage {
  const writer = nftMessage(messageType, flags)
    .textAttribute(1, options.table)
    .textAttribute(2, options.set);
  writer.nested(3, () =>
    writer.nested(1, () => writer.nested(1, () => writer.bytesAttribute(1, options.key))),
  );
  return writer.finish();
}

/** NFT_META_NFPROTO, NFT_META_L4PROTO. */
const metaKey = { nfproto: 15, l4proto: 16 } as const;
/** NFT_META_MARK. */
const metaMark = 3;
/** NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER. */
const payloadBase = { network: 1, transport: 2 } as const;
/** NFT_REG32_00. */
const firstRegister = 8;

function writeExpression(writer: NetlinkWriter, expression: NftExpression): void {
  switch (expression.kind) {
    case 'meta':
      writeNamed(writer, 'meta', () =>
        writer
          .be32Attribute(1, firstRegister + expression.register)
          .be32Attribute(2, metaKey[expression.key]),
      );
      return;
    case 'equals':
      writeNamed(writer, 'cmp', () => {
        writer.be32Attribute(1, firstRegister + expression.register).be32Attribute(2, 0);
        writer.nested(3, () => writer.bytesAttribute(1, expression.value));
      });
      return;
    case 'payload':
      writeNamed(writer, 'payload', () =>
        writer
          .be32Attribute(1, firstRegister + expression.register)
          .be32Attribute(2, payloadBase[expression.base])
          .be32Attribute(3, expression.offset)
          .be32Attribute(4, expression.length),
      );
      return;
    case 'lookup':
      writeNamed(writer, 'lookup', () => {
        writer.textAttribute(1, expression.set);
        writer.be32Attribute(2, firstRegister + expression.register);
        if (expression.isInverted === true) writer.be32Attribute(5, 1);
      });
      return;
    case 'immediate':
      writeNamed(writer, 'immediate', () => {
        writer.be32Attribute(1, firstRegister + expression.register);
        writer.nested(2, () => writer.bytesAttribute(1, expression.value));
      });
      return;
    case 'setMark':
      writeNamed(writer, 'meta', () =>
        writer.be32Attribute(2, metaMark).be32Attribute(3, firstRegister + expression.register),
      );
      return;
    case 'drop':
      // Register 0 is the verdict.
      writeNamed(writer, 'immediate', () => {
        writer.be32Attribute(1, 0);
        writer.nested(2, () => writer.nested(2, () => writer.be32Attribute(1, drop)));
      });
      return;
  }
}

function writeNamed(writer: NetlinkWriter, name: string, writeData: () => void): void {
  writer.textAttribute(1, name);
  writer.nested(2, writeData);
}
