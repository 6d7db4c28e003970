// Protects wires over Open vSwitch, with real switches and nothing mocked: they carry pings and streams, local and
// remote; a forwarder or a database that is killed costs no packet; a switch that is killed has every wire back when it
// runs again, with the client's interface as it was; and what is closed leaves nothing in the switch.

import { expect, test } from 'vitest';

import { select } from '../../protocols/ovs/ovsdb-operations.ts';
import { entriesOf, textOf } from '../../protocols/ovs/ovsdb-values.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import type { OpenVSwitch } from '../../transports/process/open-vswitch.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import {
  expectCarries,
  expectUnchanged,
  killForwarder,
  liveWire,
  places,
  startPings,
} from '../sandbox/live-wires.ts';
import { addressesOf, expectPingsBothWays } from '../sandbox/mesh-probes.ts';

const budget = { timeoutMs: 10_000 };

function switchOf({ switches, nodes }: TestMesh, node: 0 | 1): OpenVSwitch {
  const found = switches.byNode.get(nodes[node].name);
  if (found === undefined) expect.fail('the node has no switch');
  return found;
}

/** Names of ports and tunnels that wires have on a node. */
async function portsOf(mesh: TestMesh, node: 0 | 1): Promise<string[]> {
  const database = createOvsdbClient({
    socketPath: switchOf(mesh, node).databaseSocket,
    host: unixHost,
  });
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
