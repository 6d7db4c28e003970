// Protects wires from the control plane: whichever part of it is killed and started again, no packet is lost on a
// live wire, the client's interface stays as it is, and afterwards refresh, new Requests and Close work.

import { expect, test } from 'vitest';

import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

/** Kills a child of a node, which its supervisor starts again. */
async function killSupervised({ processes }: TestMesh, name: string): Promise<void> {
  const victim = processes.supervised.get(name);
  if (victim === undefined) expect.fail(`${name} was never reported`);
  process.kill(victim.pid, 'SIGKILL');
  await eventually(`${name} is started again`, 10_000, () =>
    expect(processes.supervised.get(name)?.pid).not.toBe(victim.pid),
  );
}

async function killRegistry({ processes }: TestMesh): Promise<void> {
  const registry = processes.processes.get('registry');
  registry?.kill('SIGKILL');
  await registry?.exited;
  await processes.startRegistry();
}

async function killBus({ processes }: TestMesh): Promise<void> {
  const { bus } = processes;
  if (bus === undefined) expect.fail('there is no bus');
  process.kill(bus.pid, 'SIGKILL');
  await bus.ended;
  await processes.startBus();
}

const victims: readonly (readonly [string, (mesh: TestMesh) => Promise<void>])[] = [
  ["the client's forwarder", (mesh) => killSupervised(mesh, 'node-1/forwarder')],
  ["the far Endpoint's forwarder", (mesh) => killSupervised(mesh, 'node-2/forwarder')],
  ["the client's manager", (mesh) => killSupervised(mesh, 'node-1/nsmgr')],
  ["the far Endpoint's manager", (mesh) => killSupervised(mesh, 'node-2/nsmgr')],
  ['the registry', killRegistry],
  ['nats-server', killBus],
  [
    'all of them at once',
    async (mesh) => {
      const children = [...mesh.processes.supervised.keys()];
      const kills = children.map((name) => killSupervised(mesh, name));
      await Promise.all([...kills, killBus(mesh), killRegistry(mesh)]);
    },
  ],
];

/** A client with its wire, a second wire whose refreshes the test sends itself, and pings all the time. */
async function liveWire(mesh: TestMesh, where: 'near' | 'far') {
  const { workloads, nodes, netlink } = mesh;
  const service = `lasting-${where}`;
  const endpoint = await workloads.endpoint({
    node: nodes[where === 'near' ? 0 : 1],
    services: [service],
    cidr: [['172.16.1.0/24']],
  });
  const client = await workloads.client({ node: nodes[0], services: `kernel://${service}/nsm-1` });
  const caller = await workloads.caller(nodes[0]);
  const known = await caller.request({ service });
  const connection = await client.connection();
  const before = await interfacesOf(netlink, client.namespace);
  const steady = await startSteadyPing(client.namespace, addressesOf(connection).endpoint[0] ?? '');
  return { service, endpoint, client, caller, known, connection, before, steady };
}

describeMesh('live wires outlive', (mesh) => {
  test.each(victims)(
    '%s, killed and started again',
    async (_, kill) => {
      const { netlink, nodes, workloads, traces } = mesh();
      const wires = [await liveWire(mesh(), 'near'), await liveWire(mesh(), 'far')];
      await kill(mesh());

      for (const { service, caller, known, client, connection, endpoint } of wires) {
        await eventually(`a refresh of ${service}`, 20_000, async () => {
          const again = await caller.request({ service, known, timeoutMs: 3_000 });
          expect(addressesOf(again)).toEqual(addressesOf(known));
        });
        await eventually(`the client of ${service} is content`, 20_000, () =>
          expect(client.statuses[0]?.phase).toBe('established'),
        );
        await eventually(`a new wire to ${service}`, 20_000, async () => {
          const next = await workloads.caller(nodes[0]);
          await next.close(await next.request({ service, timeoutMs: 3_000 }));
        });
        await expectPingsBothWays(connection, client.namespace, endpoint.namespace);
      }
      for (const { service, client, before, steady } of wires) {
        const { sent, received } = await steady.stop();
        expect(sent).toBeGreaterThan(300);
        expect(sent - received, `lost of ${sent} on ${service}`).toBe(0);
        expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
      }
      for (const { client, caller, known } of wires) {
        await client.stop();
        await caller.close(known);
      }
      expect(await traces()).toEqual([]);
    },
    240_000,
  );
});
