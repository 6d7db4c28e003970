// Actions and instructions (OpenFlow 1.3.5 sections 7.2.4 and 7.2.5): what a flow does with a packet.
// One that is not known by name keeps its type and body, so that a flow can be shown and written back unchanged.

import type { OxmEntry } from './oxm.ts';
import { readOxm, writeOxm } from './oxm.ts';
import type { WireReader, WireWriter } from './wire-bytes.ts';
import { malformed } from './wire-bytes.ts';

export type Action =
  /** To a port number or a reserved port (`port` of constants). `maxLength` counts for the controller only. */
  | { readonly kind: 'output'; readonly port: number; readonly maxLength: number }
  | { readonly kind: 'group'; readonly group: number }
  | { readonly kind: 'setQueue'; readonly queue: number }
  /** 0x8100 or 0x88a8. */
  | { readonly kind: 'pushVlan'; readonly ethType: number }
  | { readonly kind: 'popVlan' }
  | { readonly kind: 'decrementTtl' }
  | { readonly kind: 'setField'; readonly field: OxmEntry }
  | { readonly kind: 'unknown'; readonly type: number; readonly body: Uint8Array };

export type Instruction =
  | { readonly kind: 'gotoTable'; readonly table: number }
  | { readonly kind: 'writeMetadata'; readonly metadata: bigint; readonly mask: bigint }
  | {
      readonly kind: 'writeActions' | 'applyActions';
      readonly actions: readonly Action[];
    }
  | { readonly kind: 'clearActions' }
  | { readonly kind: 'meter'; readonly meter: number }
  | { readonly kind: 'unknown'; readonly type: number; readonly body: Uint8Array };

/** enum ofp_action_type. */
const actionType = {
  output: 0,
  pushVlan: 17,
  popVlan: 18,
  setQueue: 21,
  group: 22,
  decrementTtl: 24,
  setField: 25,
} as const;

/** enum ofp_instruction_type. */
const instructionType = {
  gotoTable: 1,
  writeMetadata: 2,
  writeActions: 3,
  applyActions: 4,
  clearActions: 5,
  meter: 6,
} as const;

/** Type u16 and length u16, the length a multiple of 8. */
const headerLength = 4;

function writeSized(writer: WireWriter, type: number, write: () => void): void {
  const start = writer.length;
  writer.u16(type).u16(0);
  write();
  writer.pad8(start).u16At(start + 2, writer.length - start);
}

function readSized(reader: WireReader, where: string): { type: number; body: WireReader } {
  const type = reader.u16();
  const length = reader.u16();
  if (length < headerLength || length % 8 !== 0) {
    throw malformed(where, 'a length that is a multiple of 8', `${length}`);
  }
  return { type, body: reader.part(length - headerLength, where) };
}

export function writeAction(writer: WireWriter, action: Action): void {
  if (action.kind === 'unknown') {
    writeSized(writer, action.type, () => writer.bytes(action.body));
    return;
  }
  writeSized(writer, actionType[action.kind], () => {
    switch (action.kind) {
      case 'output':
        return writer.u32(action.port).u16(action.maxLength).zeros(6);
      case 'group':
        return writer.u32(action.group);
      case 'setQueue':
        return writer.u32(action.queue);
      case 'pushVlan':
        return writer.u16(action.ethType).zeros(2);
      case 'popVlan':
      case 'decrementTtl':
        return writer.zeros(4);
      case 'setField':
        return writeOxm(writer, action.field);
    }
  });
}

export function readAction(reader: WireReader): Action {
  const { type, body } = readSized(reader, 'action');
  switch (type) {
    case actionType.output:
      return { kind: 'output', port: body.u32(), maxLength: body.u16() };
    case actionType.group:
      return { kind: 'group', group: body.u32() };
    case actionType.setQueue:
      return { kind: 'setQueue', queue: body.u32() };
    case actionType.pushVlan:
      return { kind: 'pushVlan', ethType: body.u16() };
    case actionType.popVlan:
      return { kind: 'popVlan' };
    case actionType.decrementTtl:
      return { kind: 'decrementTtl' };
    case actionType.setField:
      return { kind: 'setField', field: readOxm(body) };
    default:
      return { kind: 'unknown', type, body: body.rest() };
  }
}

function readActions(reader: WireReader): Action[] {
  const actions: Action[] = [];
  while (reader.remaining > 0) actions.push(readAction(reader));
  return actions;
}

export function writeInstruction(writer: WireWriter, instruction: Instruction): void {
  if (instruction.kind === 'unknown') {
    writeSized(writer, instruction.type, () => writer.bytes(instruction.body));
    return;
  }
  writeSized(writer, instructionType[instruction.kind], () => {
    switch (instruction.kind) {
      case 'gotoTable':
        writer.u8(instruction.table).zeros(3);
        return;
      case 'writeMetadata':
        writer.zeros(4).u64(instruction.metadata).u64(instruction.mask);
        return;
      case 'writeActions':
      case 'applyActions':
        writer.zeros(4);
        for (const action of instruction.actions) writeAction(writer, action);
        return;
      case 'clearActions':
        writer.zeros(4);
        return;
      case 'meter':
        writer.u32(instruction.meter);
    }
  });
}

function readInstruction(reader: WireReader): Instruction {
  const { type, body } = readSized(reader, 'instruction');
  switch (type) {
    case instructionType.gotoTable:
      return { kind: 'gotoTable', table: body.u8() };
    case instructionType.writeMetadata:
      body.skip(4);
      return { kind: 'writeMetadata', metadata: body.u64(), mask: body.u64() };
    case instructionType.writeActions:
      return { kind: 'writeActions', actions: readActions(body.skip(4)) };
    case instructionType.applyActions:
      return { kind: 'applyActions', actions: readActions(body.skip(4)) };
    case instructionType.clearActions:
      return { kind: 'clearActions' };
    case instructionType.meter:
      return { kind: 'meter', meter: body.u32() };
    default:
      return { kind: 'unknown', type, body: body.rest() };
  }
}

/** Every instruction to the end of the reader. */
export function readInstructions(reader: WireReader): Instruction[] {
  const instructions: Instruction[] = [];
  while (reader.remaining > 0) instructions.push(readInstruction(reader));
  return instructions;
}
