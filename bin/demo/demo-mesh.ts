// The mesh of the demo: everything of its topology started, group by group.

import { type Environment, Mesh, type MeshNode } from './mesh.ts';
import type { Topology } from './topology.ts';

export interface DemoMeshOptions {
  readonly topology: Topology;
  readonly stateDir: string;
  readonly natsServer: string;
  readonly bus: 'nats' | 'grpc';
  readonly insecure: boolean;
  /** Further variables for a node. */
  readonly envOf: (node: MeshNode) => Environment;
  readonly onStep: (text: string) => void;
}

export async function startMesh(options: DemoMeshOptions): Promise<Mesh> {
  const { topology, stateDir, natsServer, bus, insecure, envOf, onStep } = options;
  const [hub] = topology.nodes;
  const mesh = new Mesh({
    stateDir,
    natsServer,
    hub,
    bus,
    insecure,
    domain: 'demo',
    installation: `demo-${process.pid}`,
    busPort: 4222,
  });
  try {
    if (!insecure) onStep('development identities, mTLS and tokens are on');
    if (bus === 'nats') {
      await mesh.startBus();
      onStep('bus is up');
    }
    await mesh.startRegistry();
    onStep('registry is up');
    await Promise.all(topology.nodes.map((node) => mesh.startNode(node, envOf(node))));
    onStep('managers and forwarders of both nodes are up');
    await Promise.all(
      topology.pairs.map(({ endpoint, service, payload, cidrPrefix }) =>
        mesh.startEndpoint(endpoint, {
          NSM_SERVICE_NAMES: service,
          NSM_PAYLOAD: payload,
          NSM_CIDR_PREFIX: cidrPrefix,
        }),
      ),
    );
    onStep('Endpoints are registered');
    await Promise.all(
      topology.pairs.map(({ client, service }) =>
        mesh.startClient(client, { NSM_NETWORK_SERVICES: `kernel://${service}/nsm-1` }),
      ),
    );
  } catch (error) {
    await mesh.stop();
    throw error;
  }
  return mesh;
}
