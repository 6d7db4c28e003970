// Protects scale from zero with real processes and packets, on two nodes: from nothing to a ping, on the client's own
// node, over the death of the supplier, until nobody needs the Endpoint
// any more, and once more.

import { create } from '@bufbuild/protobuf';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import {
  MatchSchema,
  type NetworkService,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { findByEnvironment, isAlive } from '../../transports/process/process-identity.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPings, startSteadyPing } from '../sandbox/mesh-probes.ts';

/** The form without `fallthrough` on the first match, which the reference's matcher does not go on from. */
const service = (name: string): NetworkService =>
  create(NetworkServiceSchema, {
    name,
    payload: 'IP',
    matches: ['server', 'supplier'].map((app) =>
      create(MatchSchema, {
        routes: [{ destinationSelector: { app, nodeName: '{{ .nodeName }}' } }],
      }),
    ),
  });

const template = (cidr: string): string => `name: 'nse-{{ .NetworkService }}-{{ .Labels.nodeName }}'
environment:
  NSM_CIDR_PREFIX: ${cidr}
  NSM_PAYLOAD: IP
  NSM_LABELS: app:server
  NSM_IDLE_TIMEOUT: 2s
`;

async function startSupplier(mesh: TestMesh, node: MeshNode, networkService: string) {
  const { processes, stateDir } = mesh;
  const name = `supplier-${networkService}-${node.name}`;
  const directory = join(stateDir, name);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'endpoint.yaml'), template('172.16.9.0/24'));
  const start = () =>
    processes.start({
      kind: 'endpoint',
      name,
      role: ['supplier'],
      namespace: node.namespace,
      env: {
        NSM_NAME: name,
        NSM_CONNECT_TO: processes.socketOf(node),
        NSM_SERVICE_NAME: networkService,
        NSM_PAYLOAD: 'IP',
        NSM_LABELS: 'app:supplier',
        NODE_NAME: node.name,
        VWIRE_SUPPLIER_TEMPLATE: join(directory, 'endpoint.yaml'),
        VWIRE_SUPPLIER_NETNS_DIR: join(directory, 'netns'),
        VWIRE_CLOSE_AT_STOP: 'true',
      },
    });
  const endpoint = `nse-${networkService}-${node.name}`;
  return {
    endpoint,
    netns: join(directory, 'netns', endpoint),
    start,
    child: await start(),
    process: () => findByEnvironment('NSM_NAME', endpoint),
  };
}

const mounts = () => readFileSync('/proc/self/mounts', 'utf8');

describeMesh('scale from zero', (mesh) => {
  test('from nothing to a ping on the node of the client, and gone, and again', async () => {
    const { nodes, workloads } = mesh();
    const networkService = 'scaled';
    await workloads.registerService(nodes[0], service(networkService));
    const near = await startSupplier(mesh(), nodes[0], networkService);
    const far = await startSupplier(mesh(), nodes[1], networkService);
    const connect = () =>
      workloads.client({
        node: nodes[1],
        services: `kernel://${networkService}/nsm-1?nodeName=${nodes[1].name}`,
      });

    const client = await connect();
    const connection = await client.connection();
    expect(connection.networkServiceEndpointName).toBe(far.endpoint);
    expect(connection.path?.pathSegments.map(({ name }) => name)).toEqual([
      client.name,
      'nsmgr-node-2',
      'forwarder-node-2',
      far.endpoint,
    ]);
    expect(near.process()).toBeUndefined();
    const started = far.process();
    const [address = ''] = addressesOf(connection).endpoint;
    await expectPings(client.namespace, address);

    const steady = await startSteadyPing(client.namespace, address);
    far.child.kill('SIGKILL');
    await far.child.exited;
    const next = await far.start();
    expect(far.process()).toEqual(started);
    const { sent, received } = await steady.stop();
    expect(sent - received).toBe(0);

    await client.stop();
    await eventually('it ends by itself, and nothing is left of it', 20_000, () => {
      expect(started !== undefined && isAlive(started)).toBe(false);
      expect(mounts()).not.toContain(far.netns);
    });

    const again = await connect();
    const [second = ''] = addressesOf(await again.connection()).endpoint;
    await expectPings(again.namespace, second);
    expect(far.process()).not.toEqual(started);
    await again.stop();
    await next.stop(20_000);
    expect(far.process()).toBeUndefined();
    expect(mounts()).not.toContain(far.netns);
    await near.child.stop(20_000);
  }, 240_000);
});
