// Multipart requests and replies: flow statistics, their sums, ports and what the switch is (OpenFlow 1.3.5
// section 7.3.5). A reply may come in several messages; every one but the last says `more`.

import type { FlowFilter, FlowStatistics } from './flow.ts';
import {
  readFlowFilter,
  readFlowStatistics,
  writeFlowFilter,
  writeFlowStatistics,
} from './flow.ts';
import { multipartMore, multipartType } from './openflow-constants.ts';
import type { PortStatistics, SwitchPort } from './switch-port.ts';
import {
  readPort,
  readPortStatistics,
  readText,
  writePort,
  writePortStatistics,
  writeText,
} from './switch-port.ts';
import type { WireReader, WireWriter } from './wire-bytes.ts';

export type MultipartRequest =
  | { readonly of: 'description' | 'portDescription' }
  | { readonly of: 'flow' | 'aggregate'; readonly filter: FlowFilter }
  /** `port.any` for all ports. */
  | { readonly of: 'portStatistics'; readonly port: number }
  | { readonly of: 'unknown'; readonly type: number; readonly body: Uint8Array };

export interface SwitchDescription {
  readonly manufacturer: string;
  readonly hardware: string;
  /** Open vSwitch: its version, `3.1.0`. */
  readonly software: string;
  readonly serialNumber: string;
  readonly datapath: string;
}

export interface FlowSums {
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly flows: number;
}

export type MultipartReply =
  | { readonly of: 'description'; readonly description: SwitchDescription }
  | { readonly of: 'flow'; readonly flows: readonly FlowStatistics[] }
  | { readonly of: 'aggregate'; readonly sums: FlowSums }
  | { readonly of: 'portStatistics'; readonly statistics: readonly PortStatistics[] }
  | { readonly of: 'portDescription'; readonly ports: readonly SwitchPort[] }
  | { readonly of: 'unknown'; readonly type: number; readonly body: Uint8Array };

/** DESC_STR_LEN and SERIAL_NUM_LEN. */
const descriptionLength = 256;
const serialLength = 32;

function readAll<Item>(reader: WireReader, read: (reader: WireReader) => Item): Item[] {
  const items: Item[] = [];
  while (reader.remaining > 0) items.push(read(reader));
  return items;
}

function typeOf(message: MultipartRequest | MultipartReply): number {
  return message.of === 'unknown' ? message.type : multipartType[message.of];
}

function writeHeader(writer: WireWriter, type: number, more: boolean): void {
  writer
    .u16(type)
    .u16(more ? multipartMore : 0)
    .zeros(4);
}

function readHeader(reader: WireReader): { type: number; more: boolean } {
  const type = reader.u16();
  const more = (reader.u16() & multipartMore) !== 0;
  reader.skip(4);
  return { type, more };
}

export function writeMultipartRequest(writer: WireWriter, request: MultipartRequest): void {
  writeHeader(writer, typeOf(request), false);
  switch (request.of) {
    case 'flow':
    case 'aggregate':
      writeFlowFilter(writer, request.filter);
      return;
    case 'portStatistics':
      writer.u32(request.port).zeros(4);
      return;
    case 'unknown':
      writer.bytes(request.body);
      return;
    case 'description':
    case 'portDescription':
  }
}

export function readMultipartRequest(reader: WireReader): MultipartRequest {
  const { type } = readHeader(reader);
  switch (type) {
    case multipartType.description:
      return { of: 'description' };
    case multipartType.portDescription:
      return { of: 'portDescription' };
    case multipartType.flow:
      return { of: 'flow', filter: readFlowFilter(reader) };
    case multipartType.aggregate:
      return { of: 'aggregate', filter: readFlowFilter(reader) };
    case multipartType.portStatistics: {
      const port = reader.u32();
      reader.skip(4);
      return { of: 'portStatistics', port };
    }
    default:
      return { of: 'unknown', type, body: reader.rest() };
  }
}

export function writeMultipartReply(
  writer: WireWriter,
  reply: MultipartReply,
  more: boolean,
): void {
  writeHeader(writer, typeOf(reply), more);
  switch (reply.of) {
    case 'description':
      writeDescription(writer, reply.description);
      return;
    case 'flow':
      for (const flow of reply.flows) writeFlowStatistics(writer, flow);
      return;
    case 'aggregate':
      writer.u64(reply.sums.packets).u64(reply.sums.bytes).u32(reply.sums.flows).zeros(4);
      return;
    case 'portStatistics':
      for (const statistics of reply.statistics) writePortStatistics(writer, statistics);
      return;
    case 'portDescription':
      for (const port of reply.ports) writePort(writer, port);
      return;
    case 'unknown':
      writer.bytes(reply.body);
  }
}

export function readMultipartReply(reader: WireReader): { reply: MultipartReply; more: boolean } {
  const { type, more } = readHeader(reader);
  return { reply: readReply(reader, type), more };
}

function readReply(reader: WireReader, type: number): MultipartReply {
  switch (type) {
    case multipartType.description:
      return { of: 'description', description: readDescription(reader) };
    case multipartType.flow:
      return { of: 'flow', flows: readAll(reader, readFlowStatistics) };
    case multipartType.aggregate: {
      const sums = { packets: reader.u64(), bytes: reader.u64(), flows: reader.u32() };
      reader.skip(4);
      return { of: 'aggregate', sums };
    }
    case multipartType.portStatistics:
      return { of: 'portStatistics', statistics: readAll(reader, readPortStatistics) };
    case multipartType.portDescription:
      return { of: 'portDescription', ports: readAll(reader, readPort) };
    default:
      return { of: 'unknown', type, body: reader.rest() };
  }
}

function writeDescription(writer: WireWriter, description: SwitchDescription): void {
  writeText(writer, description.manufacturer, descriptionLength);
  writeText(writer, description.hardware, descriptionLength);
  writeText(writer, description.software, descriptionLength);
  writeText(writer, description.serialNumber, serialLength);
  writeText(writer, description.datapath, descriptionLength);
}

function readDescription(reader: WireReader): SwitchDescription {
  return {
    manufacturer: readText(reader, descriptionLength),
    hardware: readText(reader, descriptionLength),
    software: readText(reader, descriptionLength),
    serialNumber: readText(reader, serialLength),
    datapath: readText(reader, descriptionLength),
  };
}
