// Protects wires from the wall clock: an hour forward or back, by an administrator or NTP, ends no wire, heals no client,
// loses no registration, and new clients are served meanwhile. Nothing that expires is counted on that clock.

import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { type ClientPart, createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

const hourMs = 3_600_000;

let mesh: Mesh;
let near: Node;
let far: Node;
let clients: readonly ClientPart[];
let connections: readonly Connection[];

beforeEach(async () => {
  mesh = await createMesh(2);
  [near, far] = mesh.nodes as [Node, Node];
  await mesh.addEndpoint(near, 'near-nse', { serviceNames: ['near'] });
  await mesh.addEndpoint(far, 'far-nse', { serviceNames: ['far'], cidr: '172.16.1.0/24' });
  clients = ['near', 'far'].map((service) =>
    mesh.addClient(near, `${service}-nsc`, [`kernel://${service}/nsm-1`]),
  );
  connections = await Promise.all(clients.map((client) => client.established()));
});

afterEach(() => mesh.end());

const addresses = (each: Connection) => each.context?.ipContext?.srcIpAddrs;

it.each([
  ['an hour forward', hourMs],
  ['an hour back', -hourMs],
])('%s: every wire lives on and everybody is served', async (_, byMs) => {
  mesh.clock.stepWall(byMs);
  const late = mesh.addClient(near, 'late-nsc', ['kernel://far/nsm-1']);
  expect((await late.established()).networkServiceEndpointName).toBe('far-nse');

  await mesh.clock.advance(1_300_000);
  for (const [index, client] of clients.entries()) {
    const phases = client.statuses(`${['near', 'far'][index]}-nsc-0`).map(({ phase }) => phase);
    expect(phases).not.toContain('healing');
    expect(client.phase()).toBe('established');
    const before = connections[index];
    expect(addresses(await client.established())).toEqual(before && addresses(before));
  }
  expect(await mesh.registeredEndpoints()).toEqual(
    expect.arrayContaining(['near-nse', 'far-nse', 'forwarder-node-1', 'forwarder-node-2']),
  );
});

it('a step between two refreshes of everything changes nothing either', async () => {
  for (const byMs of [hourMs, -hourMs, -hourMs, hourMs]) {
    mesh.clock.stepWall(byMs);
    await mesh.clock.advance(150_000);
  }
  for (const client of clients) expect(client.phase()).toBe('established');
  expect(mesh.objects).toBe(2 + 4);
});

it.each([
  ['ahead', hourMs],
  ['behind', -hourMs],
])(
  'one machine whose clock is an hour %s: its wires live on, and it is served',
  async (_, byMs) => {
    mesh.wallAheadMs = (component) => (/node-2|far-nse/.test(component) ? byMs : 0);
    await mesh.clock.advance(1_300_000);
    for (const [index, client] of clients.entries()) {
      expect(client.phase()).toBe('established');
      const before = connections[index];
      expect(addresses(await client.established())).toEqual(before && addresses(before));
    }
    const late = mesh.addClient(near, 'late-nsc', ['kernel://far/nsm-1']);
    expect((await late.established()).networkServiceEndpointName).toBe('far-nse');
    const back = mesh.addClient(far, 'back-nsc', ['kernel://near/nsm-1']);
    expect((await back.established()).networkServiceEndpointName).toBe('near-nse');
  },
);
