// What wires promise whatever carries them, in a mesh of real processes: they carry pings and streams, local and remote; a
// forwarder that is killed costs no packet; a switch in user space that is killed has every wire back when it runs again,
// with the client's interface as it was; and what is closed leaves nothing on the node.

import { expect, test } from 'vitest';

import { eventually } from '../sandbox/eventually.ts';
import {
  expectCarries,
  expectUnchanged,
  killForwarder,
  liveWire,
  places,
  startPings,
} from '../sandbox/live-wires.ts';
import type { TestMesh } from '../sandbox/mesh.ts';
import { addressesOf, expectPingsBothWays } from '../sandbox/mesh-probes.ts';

export type Victim = readonly [string, (mesh: TestMesh) => Promise<void>];

export interface SwitchUnderTest {
  /** Who is killed and started again at no cost, beside the forwarders. */
  readonly victims?: readonly Victim[];
  /** Kills the switch of the first node and starts it again; absent where that is the kernel. */
  readonly restart?: (mesh: TestMesh) => Promise<void>;
  /** Names of what wires have on a node, or in its switch. */
  readonly portsOf: (mesh: TestMesh, node: 0 | 1) => Promise<readonly string[]>;
  /** One of them, of a wire to the other node; any by default. */
  readonly tunnel?: RegExp;
}

const forwarders: readonly Victim[] = [
  ["the client's forwarder", (mesh) => killForwarder(mesh, 'node-1/forwarder')],
  ["the Endpoint's forwarder", (mesh) => killForwarder(mesh, 'node-2/forwarder')],
];

export function switchedWires(mesh: () => TestMesh, under: SwitchUnderTest): void {
  const { victims = [], restart, portsOf, tunnel = /./ } = under;
  test.each([...forwarders, ...victims])(
    'lose nothing while %s is killed and started again',
    async (_, kill) => {
      const wires = [await liveWire(mesh(), 'near'), await liveWire(mesh(), 'far')];
      for (const wire of wires) await expectCarries(wire);
      expect(await portsOf(mesh(), 0)).toContainEqual(expect.stringMatching(tunnel));
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

  if (restart === undefined) return;
  test('are all back when a switch that was killed runs again', async () => {
    const wires = await Promise.all(places.map((where) => liveWire(mesh(), where)));
    await restart(mesh());
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
}
