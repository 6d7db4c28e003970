// The stage of the demo: two nodes joined by an underlay, and four workloads, each a network namespace that nothing
// but this process and its children holds. Closing lets go of all of them; the kernel removes what was inside.

import type { Netlink } from '../../protocols/ports/netlink.ts';
import {
  createNetworkNamespace,
  type NetworkNamespace,
} from '../../transports/netlink/network-namespace.ts';
import type { MeshNode, MeshWorkload } from './mesh.ts';
import { joinUnderlay } from './namespace-links.ts';

/** A client and an Endpoint, and the service between them. */
export interface DemoPair {
  readonly service: string;
  readonly payload: 'IP' | 'ETHERNET';
  readonly cidrPrefix: string;
  readonly client: MeshWorkload;
  readonly endpoint: MeshWorkload;
}

export interface Topology {
  readonly nodes: readonly [MeshNode, MeshNode];
  readonly pairs: readonly DemoPair[];
  readonly namespaces: readonly NetworkNamespace[];
}

export async function createTopology(netlink: Netlink): Promise<Topology> {
  const namespaces: NetworkNamespace[] = [];
  const namespace = (): NetworkNamespace => {
    const made = createNetworkNamespace();
    namespaces.push(made);
    return made;
  };
  try {
    const node1: MeshNode = { name: 'node-1', namespace: namespace(), tunnelIp: '172.31.255.1' };
    const node2: MeshNode = { name: 'node-2', namespace: namespace(), tunnelIp: '172.31.255.2' };
    await joinUnderlay(
      netlink,
      { namespace: node1.namespace.url, address: `${node1.tunnelIp}/24` },
      { namespace: node2.namespace.url, address: `${node2.tunnelIp}/24` },
    );
    const workload = (name: string, node: MeshNode): MeshWorkload => ({
      name,
      node,
      namespace: namespace(),
    });
    const pairs: readonly DemoPair[] = [
      {
        service: 'local-service',
        payload: 'IP',
        cidrPrefix: '172.16.1.0/24',
        client: workload('client-1', node1),
        endpoint: workload('server-1', node1),
      },
      {
        service: 'remote-service',
        payload: 'ETHERNET',
        cidrPrefix: '172.16.2.0/24',
        client: workload('client-2', node1),
        endpoint: workload('server-2', node2),
      },
    ];
    return { nodes: [node1, node2], pairs, namespaces };
  } catch (error) {
    for (const each of namespaces) each.close();
    throw error;
  }
}
