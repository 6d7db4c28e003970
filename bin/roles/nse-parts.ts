// What the Endpoints of every kind have in common: their entry in the registry, and how it comes there.

import { create } from '@bufbuild/protobuf';
import {
  type EndpointRegistration,
  spawnEndpointRegistration,
} from '../../actors/endpoint/endpoint-registration.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { type Platform, publicUrlOf } from './platform.ts';

export interface EndpointEntry {
  readonly name: string;
  readonly serviceNames: readonly string[];
  readonly payload: 'IP' | 'ETHERNET';
  /** Registered under every service name. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface EndpointRegistering extends EndpointEntry {
  /** URL of the manager. */
  readonly connectTo: string;
  readonly registerService: boolean;
  /** False: its entry stays in the registry when it ends. Default: it is taken out. */
  readonly unregisters?: boolean;
}

/** Begins to register what serves under these URLs. */
export function registerEndpoint(
  { system, dialer, wallClock }: Platform,
  options: EndpointRegistering,
  urls: readonly string[],
): EndpointRegistration {
  return spawnEndpointRegistration(
    system,
    {
      registry: registryClients(dialer.dial(options.connectTo)),
      endpoint: endpointOf(options, publicUrlOf(urls)),
      services: options.registerService ? servicesOf(options) : [],
      wallClock,
      leavesEntry: options.unregisters === false,
    },
    `${options.name} registration`,
  );
}

function endpointOf(options: EndpointEntry, url: string): NetworkServiceEndpoint {
  const networkServiceLabels = Object.fromEntries(
    options.serviceNames.map((service) => [service, { labels: { ...options.labels } }]),
  );
  return create(NetworkServiceEndpointSchema, {
    name: options.name,
    networkServiceNames: [...options.serviceNames],
    networkServiceLabels,
    url,
  });
}

function servicesOf({ serviceNames, payload }: EndpointEntry): readonly NetworkService[] {
  return serviceNames.map((name) => create(NetworkServiceSchema, { name, payload }));
}
