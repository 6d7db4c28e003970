// How a supplier is told from an Endpoint that serves: by a label in its registry entry, under the service that it
// supplies. A supplier never serves; it starts an Endpoint and refuses. So it stands behind everybody who does serve,
// and is asked only by a client that would get nobody.

import type { NetworkServiceEndpoint } from './gen/registry_pb.ts';
import { labelOf, labelsFor } from './labels.ts';

export const supplierLabel = { key: 'vwire.io/supplier', value: 'true' } as const;

/** `details.rule` of the refusal by which a supplier says that an Endpoint is on its way. */
export const supplyRule = 'supply';

export function isSupplier(endpoint: NetworkServiceEndpoint, service: string): boolean {
  const labels = labelsFor(endpoint.networkServiceLabels, service);
  return labelOf(labels, supplierLabel.key) === supplierLabel.value;
}
