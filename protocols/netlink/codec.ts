// The netlink message format: header, attributes, nesting (linux/netlink.h), written and read without copying
// more than once. Integers are in the host's byte order unless a name says `be`.
// Invariant: the reader never looks outside the bytes that it was given; malformed input is one NsmError.
// A value that only the executor will know (an interface index, a descriptor) is written as a reference: the
// writer leaves a hole and records where it is.

import { NsmError } from '../errors.ts';

/** A number that is known only while the program runs; see `protocols/ports/netlink.ts`. */
export type NetlinkReference =
  /** The number that an earlier request stored under this name. */
  | { readonly register: string }
  /** The descriptor of the namespace with this URL, open for as long as the program runs. */
  | { readonly namespaceDescriptor: string }
  /** The descriptor of an eBPF program for filters (its instructions), loaded for as long as the program runs. */
  | { readonly program: Uint8Array };

export type NetlinkNumber = number | NetlinkReference;

/** Where in a message a 32-bit reference goes. */
export interface NetlinkHole {
  readonly offset: number;
  readonly reference: NetlinkReference;
}

/** One encoded request; the executor fills in sequence number and holes. */
export interface EncodedMessage {
  readonly bytes: Uint8Array;
  readonly holes: readonly NetlinkHole[];
}

/** One message as received. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** In an answer the socket that asked; in some events the one that caused it; else 0. */
  readonly port: number;
  readonly payload: Uint8Array;
}

/** nlmsghdr: length u32, type u16, flags u16, sequence u32, port id u32. */
export const headerLength = 16;
export const sequenceOffset = 8;
const portOffset = 12;
const attributeHeaderLength = 4;
/** NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const attributeTypeMask = 0x3fff;
const nestedFlag = 0x8000;

export const isLittleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

function align(length: number): number {
  return (length + 3) & ~3;
}

/** Builds one message front to back. */
export class NetlinkWriter {
  readonly holes: NetlinkHole[] = [];
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = headerLength;

  constructor(type: number, flags: number) {
    this.#view.setUint16(4, type, isLittleEndian);
    this.#view.setUint16(6, flags, isLittleEndian);
  }

  u8(value: number): this {
    const offset = this.#grow(1);
    this.#view.setUint8(offset, value);
    return this;
  }

  u16(value: number): this {
    const offset = this.#grow(2);
    this.#view.setUint16(offset, value, isLittleEndian);
    return this;
  }

  be16(value: number): this {
    const offset = this.#grow(2);
    this.#view.setUint16(offset, value);
    return this;
  }

  u32(value: NetlinkNumber): this {
    const offset = this.#grow(4);
    if (typeof value === 'number') this.#view.setUint32(offset, value >>> 0, isLittleEndian);
    else this.holes.push({ offset, reference: value });
    return this;
  }

  be32(value: number): this {
    const offset = this.#grow(4);
    this.#view.setUint32(offset, value >>> 0);
    return this;
  }

  bytes(value: Uint8Array): this {
    const offset = this.#grow(value.length);
    this.#bytes.set(value, offset);
    return this;
  }

  zeros(count: number): this {
    this.#grow(count);
    return this;
  }

  /** An attribute with whatever `write` puts into it. */
  attribute(type: number, write: (writer: this) => void): this {
    const start = this.#grow(attributeHeaderLength);
    this.#view.setUint16(start + 2, type, isLittleEndian);
    write(this);
    this.#view.setUint16(start, this.#length - start, isLittleEndian);
    this.#grow(align(this.#length) - this.#length);
    return this;
  }

  nested(type: number, write: (writer: this) => void): this {
    return this.attribute(type | nestedFlag, write);
  }

  u8Attribute(type: number, value: number): this {
    return this.attribute(type, () => this.u8(value));
  }

  u16Attribute(type: number, value: number): this {
    return this.attribute(type, () => this.u16(value));
  }

  be16Attribute(type: number, value: number): this {
    return this.attribute(type, () => this.be16(value));
  }

  u32Attribute(type: number, value: NetlinkNumber): this {
    return this.attribute(type, () => this.u32(value));
  }

  be32Attribute(type: number, value: number): this {
    return this.attribute(type, () => this.be32(value));
  }

  bytesAttribute(type: number, value: Uint8Array): this {
    return this.attribute(type, () => this.bytes(value));
  }

  /** UTF-8 with a closing NUL. */
  textAttribute(type: number, value: string): this {
    return this.attribute(type, () => this.bytes(textEncoder.encode(value)).u8(0));
  }

  finish(): EncodedMessage {
    this.#view.setUint32(0, this.#length, isLittleEndian);
    return { bytes: this.#bytes.slice(0, this.#length), holes: this.holes };
  }

  /** The offset of what is to be written. It may replace the view, so it is taken before the view is. */
  #grow(count: number): number {
    const offset = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return offset;
  }
}

function malformed(what: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', `malformed netlink ${what}`, {
    rule: 'netlink format',
    expected,
    found,
  });
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Splits what one read returned into its messages. */
export function parseMessages(bytes: Uint8Array): NetlinkMessage[] {
  const view = viewOf(bytes);
  const messages: NetlinkMessage[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const left = bytes.length - offset;
    if (left < headerLength) throw malformed('message', `${headerLength} bytes`, `${left} bytes`);
    const length = view.getUint32(offset, isLittleEndian);
    if (length < headerLength || length > left) {
      throw malformed('message', `a length from ${headerLength} to ${left}`, `${length}`);
    }
    messages.push({
      type: view.getUint16(offset + 4, isLittleEndian),
      flags: view.getUint16(offset + 6, isLittleEndian),
      sequence: view.getUint32(offset + sequenceOffset, isLittleEndian),
      port: view.getUint32(offset + portOffset, isLittleEndian),
      payload: bytes.subarray(offset + headerLength, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** Attributes in order, since some (list elements) repeat a type. */
export function parseAttributeList(
  bytes: Uint8Array,
  start = 0,
): (readonly [type: number, value: Uint8Array])[] {
  const view = viewOf(bytes);
  const attributes: (readonly [number, Uint8Array])[] = [];
  let offset = start;
  while (offset + attributeHeaderLength <= bytes.length) {
    const length = view.getUint16(offset, isLittleEndian);
    const left = bytes.length - offset;
    if (length < attributeHeaderLength || length > left) {
      throw malformed('attribute', `a length from 4 to ${left}`, `${length}`);
    }
    const type = view.getUint16(offset + 2, isLittleEndian) & attributeTypeMask;
    attributes.push([type, bytes.subarray(offset + attributeHeaderLength, offset + length)]);
    offset += align(length);
  }
  return attributes;
}

/** Attributes by type; the last of a repeated type wins, as in the kernel. */
export function parseAttributes(bytes: Uint8Array, start = 0): Map<number, Uint8Array> {
  return new Map(parseAttributeList(bytes, start));
}

export function readU32(bytes: Uint8Array | undefined, offset = 0): number | undefined {
  if (bytes === undefined || bytes.length < offset + 4) return undefined;
  return viewOf(bytes).getUint32(offset, isLittleEndian);
}

export function readBe16(bytes: Uint8Array | undefined): number | undefined {
  return bytes === undefined || bytes.length < 2 ? undefined : viewOf(bytes).getUint16(0);
}

/** Text up to its NUL. */
export function readText(bytes: Uint8Array | undefined): string | undefined {
  if (bytes === undefined) return undefined;
  const end = bytes.indexOf(0);
  return textDecoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}
