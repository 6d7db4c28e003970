// A node's lease: the entry of the service `vwire-node` that its manager registers and renews
// (docs/decisions/0011-node-entries.md). Nobody can connect to it and no NetworkService stands behind it. Its labels
// say what the node is; that it is there says that the node lives.

import type { NetworkServiceEndpoint } from './gen/registry_pb.ts';

export const nodeServiceName = 'vwire-node';

/** Names of the labels of an entry. */
export const nodeLabel = {
  node: 'nodeName',
  manager: 'manager',
  /** Where other nodes reach the manager: the URL of every Endpoint of that node, as they see it. */
  url: 'url',
  version: 'version',
  /** Start of the manager's process, in ms since 1970: grows with every life. */
  incarnation: 'incarnation',
  /** Life of the lease without a renewal, in ms. */
  leaseMs: 'leaseMs',
} as const;

export const nodeLeaseMsDefault = 5_000;

/** A lease outlives two renewals that were lost. */
const renewalShare = 0.3;

export const renewalMs = (leaseMs: number): number => leaseMs * renewalShare;

/**
 * How long a lease that has ended is waited for before the node counts as away: a registry that was held up, or came
 * back without its data, hears of every node that lives within two renewals.
 */
export const confirmMs = (leaseMs: number): number => leaseMs / 2;

export const isNodeLease = (endpoint: NetworkServiceEndpoint): boolean =>
  endpoint.networkServiceNames.includes(nodeServiceName);

/** Undefined where it is no lease, or lacks that label. */
export const leaseLabel = (
  endpoint: NetworkServiceEndpoint,
  label: (typeof nodeLabel)[keyof typeof nodeLabel],
): string | undefined => endpoint.networkServiceLabels[nodeServiceName]?.labels[label];
