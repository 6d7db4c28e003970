// Protects the pools that addresses come from: the lowest free one is given, nothing twice, and all that is given back
// makes the pool whole again. Checked against a plain set of numbers.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatPrefix,
  overlaps,
  type Prefix,
  requirePrefix,
} from '../../../protocols/ipam/address.ts';
import { PrefixPool } from '../../../protocols/ipam/prefix-pool.ts';

const pool = (text: string): PrefixPool => new PrefixPool(requirePrefix(text, 'test'));
const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => requirePrefix(text, 'test'));

describe('a prefix pool', () => {
  it('gives the lowest free address outside what is excluded', () => {
    const small = pool('10.0.0.0/29');
    const excluded = prefixes('10.0.0.0/31', '10.0.0.3/32', '192.168.0.0/16', '::/0');
    const given = [0, 1, 2, 3, 4].map(() => small.allocate(32, excluded));
    expect(given.map((each) => each && formatPrefix(each))).toEqual([
      '10.0.0.2/32',
      '10.0.0.4/32',
      '10.0.0.5/32',
      '10.0.0.6/32',
      '10.0.0.7/32',
    ]);
    expect(small.allocate(32, excluded)).toBeUndefined();
    expect(small.allocate(32)).toBeDefined();
  });

  it('gives aligned prefixes, and none larger than itself', () => {
    const wide = pool('10.0.0.0/16');
    expect(wide.take(requirePrefix('10.0.0.5/32', 'test'))).toBe(true);
    expect(formatPrefix(wide.allocate(24) as Prefix)).toBe('10.0.1.0/24');
    expect(formatPrefix(wide.allocate(24, prefixes('10.0.2.7/32')) as Prefix)).toBe('10.0.3.0/24');
    expect(wide.allocate(8)).toBeUndefined();
  });

  it('costs a /64 no more than a few ranges', () => {
    const huge = pool('2001:db8::/64');
    for (let count = 0; count < 1000; count += 1) huge.allocate(128, prefixes('2001:db8::/72'));
    expect(huge.freeRanges.length).toBeLessThanOrEqual(2);
  });

  it('agrees with a set of numbers under any order of taking, giving and giving back', () => {
    const step = fc.record({
      action: fc.constantFrom('allocate' as const, 'take' as const, 'release' as const),
      base: fc.nat({ max: 70 }),
      lengthBits: fc.integer({ min: 27, max: 32 }),
      excluded: fc.array(fc.nat({ max: 63 }), { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const tried = pool('10.0.0.0/26');
        const start = 0x0a00_0000n;
        const free = new Set(Array.from({ length: 64 }, (_, at) => at));
        for (const { action, base, lengthBits, excluded } of steps) {
          const size = 2 ** (32 - lengthBits);
          const aligned = base - (base % size);
          const block = (from: number) => Array.from({ length: size }, (_, at) => from + at);
          const prefix: Prefix = { family: 4, base: start + BigInt(aligned), lengthBits };
          if (action === 'allocate') {
            const barred = excluded.map(
              (at): Prefix => ({ family: 4, base: start + BigInt(at), lengthBits: 32 }),
            );
            const given = tried.allocate(lengthBits, barred);
            let expected: number | undefined;
            for (let from = 0; from + size <= 64 && expected === undefined; from += size) {
              if (block(from).every((at) => free.has(at) && !excluded.includes(at)))
                expected = from;
            }
            expect(given && Number(given.base - start)).toBe(expected);
            if (given !== undefined) for (const at of block(expected ?? 0)) free.delete(at);
          } else if (action === 'take') {
            const isFree = block(aligned).every((at) => free.has(at));
            expect(tried.take(prefix)).toBe(isFree);
            if (isFree) for (const at of block(aligned)) free.delete(at);
          } else {
            const isTaken = block(aligned).every((at) => at < 64 && !free.has(at));
            expect(tried.release(prefix)).toBe(isTaken);
            if (isTaken) for (const at of block(aligned)) free.add(at);
          }
          const inRanges = tried.freeRanges.flatMap(({ first, last }) =>
            Array.from({ length: Number(last - first) + 1 }, (_, at) => Number(first - start) + at),
          );
          expect(inRanges).toEqual([...free].sort((left, right) => left - right));
        }
      }),
    );
  });

  it('has nothing of another family', () => {
    const v4 = pool('10.0.0.0/24');
    const v6 = requirePrefix('::a00:0/128', 'test');
    expect([v4.take(v6), v4.release(v6), overlaps(v4.prefix, v6)]).toEqual([false, false, false]);
  });
});
