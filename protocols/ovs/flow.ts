// Flows: the modification that programs one, and what a switch tells of one that is there or has gone
// (OpenFlow 1.3.5 sections 7.3.4.1, 7.3.5.2 and 7.4.2). Cookies say who owns a flow.
// `cookie` counts for what is added; `cookieMask` restricts what is modified or deleted to flows with that cookie.

import type { Instruction } from './actions.ts';
import { readInstructions, writeInstruction } from './actions.ts';
import { flowModCommand, flowRemovedReasons } from './openflow-constants.ts';
import type { Match } from './oxm.ts';
import { readMatch, writeMatch } from './oxm.ts';
import type { WireReader, WireWriter } from './wire-bytes.ts';
import { malformed } from './wire-bytes.ts';

export type FlowCommand = keyof typeof flowModCommand;

export interface FlowMod {
  readonly command: FlowCommand;
  readonly cookie: bigint;
  /** 0 leaves the cookie out of what is selected. */
  readonly cookieMask: bigint;
  readonly table: number;
  readonly priority: number;
  /** 0: never. */
  readonly idleTimeoutSeconds: number;
  readonly hardTimeoutSeconds: number;
  readonly bufferId: number;
  /** Restricts a delete to flows that output there; `port.any` and `groupAny` do not restrict. */
  readonly outPort: number;
  readonly outGroup: number;
  /** Bits of `flowModFlag`. */
  readonly flags: number;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
}

export interface FlowRemoved {
  readonly cookie: bigint;
  readonly priority: number;
  readonly reason: (typeof flowRemovedReasons)[number];
  readonly table: number;
  readonly durationMs: number;
  readonly idleTimeoutSeconds: number;
  readonly hardTimeoutSeconds: number;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly match: Match;
}

export interface FlowStatistics {
  readonly table: number;
  readonly durationMs: number;
  readonly priority: number;
  readonly idleTimeoutSeconds: number;
  readonly hardTimeoutSeconds: number;
  readonly flags: number;
  readonly cookie: bigint;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly match: Match;
  readonly instructions: readonly Instruction[];
}

/** Which flows a statistics request is about. */
export interface FlowFilter {
  readonly table: number;
  readonly outPort: number;
  readonly outGroup: number;
  readonly cookie: bigint;
  readonly cookieMask: bigint;
  readonly match: Match;
}

const commandNames = Object.keys(flowModCommand) as FlowCommand[];
const nanosecondsPerMs = 1_000_000;

/** Whole milliseconds of a duration in seconds and nanoseconds. */
function readDurationMs(reader: WireReader): number {
  return reader.u32() * 1000 + Math.floor(reader.u32() / nanosecondsPerMs);
}

function writeDurationMs(writer: WireWriter, durationMs: number): void {
  writer.u32(Math.floor(durationMs / 1000)).u32((durationMs % 1000) * nanosecondsPerMs);
}

export function writeFlowMod(writer: WireWriter, mod: FlowMod): void {
  writer
    .u64(mod.cookie)
    .u64(mod.cookieMask)
    .u8(mod.table)
    .u8(flowModCommand[mod.command])
    .u16(mod.idleTimeoutSeconds)
    .u16(mod.hardTimeoutSeconds)
    .u16(mod.priority)
    .u32(mod.bufferId)
    .u32(mod.outPort)
    .u32(mod.outGroup)
    .u16(mod.flags)
    .zeros(2);
  writeMatch(writer, mod.match);
  for (const instruction of mod.instructions) writeInstruction(writer, instruction);
}

export function readFlowMod(reader: WireReader): FlowMod {
  const cookie = reader.u64();
  const cookieMask = reader.u64();
  const table = reader.u8();
  const commandNumber = reader.u8();
  const command = commandNames[commandNumber];
  if (command === undefined) throw malformed('flow mod', 'command 0 to 4', `${commandNumber}`);
  return {
    command,
    cookie,
    cookieMask,
    table,
    idleTimeoutSeconds: reader.u16(),
    hardTimeoutSeconds: reader.u16(),
    priority: reader.u16(),
    bufferId: reader.u32(),
    outPort: reader.u32(),
    outGroup: reader.u32(),
    flags: reader.u16(),
    match: readMatch(reader.skip(2)),
    instructions: readInstructions(reader),
  };
}

export function writeFlowRemoved(writer: WireWriter, removed: FlowRemoved): void {
  writer
    .u64(removed.cookie)
    .u16(removed.priority)
    .u8(flowRemovedReasons.indexOf(removed.reason))
    .u8(removed.table);
  writeDurationMs(writer, removed.durationMs);
  writer
    .u16(removed.idleTimeoutSeconds)
    .u16(removed.hardTimeoutSeconds)
    .u64(removed.packets)
    .u64(removed.bytes);
  writeMatch(writer, removed.match);
}

export function readFlowRemoved(reader: WireReader): FlowRemoved {
  const cookie = reader.u64();
  const priority = reader.u16();
  const reasonNumber = reader.u8();
  const reason = flowRemovedReasons[reasonNumber];
  if (reason === undefined) throw malformed('flow removed', 'reason 0 to 3', `${reasonNumber}`);
  return {
    cookie,
    priority,
    reason,
    table: reader.u8(),
    durationMs: readDurationMs(reader),
    idleTimeoutSeconds: reader.u16(),
    hardTimeoutSeconds: reader.u16(),
    packets: reader.u64(),
    bytes: reader.u64(),
    match: readMatch(reader),
  };
}

export function writeFlowFilter(writer: WireWriter, filter: FlowFilter): void {
  writer
    .u8(filter.table)
    .zeros(3)
    .u32(filter.outPort)
    .u32(filter.outGroup)
    .zeros(4)
    .u64(filter.cookie)
    .u64(filter.cookieMask);
  writeMatch(writer, filter.match);
}

export function readFlowFilter(reader: WireReader): FlowFilter {
  return {
    table: reader.u8(),
    outPort: reader.skip(3).u32(),
    outGroup: reader.u32(),
    cookie: reader.skip(4).u64(),
    cookieMask: reader.u64(),
    match: readMatch(reader),
  };
}

export function writeFlowStatistics(writer: WireWriter, flow: FlowStatistics): void {
  const start = writer.length;
  writer.u16(0).u8(flow.table).zeros(1);
  writeDurationMs(writer, flow.durationMs);
  writer
    .u16(flow.priority)
    .u16(flow.idleTimeoutSeconds)
    .u16(flow.hardTimeoutSeconds)
    .u16(flow.flags)
    .zeros(4)
    .u64(flow.cookie)
    .u64(flow.packets)
    .u64(flow.bytes);
  writeMatch(writer, flow.match);
  for (const instruction of flow.instructions) writeInstruction(writer, instruction);
  writer.u16At(start, writer.length - start);
}

/** Length u16 first; it counts itself. */
const entryLengthBytes = 2;

export function readFlowStatistics(reader: WireReader): FlowStatistics {
  const length = reader.u16();
  if (length < entryLengthBytes) throw malformed('flow statistics', 'a length', `${length}`);
  const part = reader.part(length - entryLengthBytes, 'flow statistics');
  const table = part.u8();
  return {
    table,
    durationMs: readDurationMs(part.skip(1)),
    priority: part.u16(),
    idleTimeoutSeconds: part.u16(),
    hardTimeoutSeconds: part.u16(),
    flags: part.u16(),
    cookie: part.skip(4).u64(),
    packets: part.u64(),
    bytes: part.u64(),
    match: readMatch(part),
    instructions: readInstructions(part),
  };
}
