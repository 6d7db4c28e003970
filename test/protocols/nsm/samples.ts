// Messages and ids that the tests of the NSM rules share.

import { create } from '@bufbuild/protobuf';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import { type Connection, ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';

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
