// Match fields (OXM TLVs, OpenFlow 1.3.5 section 7.2.3) and the match structure that holds them.
// Fields of up to 4 bytes are numbers, of 8 bytes bigints, others bytes. A field that is not in the tables keeps its
// payload, so that what a switch shows can be written back unchanged.

import type { WireReader, WireWriter } from './wire-bytes.ts';
import { malformed } from './wire-bytes.ts';

/** OFPXMC_OPENFLOW_BASIC. */
const basicClass = 0x8000;
/** NXM_1, Open vSwitch's own fields (lib/meta-flow.xml of Open vSwitch 3.1). */
const niciraClass = 0x0001;

interface FieldCode {
  readonly oxmClass: number;
  readonly number: number;
  readonly width: number;
}

const basic = (number: number, width: number): FieldCode => ({
  oxmClass: basicClass,
  number,
  width,
});
const nicira = (number: number, width: number): FieldCode => ({
  oxmClass: niciraClass,
  number,
  width,
});

/** Numbers of enum oxm_ofb_match_fields. */
const numberFields = {
  inPort: basic(0, 4),
  ethType: basic(5, 2),
  /** VID with bit 0x1000 set where a tag is present (`vlanPresent`); 0 matches untagged frames. */
  vlanVid: basic(6, 2),
  vlanPcp: basic(7, 1),
  ipProto: basic(10, 1),
  ipv4Src: basic(11, 4),
  ipv4Dst: basic(12, 4),
  tcpSrc: basic(13, 2),
  tcpDst: basic(14, 2),
  udpSrc: basic(15, 2),
  udpDst: basic(16, 2),
  icmpv4Type: basic(19, 1),
  arpOp: basic(21, 2),
  arpSpa: basic(22, 4),
  arpTpa: basic(23, 4),
  icmpv6Type: basic(29, 1),
  tunIpv4Src: nicira(31, 4),
  tunIpv4Dst: nicira(32, 4),
} as const;

const wideFields = { metadata: basic(2, 8), tunnelId: basic(38, 8) } as const;

const bytesFields = {
  ethDst: basic(3, 6),
  ethSrc: basic(4, 6),
  arpSha: basic(24, 6),
  arpTha: basic(25, 6),
  ipv6Src: basic(26, 16),
  ipv6Dst: basic(27, 16),
  tunIpv6Src: nicira(109, 16),
  tunIpv6Dst: nicira(110, 16),
} as const;

/** OFPVID_PRESENT. */
export const vlanPresent = 0x1000;

export type NumberField = keyof typeof numberFields;
export type WideField = keyof typeof wideFields;
export type BytesField = keyof typeof bytesFields;

export type OxmEntry =
  | { readonly field: NumberField; readonly value: number; readonly mask?: number }
  | { readonly field: WideField; readonly value: bigint; readonly mask?: bigint }
  | { readonly field: BytesField; readonly value: Uint8Array; readonly mask?: Uint8Array }
  | {
      readonly field: 'unknown';
      readonly oxmClass: number;
      readonly number: number;
      readonly hasMask: boolean;
      readonly payload: Uint8Array;
    };

/** In the order of the wire; a field's prerequisites (ethType before ipProto) come before it. */
export type Match = readonly OxmEntry[];

type KnownField = NumberField | WideField | BytesField;

const fields: Readonly<Record<KnownField, FieldCode>> = {
  ...numberFields,
  ...wideFields,
  ...bytesFields,
};

const nameByCode = new Map(
  (Object.entries(fields) as [KnownField, FieldCode][]).map(([name, code]) => [
    (code.oxmClass << 7) | code.number,
    name,
  ]),
);

const isNumberField = (name: KnownField): name is NumberField => name in numberFields;
const isWideField = (name: KnownField): name is WideField => name in wideFields;

/** For tests and for reading tables: the width in bytes of every field known by name. */
export const fieldWidths: Readonly<Record<KnownField, number>> = Object.fromEntries(
  Object.entries(fields).map(([name, { width }]) => [name, width]),
) as Record<KnownField, number>;

