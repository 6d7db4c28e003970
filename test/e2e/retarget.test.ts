// Protects a live wire that moves to another Endpoint: within a node, to another node, within that one, and back, with
// 1,000 packets a second on it, none is lost, and the client's interface is the same one throughout.

import { expect, test } from 'vitest';

import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

const packetsMin = 1_500;
const movesMax = 200;

describeMesh('a live wire', (mesh) => {
  test('moves from Endpoint to Endpoint without losing a packet', async () => {
    const { workloads, nodes, netlink, traces } = mesh();
    const [near, far] = nodes;
    const service = 'replicated';
    const replica = (node: typeof near) =>
      workloads.endpoint({ node, services: [service], cidr: [['172.16.1.0/24']] });
    const replicas = [
      await replica(near),
      await replica(near),
      await replica(far),
      await replica(far),
    ];
    const caller = await workloads.caller(near);
    const endpoints = new Map(replicas.map((each) => [each.name, each]));
    const first = await caller.request({ service });
    const before = await interfacesOf(netlink, caller.namespace);
    const [address = ''] = addressesOf(first).endpoint;
    const steady = await startSteadyPing(caller.namespace, address);

    const current = first.networkServiceEndpointName;
    const others = replicas.map(({ name }) => name).filter((name) => name !== current);
    let known = first;
    const round = [...others, current, ...others.toReversed(), current];
    // Rounds until the wire has carried enough meanwhile, on however fast a machine.
    for (let move = 0; move < round.length || steady.received < packetsMin; move += 1) {
      expect(move).toBeLessThan(movesMax);
      const name = round[move % round.length] ?? current;
      const old = endpoints.get(known.networkServiceEndpointName);
      const { mechanism: _, ...rest } = known;
      known = await caller.request({
        service,
        known: { ...rest, networkServiceEndpointName: name, state: State.RESELECT_REQUESTED },
      });
      expect(known.networkServiceEndpointName).toBe(name);
      expect(addressesOf(known)).toEqual(addressesOf(first));
      expect(await interfacesOf(netlink, caller.namespace)).toEqual(before);
      const now = endpoints.get(name);
      if (now === undefined || old === undefined) expect.fail('an Endpoint that nobody started');
      expect(await interfacesOf(netlink, now.namespace)).toHaveLength(1);
      // The answer does not wait for the Endpoint that is left.
      await eventually('the end that was left to be gone', 5_000, async () => {
        expect(await interfacesOf(netlink, old.namespace)).toEqual([]);
      });
      await expectPingsBothWays(known, caller.namespace, now.namespace);
    }

    const { sent, received } = await steady.stop();
    expect(sent).toBeGreaterThan(packetsMin);
    expect(sent - received, `lost of ${sent}`).toBe(0);
    await caller.close(known);
    expect(await traces()).toEqual([]);
  });
});
