// What the Endpoints of every kind have in common: their entry in the registry and their end of a wire.

import { create } from '@bufbuild/protobuf';
import {
  type NetworkService,
  type NetworkServiceEndpoint,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';

export interface EndpointEntry {
  readonly name: string;
  readonly serviceNames: readonly string[];
  readonly payload: 'IP' | 'ETHERNET';
  /** Registered under every service name. */
  readonly labels: Readonly<Record<string, string>>;
}

export function endpointOf(options: EndpointEntry, url: string): NetworkServiceEndpoint {
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

export function servicesOf({ serviceNames, payload }: EndpointEntry): readonly NetworkService[] {
  return serviceNames.map((name) => create(NetworkServiceSchema, { name, payload }));
}
