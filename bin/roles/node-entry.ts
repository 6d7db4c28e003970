// A node shows itself: its manager registers an entry of the service `vwire-node`, which nobody can connect to and no
// NetworkService stands behind (docs/decisions/0011-node-entries.md). It lives as long as the manager refreshes it.

import { create } from '@bufbuild/protobuf';
import {
  type EndpointRegistration,
  spawnEndpointRegistration,
} from '../../actors/endpoint/endpoint-registration.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import { NetworkServiceEndpointSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { version } from '../version.ts';
import type { Platform } from './platform.ts';

export const nodeServiceName = 'vwire-node';

/** Names of the labels of an entry. */
export const nodeLabel = {
  node: 'nodeName',
  manager: 'manager',
  url: 'url',
  version: 'version',
  /** Start of the manager's process, in ms since 1970: grows with every life. */
  incarnation: 'incarnation',
} as const;

export interface NodeEntry {
  readonly node: string;
  /** Component name of the manager. */
  readonly manager: string;
  /** Where other nodes reach the manager. */
  readonly url: string;
  /** The manager's own registry: what is registered there is shown with the manager's URL in the domain. */
  readonly registryUrl: string;
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
  };
  const name = `${nodeServiceName}-${entry.node}`;
  const endpoint = create(NetworkServiceEndpointSchema, {
    name,
    networkServiceNames: [nodeServiceName],
    networkServiceLabels: { [nodeServiceName]: { labels } },
    url: nowhere,
  });
  const registry = registryClients(platform.dialer.dial(entry.registryUrl));
  return spawnEndpointRegistration(
    platform.system,
    { registry, endpoint, services: [], wallClock: platform.wallClock },
    name,
  );
}
