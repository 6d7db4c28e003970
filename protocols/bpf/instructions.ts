// eBPF instructions (RFC 9669), as many of them as a program in a traffic filter needs. The kernel verifies what is built
// here before it runs it.
// Invariant: a program is in this machine's byte order, and can run on no other.

import { isLittleEndian, viewOf } from '../netlink/codec.ts';

/** r0 holds results, r1 to r5 the arguments of a call, which are lost with it, r6 to r9 stay. */
export type Register = 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9;

export interface Instruction {
  readonly opcode: number;
  readonly to?: Register;
  readonly from?: Register;
  readonly offset?: number;
  readonly immediate?: number;
  /** Where a jump goes; fills in `offset`. */
  readonly label?: string;
}

/** A place that jumps go to. */
export interface Label {
  readonly here: string;
}

const instructionBytes = 8;

/** 64-bit arithmetic with a number; division is unsigned, and by a number other than 0. */
export const set = (to: Register, immediate: number): Instruction => ({
  opcode: 0xb7,
  to,
  immediate,
});
export const add = (to: Register, immediate: number): Instruction => ({
  opcode: 0x07,
  to,
  immediate,
});
export const multiply = (to: Register, immediate: number): Instruction => ({
  opcode: 0x27,
  to,
  immediate,
});
export const divide = (to: Register, immediate: number): Instruction => ({
  opcode: 0x37,
  to,
  immediate,
});
export const remainder = (to: Register, immediate: number): Instruction => ({
  opcode: 0x97,
  to,
  immediate,
});
export const mask = (to: Register, immediate: number): Instruction => ({
  opcode: 0x57,
  to,
  immediate,
});

export const copy = (to: Register, from: Register): Instruction => ({ opcode: 0xbf, to, from });
export const addRegister = (to: Register, from: Register): Instruction => ({
  opcode: 0x0f,
  to,
  from,
});

/** 32 bits at `from` + `offset`. */
export const load32 = (to: Register, from: Register, offset: number): Instruction => ({
  opcode: 0x61,
  to,
  from,
  offset,
});

/** Forward only: the kernel takes no loops here. */
export const jumpIfZero = (to: Register, label: string): Instruction => ({
  opcode: 0x15,
  to,
  label,
});
export const jumpUnlessZero = (to: Register, label: string): Instruction => ({
  opcode: 0x55,
  to,
  label,
});

/** A function of the kernel, by its number of enum bpf_func_id (linux/bpf.h). */
export const call = (immediate: number): Instruction => ({ opcode: 0x85, immediate });
export const exit: Instruction = { opcode: 0x95 };

export function assemble(parts: readonly (Instruction | Label)[]): Uint8Array {
  const instructions = parts.filter((part) => 'opcode' in part);
  const places = new Map<string, number>();
  let at = 0;
  for (const part of parts) {
    if ('here' in part) places.set(part.here, at);
    else at++;
  }
  const bytes = new Uint8Array(instructions.length * instructionBytes);
  for (const [index, each] of instructions.entries()) {
    const { opcode, to = 0, from = 0, immediate = 0 } = each;
    const view = viewOf(bytes.subarray(index * instructionBytes));
    view.setUint8(0, opcode);
    view.setUint8(1, isLittleEndian ? (from << 4) | to : (to << 4) | from);
    view.setInt16(2, offsetOf(each, index, places), isLittleEndian);
    view.setInt32(4, immediate, isLittleEndian);
  }
  return bytes;
}

function offsetOf(
  { offset = 0, label }: Instruction,
  index: number,
  places: ReadonlyMap<string, number>,
): number {
  if (label === undefined) return offset;
  const place = places.get(label);
  if (place === undefined) throw new Error(`no label ${label}`);
  return place - index - 1;
}
