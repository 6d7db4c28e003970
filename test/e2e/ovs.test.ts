// Protects wires over Open vSwitch, with real switches and nothing mocked: they carry pings and streams, local and
// remote; a forwarder or a database that is killed costs no packet; a switch that is killed has every wire back when it
// runs again, with the client's interface as it was; and what is closed leaves nothing in the switch.

import { expect, test } from 'vitest';

import { select } from '../../protocols/ovs/ovsdb-operations.ts';
import { entriesOf, textOf } from '../../protocols/ovs/ovsdb-values.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import type { OpenVSwitch } from '../../transports/process/open-vswitch.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  expectTransfer,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

const budget = { timeoutMs: 10_000 };
const places = ['near', 'far'] as const;

async function liveWire(mesh: TestMesh, where: 'near' | 'far') {
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

type LiveWire = Awaited<ReturnType<typeof liveWire>>;

/**
 * A switch in user space takes packets when it gets its turn; the kernel keeps some hundred for it till then. And it
 * forgets its routes for an instant at each link that comes or goes, so no wire is made while pings are counted.
 */
const pingIntervalMs = 5;

const startPings = ({ client, connection }: LiveWire) =>
  startSteadyPing(client.namespace, addressesOf(connection).endpoint[0] ?? '', pingIntervalMs);

/** Not while pings are counted: a stream that fills the switch costs others packets, as on any wire. */
async function expectCarries({ connection, client, endpoint }: LiveWire): Promise<void> {
  const { namespace } = client;
  await expectPingsBothWays(connection, namespace, endpoint.namespace);
  const addresses = addressesOf(connection);
  await expectTransfer(namespace, endpoint.namespace, addresses.endpoint[0] ?? '');
  await expectTransfer(endpoint.namespace, namespace, addresses.client[0] ?? '');
}

function switchOf({ switches, nodes }: TestMesh, node: 0 | 1): OpenVSwitch {
  const found = switches.byNode.get(nodes[node].name);
  if (found === undefined) expect.fail('the node has no switch');
  return found;
}

/** Names of ports and tunnels that wires have on a node. */
async function portsOf(mesh: TestMesh, node: 0 | 1): Promise<string[]> {
  const database = createOvsdbClient({ socketPath: switchOf(mesh, node).databaseSocket });
  try {
    const [answer] = await database.transact([select('Interface', [])], budget);
    return (answer?.rows ?? [])
      .filter((row) => row['type'] !== 'internal')
      .filter((row) => entriesOf(row['external_ids']).has('vwire-installation'))
      .map((row) => textOf(row['name']) ?? '');
  } finally {
    await database.close();
  }
}

async function killForwarder({ processes }: TestMesh, name: string): Promise<void> {
  const victim = processes.supervised.get(name);
  if (victim === undefined) expect.fail(`${name} was never reported`);
  process.kill(victim.pid, 'SIGKILL');
  await eventually(`${name} is started again`, 20_000, () =>
    expect(processes.supervised.get(name)?.pid).not.toBe(victim.pid),
  );
}

async function expectUnchanged({ netlink }: TestMesh, { client, before }: LiveWire) {
  expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
  expect(client.statuses[0]?.phase).toBe('established');
}

const victims: readonly (readonly [string, (mesh: TestMesh) => Promise<void>])[] = [
  ["the client's forwarder", (mesh) => killForwarder(mesh, 'node-1/forwarder')],
  ["the Endpoint's forwarder", (mesh) => killForwarder(mesh, 'node-2/forwarder')],
  [
    'the database',
    async (mesh) => {
      await switchOf(mesh, 0).signal('database', 'SIGKILL');
      await switchOf(mesh, 0).start('database');
    },
  ],
];

describeMesh(
  'wires over Open vSwitch',
  (mesh) => {
    test.each(victims)(
      'lose nothing while %s is killed and started again',
      async (_, kill) => {
        const wires = [await liveWire(mesh(), 'near'), await liveWire(mesh(), 'far')];
        for (const wire of wires) await expectCarries(wire);
        const steady = await Promise.all(wires.map(startPings));
        await kill(mesh());
        for (const { service, caller, known } of wires) {
          await eventually(`a refresh of ${service}`, 30_000, async () => {
            const again = await caller.request({ service, known, timeoutMs: 5_000 });
            expect(addressesOf(again)).toEqual(addressesOf(known));
          });
        }
        const then = steady.map(({ received }) => received);
        await eventually('pings went on', 30_000, () =>
          expect(steady.every((each, at) => each.received > (then[at] ?? 0) + 200)).toBe(true),
        );
        const lost: Record<string, number> = {};
        for (const [index, each] of steady.entries()) {
          const { sent, received } = await each.stop();
          lost[places[index] ?? ''] = sent - received;
        }
        expect(lost).toEqual({ near: 0, far: 0 });
        for (const { service } of wires) {
          await eventually('a new wire', 30_000, async () => {
            const caller = await mesh().workloads.caller(mesh().nodes[0]);
            await caller.close(await caller.request({ service, timeoutMs: 5_000 }));
          });
        }
        for (const wire of wires) {
          await expectCarries(wire);
          await expectUnchanged(mesh(), wire);
          await wire.client.stop();
          await wire.caller.close(wire.known);
        }
        for (const node of [0, 1] as const) expect(await portsOf(mesh(), node)).toEqual([]);
      },
      180_000,
    );

    test('are all back when a switch that was killed runs again', async () => {
      const wires = await Promise.all(places.map((where) => liveWire(mesh(), where)));
      const ovs = switchOf(mesh(), 0);
      await ovs.signal('switch', 'SIGKILL');
      await ovs.start('switch');
      for (const wire of wires) {
        await eventually(`${wire.service} is back`, 10_000, () =>
          expectPingsBothWays(wire.connection, wire.client.namespace, wire.endpoint.namespace),
        );
        await expectCarries(wire);
        await expectUnchanged(mesh(), wire);
      }
      for (const { client, caller, known } of wires) {
        await client.stop();
        await caller.close(known);
      }
      for (const node of [0, 1] as const) expect(await portsOf(mesh(), node)).toEqual([]);
    }, 180_000);
  },
  { withOpenVSwitch: true },
);
