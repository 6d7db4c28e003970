// Every OpenFlow 1.3 message that vwire sends or hears, as one union, with its bytes.
// A message of another type keeps type and body. Invariant: what `encodeMessage` makes, `decodeMessage` reads back.

import { NsmError } from '../errors.ts';
import type { FlowMod, FlowRemoved } from './flow.ts';
import { readFlowMod, readFlowRemoved, writeFlowMod, writeFlowRemoved } from './flow.ts';
import type { MultipartReply, MultipartRequest } from './multipart.ts';
import {
  readMultipartReply,
  readMultipartRequest,
  writeMultipartReply,
  writeMultipartRequest,
} from './multipart.ts';
import {
  bundleAddType,
  bundleControl,
  bundleControlType,
  experimenterErrorType,
  headerLength,
  helloVersionBitmap,
  messageType,
  onfExperimenter,
  openflowVersion,
  portReasons,
} from './openflow-constants.ts';
import type { SwitchError } from './openflow-errors.ts';
import type { SwitchPort } from './switch-port.ts';
import { readPort, writePort } from './switch-port.ts';
import { malformed, WireReader, WireWriter } from './wire-bytes.ts';

export interface SwitchFeatures {
  readonly datapathId: bigint;
  readonly buffers: number;
  readonly tables: number;
  readonly auxiliaryId: number;
  /** Bits of enum ofp_capabilities. */
  readonly capabilities: number;
}

/** Bits by reason number; [0] counts for a master or equal controller, [1] for a slave. */
export interface AsyncMasks {
  readonly packetIn: readonly [number, number];
  readonly portStatus: readonly [number, number];
  readonly flowRemoved: readonly [number, number];
}

export type BundleControlKind = keyof typeof bundleControl;

export type MessageBody =
  /** Versions offered, by wire number; empty where the peer sent no bitmap. */
  | { readonly kind: 'hello'; readonly versions: readonly number[] }
  /** `data` holds at least the first 64 bytes of the request that failed. */
  | { readonly kind: 'error'; readonly error: SwitchError; readonly data: Uint8Array }
  | { readonly kind: 'echoRequest' | 'echoReply'; readonly data: Uint8Array }
  | { readonly kind: 'featuresRequest' | 'barrierRequest' | 'barrierReply' }
  | { readonly kind: 'featuresReply'; readonly features: SwitchFeatures }
  | { readonly kind: 'setConfig'; readonly flags: number; readonly missSendLength: number }
  | { readonly kind: 'setAsync'; readonly masks: AsyncMasks }
  | { readonly kind: 'flowMod'; readonly mod: FlowMod }
  | { readonly kind: 'flowRemoved'; readonly removed: FlowRemoved }
  | {
      readonly kind: 'portStatus';
      readonly reason: (typeof portReasons)[number];
      readonly port: SwitchPort;
    }
  | { readonly kind: 'multipartRequest'; readonly request: MultipartRequest }
  | { readonly kind: 'multipartReply'; readonly reply: MultipartReply; readonly more: boolean }
  | {
      readonly kind: 'bundleControl';
      readonly bundleId: number;
      readonly control: BundleControlKind;
      readonly flags: number;
    }
  /** The flow modification is sent with the xid of the message around it, as extension 230 demands. */
  | {
      readonly kind: 'bundleAdd';
      readonly bundleId: number;
      readonly flags: number;
      readonly mod: FlowMod;
    }
  | { readonly kind: 'unknown'; readonly type: number; readonly body: Uint8Array };

export type OpenFlowMessage = MessageBody & { readonly xid: number };

const lengthMax = 0xffff;
/** A version bitmap covers wire versions 0 to 31 in its first word. */
const bitmapVersions = 32;
const helloElementHeader = 4;
const controlNames = Object.keys(bundleControl) as BundleControlKind[];

/** INVALID_ARGUMENT where the message would be longer than the 65,535 bytes that its header can say. */
export function encodeMessage(message: OpenFlowMessage): Uint8Array {
  const writer = new WireWriter();
  writeHeader(writer, message, typeOf(message));
  writeBody(writer, message);
  if (writer.length > lengthMax) {
    throw new NsmError('INVALID_ARGUMENT', 'an OpenFlow message is too long', {
      rule: message.kind,
      expected: `at most ${lengthMax} bytes`,
      found: `${writer.length}`,
      remedy: 'send several smaller ones',
    });
  }
  return writer.u16At(2, writer.length).finish();
}

function writeHeader(writer: WireWriter, { xid }: { readonly xid: number }, type: number): void {
  writer.u8(openflowVersion).u8(type).u16(0).u32(xid);
}

function typeOf(message: MessageBody): number {
  if (message.kind === 'unknown') return message.type;
  if (message.kind === 'bundleControl' || message.kind === 'bundleAdd') {
    return messageType.experimenter;
  }
  return messageType[message.kind];
}

