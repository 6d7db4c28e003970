// Protects IP arithmetic: text and number are inverse, canonical, and agree with the platform about what is an address.

import fc from 'fast-check';
import { isIP, SocketAddress } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  type Address,
  containsAddress,
  formatAddress,
  formatPrefix,
  lastOf,
  orderValue,
  overlaps,
  parseAddress,
  parseCidr,
  parsePrefix,
  prefixOf,
  prefixSize,
  requireAddress,
  requirePrefix,
  widthBits,
} from '../../../protocols/ipam/address.ts';

const address: fc.Arbitrary<Address> = fc.oneof(
  fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }).map((value) => ({ family: 4 as const, value })),
  fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map((value) => ({ family: 6 as const, value })),
  fc
    .array(fc.constantFrom<bigint>(0n, 0n, 1n, 0xffffn), { minLength: 8, maxLength: 8 })
    .map((groups) => ({
      family: 6 as const,
      value: groups.reduce<bigint>((sum, each) => (sum << 16n) | each, 0n),
    })),
);

const prefix = fc
  .tuple(address, fc.nat({ max: 128 }))
  .map(([each, length]) => prefixOf(each, Math.min(length, widthBits(each.family))));

describe('addresses', () => {
  it('are read as they are written', () => {
    fc.assert(
      fc.property(address, (each) => {
        expect(parseAddress(formatAddress(each))).toEqual(each);
      }),
    );
  });

  it('are written as the platform writes them', () => {
    fc.assert(
      fc.property(address, (each) => {
        const text = formatAddress(each);
        const isMapped = each.family === 6 && each.value >> 32n <= 0xffffn;
        fc.pre(!isMapped);
        const platform = new SocketAddress({
          address: text,
          family: each.family === 4 ? 'ipv4' : 'ipv6',
        });
        expect(platform.address).toBe(text);
      }),
    );
  });

  it('are what the platform takes for one, zones left aside', () => {
    const text = fc.stringMatching(/^[0-9a-f:.]{1,20}$/);
    fc.assert(
      fc.property(text, (each) => {
        expect(parseAddress(each) !== undefined).toBe(isIP(each) !== 0);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['::', 0n],
    ['::1', 1n],
    ['1::', 1n << 112n],
    ['::ffff:10.0.0.1', 0xffff_0a00_0001n],
    ['2001:DB8::1', 0x2001_0db8_0000_0000_0000_0000_0000_0001n],
  ])('reads %s', (text, value) => expect(parseAddress(text)).toEqual({ family: 6, value }));

  it.each([
    '',
    '1',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '256.1.1.1',
    '1.2.3.-4',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    'fe80::1%eth0',
    '12345::',
    '::1.2.3.4:5',
    '1.2.3.4::',
  ])('does not read %j', (text) => expect(parseAddress(text)).toBeUndefined());

  it('compare as Go compares them: IPv4 as mapped IPv6', () => {
    const [v4, v6] = [requireAddress('255.255.255.255', 'x'), requireAddress('2001:db8::1', 'x')];
    expect(orderValue(v4)).toBeLessThan(orderValue(v6));
    expect(() => requireAddress('nothing', 'src_ip')).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});

describe('prefixes', () => {
  it('are read as they are written, without host bits', () => {
    fc.assert(
      fc.property(prefix, (each) => {
        expect(parsePrefix(formatPrefix(each))).toEqual(each);
        expect(lastOf(each) - each.base + 1n).toBe(prefixSize(each));
        expect(each.base % prefixSize(each)).toBe(0n);
      }),
    );
    expect(formatPrefix(requirePrefix('10.0.0.77/24', 'x'))).toBe('10.0.0.0/24');
    expect(formatPrefix(requirePrefix('10.0.0.77', 'x'))).toBe('10.0.0.77/32');
    expect(parseCidr('10.0.0.77/24')?.address.value).toBe(0x0a00_004dn);
  });

  it('overlap exactly where one contains an end of the other', () => {
    fc.assert(
      fc.property(prefix, prefix, (left, right) => {
        const holds = (outer: typeof left, inner: typeof left): boolean =>
          containsAddress(outer, { family: inner.family, value: inner.base });
        expect(overlaps(left, right)).toBe(holds(left, right) || holds(right, left));
      }),
    );
  });

  it.each([
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/01',
    '::/129',
    '/8',
    'x/8',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
  ])('are not %j', (text) => expect(parsePrefix(text)).toBeUndefined());
});
