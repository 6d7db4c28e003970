// A node shows itself: its manager registers an entry of the service `vwire-node`, which nobody can connect to and no
// NetworkService stands behind (docs/decisions/0011-node-entries.md). It is the node's lease: it lives for some seconds, and
// the manager renews it three times in that time. Invariant: one call to the registry per renewal, no more.

import { create } from '@bufbuild/protobuf';
import {
  type EndpointRegistration,
  spawnEndpointRegistration,
} from '../../actors/endpoint/endpoint-registration.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import { NetworkServiceEndpointSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { nodeLabel, nodeServiceName, renewalMs } from '../../protocols/nsm/node-lease.ts';
import { version } from '../version.ts';
import type { Platform } from './platform.ts';

export interface NodeEntry {
  readonly node: string;
  /** Component name of the manager. */
  readonly manager: string;
  /** Where other nodes reach the manager. */
  readonly url: string;
  /** The manager's own registry: what is registered there is shown with the manager's URL in the domain. */
  readonly registryUrl: string;
  /** Life of the lease without a renewal. */
  readonly leaseMs: number;
}

/** A URL at which nobody ever listens: a Request that is led here by name ends at once and goes round no circle. */
const nowhere = 'memory:vwire-node';

export function registerNode(platform: Platform, entry: NodeEntry): EndpointRegistration {
  const labels = {
    [nodeLabel.node]: entry.node,
    [nodeLabel.manager]: entry.manager,
    [nodeLabel.url]: entry.url,
    [nodeLabel.version]: version(),
    [nodeLabel.incarnation]: String(Math.round(platform.wallClock.epochMs())),
    [nodeLabel.leaseMs]: String(entry.leaseMs),
  };
  const name = `${nodeServiceName}-${entry.node}`;
  const endpoint = create(NetworkServiceEndpointSchema, {
    name,
    networkServiceNames: [nodeServiceName],
    networkServiceLabels: { [nodeServiceName]: { labels } },
    url: nowhere,
  });
  const renewMs = renewalMs(entry.leaseMs);
  const registry = registryClients(platform.dialer.dial(entry.registryUrl));
  return spawnEndpointRegistration(
    platform.system,
    {
      registry,
      endpoint,
      services: [],
      wallClock: platform.wallClock,
      lease: { lifeMs: entry.leaseMs, renewMs },
      // A registry that was away is to hear of the node before anybody else misses it. The reference's registry ends
      // an entry earlier by the time that its Register had left, which is another reason for a short one.
      attemptTimeoutMs: renewMs / 1.5,
      backoffMsMax: renewMs / 1.5,
    },
    name,
  );
}
