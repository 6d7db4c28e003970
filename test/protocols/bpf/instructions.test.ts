// Protects the form of eBPF programs: eight bytes an instruction, jumps counted from the next one. What programs do is tested in
// the kernel, by those who build some.

import { expect, test } from 'vitest';
import {
  add,
  assemble,
  call,
  copy,
  exit,
  type Instruction,
  jumpIfZero,
  jumpUnlessZero,
  type Label,
  load32,
  set,
} from '../../../protocols/bpf/instructions.ts';
import { isLittleEndian } from '../../../protocols/netlink/codec.ts';

/** As the kernel's tools print them. */
function hexOf(parts: readonly (Instruction | Label)[]): string[] {
  const bytes = Buffer.from(assemble(parts));
  return Array.from({ length: bytes.length / 8 }, (_, at) =>
    bytes.subarray(at * 8, at * 8 + 8).toString('hex'),
  );
}

test.runIf(isLittleEndian)('an instruction has opcode, registers, offset, number', () => {
  expect(hexOf([copy(6, 1), load32(7, 6, 24), add(7, -1), set(2, 0x0081), call(18), exit])).toEqual(
    [
      'bf16000000000000',
      '6167180000000000',
      '07070000ffffffff',
      'b702000081000000',
      '8500000012000000',
      '9500000000000000',
    ],
  );
});

test.runIf(isLittleEndian)('a jump counts the instructions that it leaves out', () => {
  const parts = [
    jumpIfZero(1, 'end'),
    jumpUnlessZero(2, 'next'),
    { here: 'next' },
    set(0, 0),
    { here: 'end' },
    exit,
  ];
  expect(hexOf(parts).map((word) => word.slice(0, 8))).toEqual([
    '15010200',
    '55020000',
    'b7000000',
    '95000000',
  ]);
});

test('a jump to nowhere is a mistake of whoever wrote the program', () => {
  expect(() => assemble([jumpIfZero(0, 'away'), exit])).toThrow('no label away');
});
