// Protects addresses on their way to VPP and back: IPv4 in the first four of 16 bytes, nothing guessed.

import { expect, test } from 'vitest';
import {
  formatVppAddress,
  formatVppPrefix,
  vppAddress,
  vppPrefix,
} from '../../../protocols/vpp/vpp-address.ts';

test.each(['10.0.0.1', '255.255.255.255', '2001:db8::1', '::', 'fe80::1:2:3:4'])('%s', (text) => {
  expect(formatVppAddress(vppAddress(text))).toBe(text);
});

test.each(['10.0.0.1/24', '0.0.0.0/0', '2001:db8::/32'])('%s', (text) => {
  expect(formatVppPrefix(vppPrefix(text))).toBe(text);
});

test('the bytes of IPv4 come first, and an address alone is a host prefix', () => {
  expect(vppAddress('10.1.2.3')).toEqual({
    af: 0,
    un: Uint8Array.of(10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  });
  expect(vppPrefix('10.1.2.3').len).toBe(32);
  expect(vppPrefix('::1').len).toBe(128);
});

test('what is no address is refused both ways', () => {
  expect(() => vppAddress('10.0.0')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  expect(() => formatVppAddress({ af: 7, un: new Uint8Array(16) })).toThrow(
    expect.objectContaining({
      details: expect.objectContaining({ found: 'family 7 and 16 bytes' }),
    }),
  );
  expect(() => formatVppAddress({ af: 0, un: new Uint8Array(4) })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  );
});
