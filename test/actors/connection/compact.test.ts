// Protects what a remembered connection is: equal to the one received, with the fields of newer peers, and leaving
// the received one as it was.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { expect, test } from 'vitest';
import { compact } from '../../../actors/connection/compact.ts';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';

const id = '7f0f4b7c-64e0-4c8f-9a2b-9f4c0c1d2e3f';

function received(): Uint8Array {
  const connection = create(ConnectionSchema, {
    id,
    networkService: 'service',
    labels: {},
    mechanism: { cls: 'LOCAL', type: 'KERNEL', parameters: { name: 'nsm-1' } },
    context: { ipContext: { srcIpAddrs: ['10.0.0.1/32'], dstRoutes: [{ prefix: '10.0.0.1/32' }] } },
    path: {
      index: 1,
      pathSegments: [
        { name: 'client', id: 'client-1', token: 't'.repeat(700) },
        { name: 'manager', id, expires: { seconds: 1_700_000_000n, nanos: 123_456_789 } },
      ],
    },
  });
  const unknown = new BinaryWriter().tag(4711, WireType.LengthDelimited).string('newer').finish();
  return Uint8Array.from([...toBinary(ConnectionSchema, connection), ...unknown]);
}

test('a compact connection encodes to the same bytes, unknown fields included', () => {
  const bytes = received();
  const original = fromBinary(ConnectionSchema, bytes);
  const before = structuredClone(original);
  expect(toBinary(ConnectionSchema, compact(original, id))).toEqual(bytes);
  expect(structuredClone(original)).toEqual(before);
});

test('a compact connection can be compacted again and spread', () => {
  const once = compact(fromBinary(ConnectionSchema, received()), id);
  const changed = { ...once, networkServiceEndpointName: 'endpoint' };
  expect(compact(once, id)).toEqual(once);
  expect(compact(changed, id)).toEqual(changed);
});
