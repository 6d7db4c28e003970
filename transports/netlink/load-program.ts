// Loads an eBPF program into the kernel, which verifies it: bpf(2) with BPF_PROG_LOAD (linux/bpf.h). Runs in the worker.

import koffi from 'koffi';

import { NsmError } from '../../protocols/errors.ts';
import { checked, libc } from './libc.ts';

/** The number of bpf(2). */
const systemCalls: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };
const commandLoad = 5;
/** BPF_PROG_TYPE_SCHED_CLS. */
const typeFilter = 3;
const instructionBytes = 8;
const attributesBytes = 72;
/** The helpers that are called ask for none in particular. */
const license = Buffer.from('Apache-2.0\0');

/** Its descriptor, the caller's to close. Errors: those of the call, UNIMPLEMENTED. */
export function loadProgram(instructions: Uint8Array): number {
  const number = systemCalls[process.arch];
  if (number === undefined) {
    throw new NsmError('UNIMPLEMENTED', 'no eBPF program can be loaded here', {
      rule: 'bpf',
      expected: Object.keys(systemCalls).join(' or '),
      found: process.arch,
    });
  }
  // In one block, which lives as long as the call: nothing that the attributes point at may be collected.
  const block = Buffer.alloc(attributesBytes + instructions.length + license.length);
  const address = koffi.address(block);
  block.set(instructions, attributesBytes);
  block.set(license, attributesBytes + instructions.length);
  // union bpf_attr: type u32, count u32, instructions u64, license u64, then what may be 0.
  block.writeUInt32LE(typeFilter, 0);
  block.writeUInt32LE(instructions.length / instructionBytes, 4);
  block.writeBigUInt64LE(address + BigInt(attributesBytes), 8);
  block.writeBigUInt64LE(address + BigInt(attributesBytes + instructions.length), 16);
  return checked(libc.syscall(number, commandLoad, block, attributesBytes), 'load an eBPF program');
}