function writeNumber(writer: WireWriter, width: number, value: number): void {
  const isInRange = Number.isInteger(value) && value >= 0 && value < 2 ** (8 * width);
  if (!isInRange) throw malformed('match field', `an integer of ${width} bytes`, `${value}`);
  if (width === 1) writer.u8(value);
  else if (width === 2) writer.u16(value);
  else writer.u32(value);
}

function writeWide(writer: WireWriter, value: bigint): void {
  if (value < 0n || value >= 1n << 64n) throw malformed('match field', '64 bits', `${value}`);
  writer.u64(value);
}

function writeBytes(writer: WireWriter, width: number, value: Uint8Array): void {
  if (value.length !== width) {
    throw malformed('match field', `${width} bytes`, `${value.length} bytes`);
  }
  writer.bytes(value);
}

function writeValue(writer: WireWriter, width: number, value: number | bigint | Uint8Array): void {
  if (typeof value === 'number') writeNumber(writer, width, value);
  else if (typeof value === 'bigint') writeWide(writer, value);
  else writeBytes(writer, width, value);
}

/** OXM header: class u16, field 7 bits, mask flag 1 bit, payload length u8. */
export function writeOxm(writer: WireWriter, entry: OxmEntry): void {
  if (entry.field === 'unknown') {
    const { oxmClass, number, hasMask, payload } = entry;
    writer
      .u16(oxmClass)
      .u8((number << 1) | (hasMask ? 1 : 0))
      .u8(payload.length)
      .bytes(payload);
    return;
  }
  const { oxmClass, number, width } = fields[entry.field];
  const hasMask = entry.mask !== undefined;
  writer
    .u16(oxmClass)
    .u8((number << 1) | (hasMask ? 1 : 0))
    .u8(hasMask ? width * 2 : width);
  writeValue(writer, width, entry.value);
  if (entry.mask !== undefined) writeValue(writer, width, entry.mask);
}

function readNumber(reader: WireReader, width: number): number {
  if (width === 1) return reader.u8();
  return width === 2 ? reader.u16() : reader.u32();
}

function readPair<Value>(hasMask: boolean, read: () => Value): { value: Value; mask?: Value } {
  const value = read();
  return hasMask ? { value, mask: read() } : { value };
}

export function readOxm(reader: WireReader): OxmEntry {
  const oxmClass = reader.u16();
  const fieldAndMask = reader.u8();
  const number = fieldAndMask >> 1;
  const hasMask = (fieldAndMask & 1) === 1;
  const length = reader.u8();
  const payload = reader.part(length, 'match field');
  const field = nameByCode.get((oxmClass << 7) | number);
  if (field === undefined) {
    return { field: 'unknown', oxmClass, number, hasMask, payload: payload.rest() };
  }
  const { width } = fields[field];
  if (length !== (hasMask ? width * 2 : width)) {
    throw malformed(`match field ${field}`, `${width} bytes per value`, `length ${length}`);
  }
  if (isNumberField(field)) {
    return { field, ...readPair(hasMask, () => readNumber(payload, width)) };
  }
  if (isWideField(field)) return { field, ...readPair(hasMask, () => payload.u64()) };
  return { field, ...readPair(hasMask, () => payload.bytes(width)) };
}

/** OFPMT_OXM; the length counts header and fields, the padding to 8 bytes comes on top. */
const oxmMatchType = 1;
const matchHeaderLength = 4;

export function writeMatch(writer: WireWriter, match: Match): void {
  const start = writer.length;
  writer.u16(oxmMatchType).u16(0);
  for (const entry of match) writeOxm(writer, entry);
  writer.u16At(start + 2, writer.length - start).pad8(start);
}

export function readMatch(reader: WireReader): Match {
  const type = reader.u16();
  if (type !== oxmMatchType) throw malformed('match', `type ${oxmMatchType} (OXM)`, `${type}`);
  const length = reader.u16();
  if (length < matchHeaderLength) throw malformed('match', 'at least 4 bytes', `${length}`);
  const part = reader.part(length - matchHeaderLength, 'match');
  const entries: OxmEntry[] = [];
  while (part.remaining > 0) entries.push(readOxm(part));
  reader.skip(-length & 7);
  return entries;
}
