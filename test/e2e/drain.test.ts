// Protects a live wire while its Endpoint, then its node, is drained, and while the matches of its Network Service change:
// from a local Endpoint to a remote one and back, with 1,000 packets a second on it, none is lost, the client's interface
// is the same one throughout, and what was drained is empty.

import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';

import { withMesh } from '../../bin/inspect/mesh-client.ts';
import { NetworkServiceSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { eventually } from '../sandbox/eventually.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPingsBothWays,
  interfacesOf,
  startSteadyPing,
} from '../sandbox/mesh-probes.ts';

const packetsMin = 3_000;
const movesMax = 60;
const limitMs = 20_000;

describeMesh('a live wire', (mesh) => {
  test('is drained away from Endpoints and nodes without losing a packet', async () => {
    const { workloads, processes, nodes, netlink, traces } = mesh();
    const [near, far] = nodes;
    const service = 'drained';
    const replica = (node: typeof near) =>
      workloads.endpoint({ node, services: [service], cidr: [['172.16.1.0/24']] });
    const places = [
      { node: near, endpoint: await replica(near) },
      { node: far, endpoint: await replica(far) },
    ];
    const client = await workloads.client({ node: near, services: `kernel://${service}/nsm-1` });
    const first = await client.connection();
    const before = await interfacesOf(netlink, client.namespace);
    const steady = await startSteadyPing(client.namespace, addressesOf(first).endpoint[0] ?? '');
    // Asked at the client's node, wherever what is drained is.
    const drain = (what: { endpoint?: string; node?: string }, undo = false) =>
      withMesh(processes.socketOf(near), (asked) =>
        asked.drain({ endpoint: '', node: '', undo, ...what }),
      );

    for (let move = 0; move < 4 || steady.received < packetsMin; move += 1) {
      expect(move).toBeLessThan(movesMax);
      const held = (await client.connection()).networkServiceEndpointName;
      const left = places.find(({ endpoint }) => endpoint.name === held);
      const next = places.find(({ endpoint }) => endpoint.name !== held);
      if (left === undefined || next === undefined) expect.fail(`nobody started ${held}`);
      const what = move % 4 < 2 ? { endpoint: held } : { node: left.node.name };
      await eventually(`nobody is left at ${held}`, limitMs, async () => {
        const { endpoints } = await drain(what);
        expect(endpoints.map(({ connectionsLeft }) => connectionsLeft)).toEqual([0]);
      });
      await eventually(`the client is at ${next.endpoint.name}`, limitMs, () =>
        expect(client.statuses[0]).toMatchObject({
          phase: 'established',
          connection: { networkServiceEndpointName: next.endpoint.name },
        }),
      );
      const connection = await client.connection();
      expect(addressesOf(connection)).toEqual(addressesOf(first));
      expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
      await eventually('the end that was left to be gone', limitMs, async () =>
        expect(await interfacesOf(netlink, left.endpoint.namespace)).toEqual([]),
      );
      await expectPingsBothWays(connection, client.namespace, next.endpoint.namespace);
      await drain(what, true);
    }

    const { sent, received } = await steady.stop();
    expect(sent).toBeGreaterThan(packetsMin);
    expect(sent - received, `lost of ${sent}`).toBe(0);
    await client.stop();
    expect(await traces()).toEqual([]);
  }, 240_000);

  test('follows its Network Service to another Endpoint without losing a packet', async () => {
    const { workloads, nodes, netlink, traces } = mesh();
    const [near, far] = nodes;
    const name = 'changing';
    const replica = (node: typeof near, place: string) =>
      workloads.endpoint({
        node,
        services: [name],
        cidr: [['172.16.1.0/24']],
        labels: { place },
      });
    const ends = { near: await replica(near, 'near'), far: await replica(far, 'far') };
    const send = (place: string) =>
      workloads.registerService(
        far,
        create(NetworkServiceSchema, {
          name,
          payload: 'IP',
          matches: [{ routes: [{ destinationSelector: { place } }] }],
        }),
      );
    await send('near');
    const client = await workloads.client({ node: near, services: `kernel://${name}/nsm-1` });
    const first = await client.connection();
    const before = await interfacesOf(netlink, client.namespace);
    const steady = await startSteadyPing(client.namespace, addressesOf(first).endpoint[0] ?? '');
    const places = ['far', 'near'] as const;
    for (let move = 0; move < 2 || steady.received < packetsMin; move += 1) {
      expect(move).toBeLessThan(movesMax);
      const place = places[move % 2] ?? 'near';
      await send(place);
      await eventually(`the client is at the ${place} one`, limitMs, () =>
        expect(client.statuses[0]).toMatchObject({
          phase: 'established',
          connection: { networkServiceEndpointName: ends[place].name },
        }),
      );
      expect(await interfacesOf(netlink, client.namespace)).toEqual(before);
      await expectPingsBothWays(await client.connection(), client.namespace, ends[place].namespace);
    }
    const { sent, received } = await steady.stop();
    expect(sent - received, `lost of ${sent}`).toBe(0);
    await client.stop();
    expect(await traces()).toEqual([]);
  }, 240_000);
});
