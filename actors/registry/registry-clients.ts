// Both NSM registries of one peer, as a caller holds them.

import {
  NetworkServiceEndpointRegistry,
  NetworkServiceRegistry,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { Channel, ServiceClient } from '../../protocols/ports/rpc.ts';

export interface RegistryClients {
  readonly services: ServiceClient<typeof NetworkServiceRegistry>;
  readonly endpoints: ServiceClient<typeof NetworkServiceEndpointRegistry>;
}

export function registryClients(channel: Channel): RegistryClients {
  return {
    services: channel.client(NetworkServiceRegistry),
    endpoints: channel.client(NetworkServiceEndpointRegistry),
  };
}
