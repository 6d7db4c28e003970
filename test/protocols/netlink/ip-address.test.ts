// Protects the way from address text to kernel bytes: what formats parses back, what is no address is refused.

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { NsmError } from '../../../protocols/errors.ts';
import {
  formatIp,
  formatMac,
  formatPrefix,
  networkOf,
  parseIp,
  parseMac,
  parsePrefix,
} from '../../../protocols/netlink/ip-address.ts';

const ipBytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
  fc
    .array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 })
    .map((bytes) => Uint8Array.from(bytes)),
);

test('every address formats and parses back', () => {
  fc.assert(
    fc.property(ipBytes, (bytes) => {
      expect(Array.from(parseIp(formatIp(bytes)).bytes)).toEqual(Array.from(bytes));
    }),
  );
});

test('every prefix formats and parses back, and its network keeps only its bits', () => {
  fc.assert(
    fc.property(ipBytes, fc.nat(128), (bytes, length) => {
      const bits = length % (bytes.length * 8 + 1);
      const prefix = parsePrefix(formatPrefix(bytes, bits));
      expect(prefix.prefixLengthBits).toBe(bits);
      const asNumber = (value: Uint8Array) =>
        value.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
      const hostBits = BigInt(bytes.length * 8 - bits);
      expect(asNumber(networkOf(prefix).bytes)).toBe((asNumber(bytes) >> hostBits) << hostBits);
    }),
  );
});

test.each([
  ['2001:db8::1', '2001:db8::1'],
  ['0:0:1:0:0:0:0:0', '0:0:1::'],
  ['::ffff:10.0.0.1', '::ffff:a00:1'],
  ['::', '::'],
  ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
])('%s is written %s (RFC 5952)', (text, canonical) => {
  expect(formatIp(parseIp(text).bytes)).toBe(canonical);
});

test.each([
  '',
  '1',
  '1.2.3',
  '1.2.3.4.5',
  '01.2.3.4',
  '256.1.1.1',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  'g::',
  '1:2:3:4:5:6:7:8:9',
  '::1.2.3',
  '1.2.3.4::',
  'fe80::1%eth0',
  '1:2:3:4:5:6:7::8',
])('%j is no address', (text) => {
  expect(() => parseIp(text)).toThrow(NsmError);
});

test.each(['10.0.0.1/33', '10.0.0.1/', '10.0.0.1/-1', '10.0.0.1/08', '::1/129', '::1/1/1'])(
  '%j is no prefix',
  (text) => {
    expect(() => parsePrefix(text)).toThrow(NsmError);
  },
);

test('MAC addresses: unicast both ways, multicast and zero refused', () => {
  expect(formatMac(parseMac('02:AB:cd:00:00:01'))).toBe('02:ab:cd:00:00:01');
  for (const bad of [
    '01:00:00:00:00:00',
    '00:00:00:00:00:00',
    '02:00:00:00:00',
    '02-00-00-00-00-00',
    '',
  ]) {
    expect(() => parseMac(bad)).toThrow(NsmError);
  }
});

test('random text is parsed or refused, never anything else', () => {
  const text = fc.string({
    unit: fc.constantFrom(...Array.from('0123456789abcdef:./')),
    maxLength: 45,
  });
  fc.assert(
    fc.property(text, (input) => {
      for (const parse of [parseIp, parsePrefix, parseMac]) {
        try {
          parse(input);
        } catch (error) {
          expect(error).toBeInstanceOf(NsmError);
        }
      }
    }),
    { numRuns: 20_000 },
  );
});
