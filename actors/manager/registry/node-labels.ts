// The reference's clientinfo element at the manager: labels that say where an Endpoint of this node runs, added to every
// labels entry that lacks them.

import type { NetworkServiceEndpoint } from '../../../protocols/nsm/gen/registry_pb.ts';

export function withNodeLabels(
  endpoint: NetworkServiceEndpoint,
  nodeLabels: Readonly<Record<string, string>>,
): NetworkServiceEndpoint {
  if (Object.keys(nodeLabels).length === 0) return endpoint;
  const networkServiceLabels = Object.fromEntries(
    Object.entries(endpoint.networkServiceLabels).map(([service, entry]) => [
      service,
      { ...entry, labels: { ...nodeLabels, ...entry.labels } },
    ]),
  );
  return { ...endpoint, networkServiceLabels };
}
