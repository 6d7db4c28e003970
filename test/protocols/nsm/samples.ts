// Messages and random sources that the tests of the NSM rules share.

import { create } from '@bufbuild/protobuf';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import type { Random } from '../../../protocols/ports/random.ts';

/** A path of these names with ids `id-0`, `id-1` and so on, standing on `index`. */
export function connectionOf(names: readonly string[], index: number): Connection {
  return create(ConnectionSchema, {
    id: `id-${index}`,
    networkService: 'svc',
    path: {
      index,
      pathSegments: names.map((name, at) => ({
        name,
        id: `id-${at}`,
        expires: timestampFromEpochMs(1_000_000 + at),
      })),
    },
  });
}

/** Ids `new-1`, `new-2` and so on. */
export function countingIds(): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `new-${count}`;
  };
}

export function endpointOf(
  name: string,
  service: string,
  labels?: Record<string, string>,
): NetworkServiceEndpoint {
  return create(NetworkServiceEndpointSchema, {
    name,
    networkServiceNames: [service],
    networkServiceLabels: labels === undefined ? {} : { [service]: { labels } },
  });
}

/** A small deterministic source (mulberry32), so that a failing case can be run again. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    integer: (exclusiveMax) => Math.floor((next() / 2 ** 32) * exclusiveMax),
    uuid: () => `00000000-0000-4000-8000-${next().toString(16).padStart(12, '0')}`,
  };
}
