// Protects the end of a client that says no word: gone with its namespace it leaves nothing after a second; dead with
// its namespace alive it keeps its wire, which carries packets, until its token expires, and nothing after that.

import { expect, test } from 'vitest';

import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { answersPings, expectPings, interfacesOf } from '../sandbox/mesh-probes.ts';

const places = ['near', 'far'] as const;

/** A client process on the first node, connected to an Endpoint whose pool has one lease. */
async function connectProcess(
  mesh: TestMesh,
  options: { readonly name: string; readonly where: 'near' | 'far'; readonly lifetime: string },
) {
  const { workloads, processes, nodes } = mesh;
  const endpoint = await workloads.endpoint({
    node: nodes[options.where === 'near' ? 0 : 1],
    services: ['only-one'],
    cidr: [['172.16.1.0/31']],
  });
  const client = { name: options.name, node: nodes[0], namespace: mesh.namespace() };
  const child = await processes.startClient(client, {
    NSM_NETWORK_SERVICES: 'kernel://only-one/nsm-1',
    NSM_MAX_TOKEN_LIFETIME: options.lifetime,
  });
  const report = await processes.clients.connected(client.name, 15_000);
  const [address = ''] = (report.peerAddresses ?? []).map((cidr) => cidr.split('/')[0] ?? '');
  await expectPings(client.namespace, address);
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child.exited;
  };
  return { endpoint, namespace: client.namespace, address, kill };
}

/** Nothing in either node, no interface at the Endpoint, and its lease free. */
async function expectNothingLeft(
  mesh: TestMesh,
  endpoint: Parameters<typeof interfacesOf>[1],
  withinMs: number,
): Promise<void> {
  await eventually('nothing is left of the wire', withinMs, async () => {
    expect(await mesh.traces()).toEqual([]);
    expect(await interfacesOf(mesh.netlink, endpoint)).toEqual([]);
  });
  const next = await mesh.workloads.caller(mesh.nodes[0]);
  await next.close(await next.request({ service: 'only-one' }));
}

describeMesh('a client that ends without a word', (mesh) => {
  test.each(places)('its namespace is gone, Endpoint %s', async (where) => {
    const options = { name: `gone-${where}`, where, lifetime: '10m' };
    const { endpoint, namespace, kill } = await connectProcess(mesh(), options);
    await kill();
    namespace.close();
    await expectNothingLeft(mesh(), endpoint.namespace, 1_000);
  });

  test.each(places)('its process is killed, its namespace lives, Endpoint %s', async (where) => {
    const options = { name: `killed-${where}`, where, lifetime: '3s' };
    const { endpoint, namespace, address, kill } = await connectProcess(mesh(), options);
    const before = await mesh().traces();
    await kill();
    await expectPings(namespace, address);
    expect(await mesh().traces()).toEqual(before);
    await eventually('the wire expires', 10_000, async () =>
      expect(await answersPings(namespace, address)).toBe(false),
    );
    await expectNothingLeft(mesh(), endpoint.namespace, 1_000);
    expect(await interfacesOf(mesh().netlink, namespace)).toEqual([]);
  });
});
