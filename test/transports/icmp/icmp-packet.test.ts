// Protects liveness from wrong conclusions: only a well-formed reply counts, whatever else arrives is ignored.

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { decodeEchoReply, encodeEchoRequest } from '../../../transports/icmp/icmp-packet.ts';

function asReply(version: 4 | 6, request: Uint8Array, isRaw: boolean): Uint8Array {
  const reply = request.slice();
  reply[0] = version === 4 ? 0 : 129;
  if (version === 6 || !isRaw) return reply;
  const header = new Uint8Array(20);
  header[0] = 0x45;
  header[9] = 1;
  return Uint8Array.from([...header, ...reply]);
}

test('recognises the reply to a request and no request', () => {
  const number = fc.nat(0xffff);
  const versions = fc.constantFrom<4 | 6>(4, 6);
  fc.assert(
    fc.property(versions, fc.boolean(), number, number, (version, isRaw, identifier, sequence) => {
      const request = encodeEchoRequest(version, { identifier, sequence }, 20);
      const reply = asReply(version, request, isRaw);
      expect(decodeEchoReply(version, reply, isRaw)).toEqual({ identifier, sequence });
      expect(decodeEchoReply(version, request, false)).toBeUndefined();
    }),
  );
});

test('20,000 mutated or random packets never throw', () => {
  const base = asReply(4, encodeEchoRequest(4, { identifier: 1, sequence: 2 }, 8), true);
  const mutated = fc
    .array(fc.tuple(fc.nat(base.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 })
    .map((changes) => {
      const bytes = base.slice();
      for (const [position, value] of changes) bytes[position] = value;
      return bytes;
    });
  const packets = fc.oneof(mutated, fc.uint8Array({ maxLength: 60 }));
  fc.assert(
    fc.property(packets, fc.constantFrom<4 | 6>(4, 6), fc.boolean(), (packet, version, isRaw) => {
      decodeEchoReply(version, packet, isRaw);
    }),
    { numRuns: 20_000 },
  );
});