function writeBody(writer: WireWriter, message: OpenFlowMessage): void {
  if (isOther(message)) return writeOtherBody(writer, message);
  switch (message.kind) {
    case 'hello':
      return writeHello(writer, message.versions);
    case 'error':
      return writeError(writer, message.error, message.data);
    case 'echoRequest':
    case 'echoReply':
      return void writer.bytes(message.data);
    case 'featuresReply':
      return writeFeatures(writer, message.features);
    case 'setConfig':
      return void writer.u16(message.flags).u16(message.missSendLength);
    case 'setAsync':
      return writeMasks(writer, message.masks);
    case 'flowMod':
      return writeFlowMod(writer, message.mod);
    case 'flowRemoved':
      return writeFlowRemoved(writer, message.removed);
    case 'portStatus':
      return writePort(writer.u8(portReasons.indexOf(message.reason)).zeros(7), message.port);
    case 'unknown':
      return void writer.bytes(message.body);
  }
}

/** Messages without a body of their own, and those whose body holds other structures. */
const otherKinds = [
  'featuresRequest',
  'barrierRequest',
  'barrierReply',
  'multipartRequest',
  'multipartReply',
  'bundleControl',
  'bundleAdd',
] as const;

type OtherMessage = Extract<OpenFlowMessage, { readonly kind: (typeof otherKinds)[number] }>;

function isOther(message: OpenFlowMessage): message is OtherMessage {
  return (otherKinds as readonly string[]).includes(message.kind);
}

function writeOtherBody(writer: WireWriter, message: OtherMessage): void {
  switch (message.kind) {
    case 'multipartRequest':
      return writeMultipartRequest(writer, message.request);
    case 'multipartReply':
      return writeMultipartReply(writer, message.reply, message.more);
    case 'bundleControl': {
      writer.u32(onfExperimenter).u32(bundleControlType).u32(message.bundleId);
      return void writer.u16(bundleControl[message.control]).u16(message.flags);
    }
    case 'bundleAdd': {
      writer.u32(onfExperimenter).u32(bundleAddType).u32(message.bundleId).zeros(2);
      writer.u16(message.flags);
      const start = writer.length;
      writeHeader(writer, message, messageType.flowMod);
      writeFlowMod(writer, message.mod);
      return void writer.u16At(start + 2, writer.length - start);
    }
    case 'featuresRequest':
    case 'barrierRequest':
    case 'barrierReply':
  }
}

/** One whole message, its header included. Errors: INVALID_ARGUMENT, naming structure, expectation and finding. */
export function decodeMessage(frame: Uint8Array): OpenFlowMessage {
  const reader = new WireReader(frame, 'message');
  const version = reader.u8();
  const type = reader.u8();
  const length = reader.u16();
  const xid = reader.u32();
  if (length !== frame.length) {
    throw malformed('message length', `${frame.length} bytes`, `${length}`);
  }
  // A peer of another version may say so only with HELLO and ERROR.
  if (version !== openflowVersion && type !== messageType.hello && type !== messageType.error) {
    throw malformed('message version', `${openflowVersion} (OpenFlow 1.3)`, `${version}`);
  }
  if (type === messageType.hello) return { kind: 'hello', xid, versions: readHello(reader) };
  const body = readBody(reader, type);
  reader.end();
  return { ...body, xid };
}

function readBody(reader: WireReader, type: number): MessageBody {
  switch (type) {
    case messageType.error:
      return readError(reader);
    case messageType.echoRequest:
      return { kind: 'echoRequest', data: reader.rest() };
    case messageType.echoReply:
      return { kind: 'echoReply', data: reader.rest() };
    case messageType.experimenter:
      return readExperimenter(reader);
    case messageType.featuresRequest:
      return { kind: 'featuresRequest' };
    case messageType.featuresReply:
      return { kind: 'featuresReply', features: readFeatures(reader) };
    case messageType.setConfig:
      return { kind: 'setConfig', flags: reader.u16(), missSendLength: reader.u16() };
    case messageType.setAsync:
      return { kind: 'setAsync', masks: readMasks(reader) };
    default:
      return readOtherBody(reader, type);
  }
}

function readOtherBody(reader: WireReader, type: number): MessageBody {
  switch (type) {
    case messageType.flowMod:
      return { kind: 'flowMod', mod: readFlowMod(reader) };
    case messageType.flowRemoved:
      return { kind: 'flowRemoved', removed: readFlowRemoved(reader) };
    case messageType.portStatus:
      return readPortStatus(reader);
    case messageType.multipartRequest:
      return { kind: 'multipartRequest', request: readMultipartRequest(reader) };
    case messageType.multipartReply:
      return { kind: 'multipartReply', ...readMultipartReply(reader) };
    case messageType.barrierRequest:
      return { kind: 'barrierRequest' };
    case messageType.barrierReply:
      return { kind: 'barrierReply' };
    default:
      return { kind: 'unknown', type, body: reader.rest() };
  }
}

