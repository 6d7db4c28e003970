// Wires of a mesh that carry packets while a test breaks what is around them: over data planes in user space, which take
// packets when they get their turn.

import { expect } from 'vitest';
import { eventually } from './eventually.ts';
import type { TestMesh } from './mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  expectTransfer,
  interfacesOf,
  startSteadyPing,
} from './mesh-probes.ts';

export const places = ['near', 'far'] as const;

export async function liveWire(mesh: TestMesh, where: 'near' | 'far') {
  const { workloads, nodes, netlink } = mesh;
  const service = `switched-${where}`;
  const endpoint = await workloads.endpoint({
    node: nodes[where === 'near' ? 0 : 1],
    services: [service],
    cidr: [['172.16.1.0/24']],
  });
  const client = await workloads.client({ node: nodes[0], services: `kernel://${service}/nsm-1` });
  const connection = await client.connection();
  const caller = await workloads.caller(nodes[0]);
  const known = await caller.request({ service });
  const before = await interfacesOf(netlink, client.namespace);
  return { service, endpoint, client, connection, caller, known, before };
}

export type LiveWire = Awaited<ReturnType<typeof liveWire>>;

/**
 * A switch in user space takes packets when it gets its turn; the kernel keeps some hundred for it till then. And it
 * forgets its routes for an instant at each link that comes or goes, so no wire is made while pings are counted.
 */
const pingIntervalMs = 5;

export const startPings = ({ client, connection }: LiveWire) =>
  startSteadyPing(client.namespace, addressesOf(connection).endpoint[0] ?? '', pingIntervalMs);

/** Not while pings are counted: a stream that fills the switch costs others packets, as on any wire. */
export async function expectCarries({ connection, client, endpoint }: LiveWire): Promise<void> {
  const { namespace } = client;
  await expectPingsBothWays(connection, namespace, endpoint.namespace);
  const addresses = addressesOf(connection);
  await expectTransfer(namespace, endpoint.namespace, addresses.endpoint[0] ?? '');
  await expectTransfer(endpoint.namespace, namespace, addresses.client[0] ?? '');
}

export async function killForwarder({ processes }: TestMesh, name: string): Promise<void> {
  const victim = processes.supervised.get(name);
  if (victim === undefined) expect.fail(`${name} was never reported`);
  process.kill(victim.pid, 'SIGKILL');
  await eventually(`${name} is started again`, 20_000, () =>
    expect(processes.supervised.get(name)?.pid).not.toBe(victim.pid),
  );
}

export async function expectUnchanged({ netlink }: TestMesh, { client, before }: LiveWire) {
  expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
  expect(client.statuses[0]?.phase).toBe('established');
}
