// The label by which an Endpoint says that it drains: under every service that it offers, so that whoever selects for
// one of them sees it. Who selects gives it to no new client; who has it keeps it until it has moved.

import { create } from '@bufbuild/protobuf';
import {
  type NetworkServiceEndpoint,
  type NetworkServiceLabels,
  NetworkServiceLabelsSchema,
} from './gen/registry_pb.ts';

const drainingLabel = 'vwire.io/draining';

export function isDraining({ networkServiceLabels }: NetworkServiceEndpoint): boolean {
  return Object.values(networkServiceLabels).some(({ labels }) => labels[drainingLabel] === 'true');
}

/** The entry with the label, or without it; the same object where nothing changes. */
export function withDraining(
  endpoint: NetworkServiceEndpoint,
  draining: boolean,
): NetworkServiceEndpoint {
  if (!draining && !isDraining(endpoint)) return endpoint;
  const changed: Record<string, NetworkServiceLabels> = {};
  const services = [...endpoint.networkServiceNames, ...Object.keys(endpoint.networkServiceLabels)];
  for (const service of services) {
    const entry = endpoint.networkServiceLabels[service];
    if (entry === undefined && !draining) continue;
    const { [drainingLabel]: _, ...others } = entry?.labels ?? {};
    changed[service] = {
      ...(entry ?? create(NetworkServiceLabelsSchema)),
      labels: draining ? { ...others, [drainingLabel]: 'true' } : others,
    };
  }
  return { ...endpoint, networkServiceLabels: changed };
}
