// Protects wires over VPP, with real VPPs and nothing mocked: they carry pings and streams, local and remote; a forwarder
// that is killed costs no packet; a VPP that is killed has every wire back when it runs again, with the client's
// interface as it was; and what is closed leaves nothing in VPP.

import { describe, expect, test } from 'vitest';

import { allOnes } from '../../protocols/vpp/messages/enums.ts';
import type { PrivateVpp } from '../../transports/process/private-vpp.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../transports/vpp-api-client/vpp-api-client.ts';
import { eventually } from '../sandbox/eventually.ts';
import {
  expectCarries,
  expectUnchanged,
  killForwarder,
  liveWire,
  places,
  startPings,
} from '../sandbox/live-wires.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPingsBothWays } from '../sandbox/mesh-probes.ts';

const budget = { timeoutMs: 10_000 };

function vppOf({ vpps, nodes }: TestMesh, node: 0 | 1): PrivateVpp {
  const found = vpps.byNode.get(nodes[node].name);
  if (found === undefined) expect.fail('the node has no VPP');
  return found;
}

/** Names of the interfaces that wires have on a node. */
async function interfacesIn(mesh: TestMesh, node: 0 | 1): Promise<string[]> {
  const vpp = createVppClient({ socketPath: vppOf(mesh, node).apiSocket, host: unixHost });
  try {
    const found = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    return found
      .map(({ interface_name: name }) => name)
      .filter((name) => /^(host-vw|host-vt\w+\.|vxlan_tunnel|wg\d)/.test(name));
  } finally {
    await vpp.close();
  }
}

const victims: readonly (readonly [string, (mesh: TestMesh) => Promise<void>])[] = [
  ["the client's forwarder", (mesh) => killForwarder(mesh, 'node-1/forwarder')],
  ["the Endpoint's forwarder", (mesh) => killForwarder(mesh, 'node-2/forwarder')],
];

const tunnels = { WIREGUARD: /^wg\d/, VXLAN: /^vxlan_tunnel/ } as const;

describe.each(['WIREGUARD', 'VXLAN'] as const)('with %s between the nodes', (mechanism) => {
  describeMesh(
    'wires over VPP',
    (mesh) => {
      test.each(victims)(
        'lose nothing while %s is killed and started again',
        async (_, kill) => {
          const wires = [await liveWire(mesh(), 'near'), await liveWire(mesh(), 'far')];
          for (const wire of wires) await expectCarries(wire);
          expect(await interfacesIn(mesh(), 0)).toContainEqual(
            expect.stringMatching(tunnels[mechanism]),
          );
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
          for (const node of [0, 1] as const) expect(await interfacesIn(mesh(), node)).toEqual([]);
        },
        180_000,
      );

      test('are all back when a VPP that was killed runs again', async () => {
        const wires = await Promise.all(places.map((where) => liveWire(mesh(), where)));
        const vpp = vppOf(mesh(), 0);
        await vpp.signal('SIGKILL');
        await vpp.start();
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
        for (const node of [0, 1] as const) expect(await interfacesIn(mesh(), node)).toEqual([]);
      }, 180_000);
    },
    { withVpp: true, env: { NSM_MECHANISM_PRIORITY: mechanism } },
  );
});
