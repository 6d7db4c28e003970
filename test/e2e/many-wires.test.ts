// Protects wires that live side by side: several on one client, many on one Endpoint, and refreshes that change
// nothing of what stands.

import { expect, test } from 'vitest';

import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { describeMesh } from '../sandbox/mesh.ts';
import {
  addressesOf,
  expectPings,
  expectPingsBothWays,
  interfacesOf,
} from '../sandbox/mesh-probes.ts';

const segmentIds = (connection: Connection) =>
  connection.path?.pathSegments.map(({ name, id }) => `${name} ${id}`);

describeMesh('wires side by side', (mesh) => {
  test('two services on one client are two interfaces, one of them remote', async () => {
    const { nodes, workloads, netlink } = mesh();
    const [near, far] = nodes;
    const one = await workloads.endpoint({
      node: near,
      services: ['one'],
      cidr: [['172.16.1.0/24']],
    });
    const two = await workloads.endpoint({
      node: far,
      services: ['two'],
      cidr: [['172.16.2.0/24']],
    });
    const client = await workloads.client({
      node: near,
      services: 'kernel://one/nsm-1,kernel://two/nsm-2',
    });
    await expectPingsBothWays(await client.connection(0), client.namespace, one.namespace);
    await expectPingsBothWays(await client.connection(1), client.namespace, two.namespace);
    const interfaces = await interfacesOf(netlink, client.namespace);
    expect(interfaces.map(({ name }) => name).sort()).toEqual(['nsm-1', 'nsm-2']);
    expect(new Set(interfaces.map(({ macAddress }) => macAddress)).size).toBe(2);
  });

  test('one client may request the same service twice', async () => {
    const { nodes, workloads, netlink } = mesh();
    const [near, far] = nodes;
    const endpoint = await workloads.endpoint({
      node: far,
      services: ['twice'],
      cidr: [['172.16.3.0/24']],
    });
    const client = await workloads.client({
      node: near,
      services: 'kernel://twice/nsm-1,kernel://twice/nsm-2',
    });
    const first = await client.connection(0);
    const second = await client.connection(1);
    expect(first.id).not.toBe(second.id);
    await expectPingsBothWays(first, client.namespace, endpoint.namespace);
    await expectPingsBothWays(second, client.namespace, endpoint.namespace);
    expect(await interfacesOf(netlink, client.namespace)).toHaveLength(2);
    expect(await interfacesOf(netlink, endpoint.namespace)).toHaveLength(2);
  });

  test('twenty clients on one Endpoint have addresses of their own', async () => {
    const { nodes, workloads, netlink } = mesh();
    const [near, far] = nodes;
    const endpoint = await workloads.endpoint({
      node: near,
      services: ['many'],
      cidr: [['172.16.4.0/24'], ['2001:db8:4::/64']],
    });
    const clients = await Promise.all(
      Array.from({ length: 20 }, (_, number) =>
        workloads.client({ node: number % 2 === 0 ? near : far, services: 'kernel://many/nsm-1' }),
      ),
    );
    const connections = await Promise.all(clients.map((client) => client.connection()));
    const addresses = connections.flatMap((connection) => {
      const { client, endpoint: other } = addressesOf(connection);
      return [...client, ...other];
    });
    expect(addresses).toHaveLength(80);
    expect(new Set(addresses).size).toBe(80);
    expect(await interfacesOf(netlink, endpoint.namespace)).toHaveLength(20);
    for (const [index, client] of clients.entries()) {
      const connection = connections[index];
      if (connection === undefined) continue;
      for (const address of addressesOf(connection).endpoint) {
        await expectPings(client.namespace, address);
      }
    }
  });

  test('refreshes keep ids, addresses and interfaces', async () => {
    const { nodes, workloads, netlink } = mesh();
    const [near, far] = nodes;
    const endpoint = await workloads.endpoint({
      node: far,
      services: ['steady'],
      cidr: [['172.16.5.0/24']],
    });
    const caller = await workloads.caller(near);
    const first = await caller.request({ service: 'steady' });
    const before = [
      await interfacesOf(netlink, caller.namespace),
      await interfacesOf(netlink, endpoint.namespace),
    ];
    const links = await mesh().traces();
    expect(links.join('\n')).toMatch(/node-1 link vw(.|\n)*node-1 table vwire-\S+ guarded4/);
    expect(segmentIds(first)).toHaveLength(6);
    let known = first;
    for (let round = 0; round < 3; round += 1) {
      known = await caller.request({ service: 'steady', known });
      expect(segmentIds(known)).toEqual(segmentIds(first));
      expect(addressesOf(known)).toEqual(addressesOf(first));
    }
    const after = [
      await interfacesOf(netlink, caller.namespace),
      await interfacesOf(netlink, endpoint.namespace),
    ];
    expect(after).toEqual(before);
    expect(await mesh().traces()).toEqual(links);
    await expectPingsBothWays(known, caller.namespace, endpoint.namespace);
  });
});
