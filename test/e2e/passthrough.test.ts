// Protects composition with real packets: a client reaches the last Endpoint through a passthrough, both its wires carry
// them whatever the payload and the address family, clients with different labels take different chains, and a passthrough
// that is killed and comes back has lost none.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import type { ClientReport } from '../../bin/demo/client-reports.ts';
import {
  MatchSchema,
  type NetworkService,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from '../sandbox/eventually.ts';
import {
  expectPings,
  expectTransfer,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';

describeMesh('a chain of Endpoints', (mesh) => {
  test('routes IP of both families through the namespace of the passthrough', async () => {
    const { nodes, netlink } = mesh();
    const service = await chainService('routed', 'IP');
    const [near] = nodes;
    const gateway = await endpoint(service, near, { name: 'gw-routed', app: 'gateway' });
    const firewall = await passthrough(service, near, { name: 'fw-routed', app: 'firewall' });
    const client = await connect(service, near, 'client-routed', 'app=web');

    expect(client.report.path).toEqual([
      'client-routed',
      'nsmgr-node-1',
      'forwarder-node-1',
      'fw-routed',
      'nsmgr-node-1',
      'forwarder-node-1',
      'gw-routed',
    ]);
    expect(client.report.endpoint).toBe('fw-routed');
    await carries(client, gateway);
    expect(await interfacesOf(netlink, firewall)).toHaveLength(2);
  });

  test('passes frames on where the payload is ETHERNET, and over a tunnel', async () => {
    const [near, far] = mesh().nodes;
    const service = await chainService('frames', 'ETHERNET');
    const gateway = await endpoint(service, far, { name: 'gw-frames', app: 'gateway' });
    await passthrough(service, near, { name: 'fw-frames', app: 'firewall' });
    const client = await connect(service, near, 'client-frames', 'app=web');
    expect(client.report.path).toHaveLength(9);
    await carries(client, gateway);
  });

  test('is another one for a client with other labels, side by side', async () => {
    const { nodes, netlink } = mesh();
    const [near, far] = nodes;
    const service = await chainService('selective', 'IP');
    const gateway = await endpoint(service, far, { name: 'gw-selective', app: 'gateway' });
    const firewall = await passthrough(service, near, { name: 'fw-selective', app: 'firewall' });
    const guarded = await connect(service, near, 'guarded', 'app=web');
    const second = await connect(service, near, 'guarded-too', 'app=web');
    const trusted = await connect(service, near, 'trusted', 'app=admin');
    expect(trusted.report.path).not.toContain('fw-selective');
    for (const client of [guarded, second]) {
      expect(client.report.path).toContain('fw-selective');
      await carries(client, gateway);
    }
    await carries(trusted, gateway);
    expect(await interfacesOf(netlink, firewall)).toHaveLength(4);

    await guarded.end();
    await eventually('the wires of the client that left are gone', 10_000, async () => {
      expect(await interfacesOf(netlink, firewall)).toHaveLength(2);
      expect(await interfacesOf(netlink, gateway)).toHaveLength(2);
    });
    await carries(second, gateway);
  });

  test('loses no packet while the passthrough is killed and comes back', async () => {
    const [near] = mesh().nodes;
    const service = await chainService('killed', 'IP');
    const gateway = await endpoint(service, near, { name: 'gw-killed', app: 'gateway' });
    const named = { name: 'fw-killed', app: 'firewall' };
    const firewall = await passthrough(service, near, named);
    const client = await connect(service, near, 'client-killed', 'app=web');
    await carries(client, gateway);
    const steady = await startSteadyPing(client.namespace, client.peers[0] ?? '');
    const process = mesh().processes.processes.get('fw-killed');
    process?.kill('SIGKILL');
    await process?.exited;
    await passthrough(service, near, named, firewall);
    const before = steady.received;
    await eventually('packets go on', 10_000, () =>
      expect(steady.received).toBeGreaterThan(before + 1_000),
    );
    const { sent, received } = await steady.stop();
    expect(received).toBe(sent);
    await carries(client, gateway);
  });

  interface Connected {
    readonly namespace: NetworkNamespace;
    readonly report: ClientReport;
    /** Addresses of the last Endpoint, and the client's own. */
    readonly peers: readonly string[];
    readonly own: readonly string[];
    end(): Promise<void>;
  }

  /** Everybody goes by the firewall, the firewall by the gateway, and who administers straight to the gateway. */
  async function chainService(name: string, payload: 'IP' | 'ETHERNET'): Promise<NetworkService> {
    const { workloads, nodes } = mesh();
    const to = (app: string) => [{ destinationSelector: { app } }];
    const matches: readonly MessageInitShape<typeof MatchSchema>[] = [
      { sourceSelector: { app: 'firewall' }, routes: to('gateway') },
      { sourceSelector: { app: 'admin' }, routes: to('gateway') },
      { routes: to('firewall') },
    ];
    const service = create(NetworkServiceSchema, {
      name: `chain-${name}`,
      payload,
      matches: matches.map((each) => create(MatchSchema, each)),
    });
    await workloads.registerService(nodes[0], service);
    return service;
  }

  const endpointEnv = (service: NetworkService, app: string) => ({
    NSM_SERVICE_NAMES: service.name,
    NSM_PAYLOAD: service.payload,
    NSM_LABELS: `app:${app}`,
    NSM_REGISTER_SERVICE: 'false',
    NSM_CIDR_PREFIX: '[172.16.7.0/24],[2001:db8:7::/64]',
  });

  async function endpoint(
    service: NetworkService,
    node: MeshNode,
    { name, app }: { readonly name: string; readonly app: string },
  ): Promise<NetworkNamespace> {
    const namespace = mesh().namespace();
    await mesh().processes.startEndpoint({ name, node, namespace }, endpointEnv(service, app));
    return namespace;
  }

  async function passthrough(
    service: NetworkService,
    node: MeshNode,
    { name, app }: { readonly name: string; readonly app: string },
    namespace = mesh().namespace(),
  ): Promise<NetworkNamespace> {
    const { processes, stateDir } = mesh();
    await processes.start({
      kind: 'endpoint',
      name,
      role: ['nse', 'passthrough'],
      namespace,
      env: {
        NSM_NAME: name,
        NSM_CONNECT_TO: processes.socketOf(node),
        NSM_BASE_DIR: join(stateDir, name),
        NSM_UNREGISTER_ITSELF: 'true',
        ...endpointEnv(service, app),
      },
    });
    return namespace;
  }

  async function connect(
    { name: service }: NetworkService,
    node: MeshNode,
    name: string,
    labels: string,
  ): Promise<Connected> {
    const { processes, namespace: newNamespace }: TestMesh = mesh();
    const namespace = newNamespace();
    const url = `kernel://${service}/nsm-1?${labels}`;
    const child = await processes.startClient(
      { name, node, namespace },
      { NSM_NETWORK_SERVICES: url },
    );
    const report = await processes.clients.connected(name, 15_000);
    const hosts = (cidrs: readonly string[] = []) => cidrs.map((cidr) => cidr.split('/')[0] ?? '');
    return {
      namespace,
      report,
      peers: hosts(report.peerAddresses),
      own: hosts(report.addresses),
      end: async () => void (await child.stop(10_000)),
    };
  }

  async function carries(client: Connected, last: NetworkNamespace): Promise<void> {
    expect(client.peers).toHaveLength(2);
    for (const address of client.peers) {
      await expectPings(client.namespace, address);
      await expectTransfer(client.namespace, last, address);
    }
    for (const address of client.own) await expectPings(last, address);
  }
});
