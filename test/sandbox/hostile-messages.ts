// One valid message per method that a component serves: what hostile input is mutated from.

import type { DescMessage, MessageInitShape } from '@bufbuild/protobuf';
import {
  ConnectionSchema,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkServiceRequestSchema } from '../../protocols/nsm/gen/networkservice_pb.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointSchema,
  NetworkServiceQuerySchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';

export interface HostileMessage {
  /** `/service/Method`. */
  readonly path: string;
  readonly schema: DescMessage;
  readonly init: MessageInitShape<DescMessage>;
}

const connection: MessageInitShape<typeof ConnectionSchema> = {
  id: 'client-0',
  networkService: 'hostile',
  labels: { app: 'x' },
  payload: 'IP',
  context: {
    ipContext: { srcIpAddrs: ['10.0.0.1/32'], excludedPrefixes: ['10.1.0.0/16'] },
    MTU: 1400,
  },
  path: {
    index: 0,
    pathSegments: [
      {
        name: 'client',
        id: 'client-0',
        token: 'a.b.c',
        expires: { seconds: 4_000_000_000n, nanos: 7 },
      },
    ],
  },
};
const mechanism = {
  cls: 'LOCAL',
  type: 'KERNEL',
  parameters: { inodeURL: 'inode://4/4026531840', name: 'nsm-1' },
};

const message = <Schema extends DescMessage>(
  path: string,
  schema: Schema,
  init: MessageInitShape<Schema>,
): HostileMessage => ({ path, schema, init: init as MessageInitShape<DescMessage> });

export const hostileMessages: readonly HostileMessage[] = [
  message('/networkservice.NetworkService/Request', NetworkServiceRequestSchema, {
    connection,
    mechanismPreferences: [mechanism],
  }),
  message('/networkservice.NetworkService/Close', ConnectionSchema, connection),
  message('/connection.MonitorConnection/MonitorConnections', MonitorScopeSelectorSchema, {
    pathSegments: [{ name: 'client', id: 'client-0' }],
    networkServices: ['hostile'],
  }),
  message('/registry.NetworkServiceRegistry/Register', NetworkServiceSchema, {
    name: 'hostile',
    payload: 'IP',
    matches: [
      { sourceSelector: { app: '{{ .app }}' }, routes: [{ destinationSelector: { a: 'b' } }] },
    ],
  }),
  message('/registry.NetworkServiceRegistry/Find', NetworkServiceQuerySchema, {
    networkService: { name: 'hostile' },
  }),
  message('/registry.NetworkServiceEndpointRegistry/Register', NetworkServiceEndpointSchema, {
    name: 'hostile-1',
    networkServiceNames: ['hostile'],
    networkServiceLabels: { hostile: { labels: { app: 'x' } } },
    url: 'unix:///nowhere',
    expirationTime: { seconds: 4_000_000_000n, nanos: 3 },
  }),
  message('/registry.NetworkServiceEndpointRegistry/Find', NetworkServiceEndpointQuerySchema, {
    networkServiceEndpoint: { networkServiceNames: ['hostile'] },
  }),
  message('/registry.NetworkServiceEndpointRegistry/Unregister', NetworkServiceEndpointSchema, {
    name: 'hostile-1',
  }),
];