function writeHello(writer: WireWriter, versions: readonly number[]): void {
  if (versions.length === 0) return;
  const bitmap = versions.reduce((bits, version) => bits | (1 << version), 0);
  writer
    .u16(helloVersionBitmap)
    .u16(helloElementHeader + 4)
    .u32(bitmap);
}

/** Elements that are not known, and bitmap words of versions above 31, are skipped, as section 7.5.1 demands. */
function readHello(reader: WireReader): number[] {
  const versions: number[] = [];
  while (reader.remaining >= helloElementHeader) {
    const type = reader.u16();
    const length = reader.u16();
    if (length < helloElementHeader) throw malformed('hello element', 'a length', `${length}`);
    const element = reader.part(length - helloElementHeader, 'hello element');
    reader.skip(Math.min(-length & 7, reader.remaining));
    if (type !== helloVersionBitmap || element.remaining < 4) continue;
    const bitmap = element.u32();
    for (let version = 0; version < bitmapVersions; version += 1) {
      if ((bitmap & (1 << version)) !== 0) versions.push(version);
    }
  }
  return versions;
}

function writeError(writer: WireWriter, error: SwitchError, data: Uint8Array): void {
  writer.u16(error.type).u16(error.code);
  if (error.type === experimenterErrorType) writer.u32(error.experimenter);
  writer.bytes(data);
}

function readError(reader: WireReader): MessageBody {
  const type = reader.u16();
  const code = reader.u16();
  const experimenter = type === experimenterErrorType ? reader.u32() : 0;
  return { kind: 'error', error: { type, code, experimenter }, data: reader.rest() };
}

function writeFeatures(writer: WireWriter, features: SwitchFeatures): void {
  writer.u64(features.datapathId).u32(features.buffers).u8(features.tables);
  writer.u8(features.auxiliaryId).zeros(2).u32(features.capabilities).zeros(4);
}

function readFeatures(reader: WireReader): SwitchFeatures {
  const features = {
    datapathId: reader.u64(),
    buffers: reader.u32(),
    tables: reader.u8(),
    auxiliaryId: reader.u8(),
    capabilities: reader.skip(2).u32(),
  };
  reader.skip(4);
  return features;
}

function writeMasks(writer: WireWriter, masks: AsyncMasks): void {
  for (const mask of [...masks.packetIn, ...masks.portStatus, ...masks.flowRemoved]) {
    writer.u32(mask);
  }
}

function readMasks(reader: WireReader): AsyncMasks {
  return {
    packetIn: [reader.u32(), reader.u32()],
    portStatus: [reader.u32(), reader.u32()],
    flowRemoved: [reader.u32(), reader.u32()],
  };
}

function readPortStatus(reader: WireReader): MessageBody {
  const number = reader.u8();
  const reason = portReasons[number];
  if (reason === undefined) throw malformed('port status', 'reason 0 to 2', `${number}`);
  return { kind: 'portStatus', reason, port: readPort(reader.skip(7)) };
}

/** An experimenter message of somebody else keeps its body, the experimenter's number included. */
function readExperimenter(reader: WireReader): MessageBody {
  const body = reader.rest();
  const head = new WireReader(body, 'experimenter message');
  const isBundle = head.u32() === onfExperimenter;
  const experimenterType = head.u32();
  if (isBundle && experimenterType === bundleControlType) return readBundleControl(head);
  if (isBundle && experimenterType === bundleAddType) return readBundleAdd(head);
  return { kind: 'unknown', type: messageType.experimenter, body };
}

function readBundleControl(reader: WireReader): MessageBody {
  const bundleId = reader.u32();
  const number = reader.u16();
  const control = controlNames[number];
  if (control === undefined) throw malformed('bundle control', 'type 0 to 7', `${number}`);
  const flags = reader.u16();
  reader.end();
  return { kind: 'bundleControl', bundleId, control, flags };
}

function readBundleAdd(reader: WireReader): MessageBody {
  const bundleId = reader.u32();
  const flags = reader.skip(2).u16();
  const inner = reader.skip(1).u8();
  if (inner !== messageType.flowMod) throw malformed('bundled message', 'a flow mod', `${inner}`);
  const length = reader.u16();
  if (length < headerLength) throw malformed('bundled message', 'a length', `${length}`);
  const mod = readFlowMod(reader.skip(4).part(length - headerLength, 'bundled message'));
  reader.end();
  return { kind: 'bundleAdd', bundleId, flags, mod };
}
