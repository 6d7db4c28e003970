// Protects the promise that a rebuilt or moved wire keeps its MAC addresses: they follow from names alone.

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { clientMacAddress, endpointMacAddress } from '../../../protocols/nsm/derived-mac.ts';

const firstOctet = (mac: string) => Number.parseInt(mac.slice(0, 2), 16);

test('is unicast, locally administered, and tells the two kinds of ends apart', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      for (const mac of [clientMacAddress(a), endpointMacAddress(a, b)]) {
        expect(mac).toMatch(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
        expect(firstOctet(mac) & 3).toBe(2);
      }
      expect(clientMacAddress(a)).not.toBe(endpointMacAddress(a, b));
    }),
  );
});

test('does not change between releases', () => {
  expect([
    clientMacAddress('connection-1'),
    endpointMacAddress('service', '10.0.0.1'),
  ]).toMatchInlineSnapshot(`
    [
      "ba:11:db:b7:13:97",
      "8e:8e:9a:89:37:32",
    ]
  `);
});

test('100,000 connections share no address', () => {
  const macs = new Set(
    Array.from({ length: 100_000 }, (_, number) => clientMacAddress(`c-${number}`)),
  );
  expect(macs.size).toBe(100_000);
});
