// Protects a client of several services through a whole mesh (the reference's scenario of mutually aware Endpoints):
// Endpoints that know nothing of each other never give it one address twice, even asked at once; those of one group may.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { parseAwarenessGroups } from '../../protocols/nsm/awareness-groups.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let node: Node;

beforeEach(async () => {
  mesh = await createMesh();
  [node] = mesh.nodes as [Node];
  // The same prefix, without a word to each other.
  for (const name of ['a', 'b', 'c']) {
    await mesh.addEndpoint(node, `nse-${name}`, { serviceNames: [name], cidr: '172.16.0.0/24' });
  }
});

afterEach(() => mesh.end());

const services = ['kernel://a/nsm-1', 'kernel://b/nsm-2', 'kernel://c/nsm-3'];
const addresses = ({ context }: Connection): readonly string[] => [
  ...(context?.ipContext?.srcIpAddrs ?? []),
  ...(context?.ipContext?.dstIpAddrs ?? []),
];

async function connect(groups: string, name = 'nsc') {
  const awarenessGroups = parseAwarenessGroups(groups, 'groups');
  const client = mesh.addClient(node, name, services, { awarenessGroups });
  const ids = services.map((_, index) => `${name}-${index}`);
  await mesh.until(() => ids.every((id) => client.phase(id) === 'established'));
  const read = async () => {
    const connections: Connection[] = [];
    for (const id of ids) connections.push(await client.established(id));
    return connections.map(addresses);
  };
  return { client, read };
}

it('without a group no address is given twice, and refreshes change nothing', async () => {
  const { read } = await connect('');
  const given = await read();
  expect(new Set(given.flat()).size).toBe(6);
  await mesh.clock.advance(900_000);
  expect(await read()).toEqual(given);
});

it('in one group the Endpoints give the same, and keep away from who is outside', async () => {
  const { read } = await connect('[kernel://a/nsm-1,kernel://b/nsm-2]');
  const [a = [], b = [], c = []] = await read();
  expect(a).toEqual(b);
  expect(c.some((each) => a.includes(each))).toBe(false);
  await mesh.clock.advance(900_000);
  expect(await read()).toEqual([a, b, c]);
});

it('two clients do not look at each other', async () => {
  const one = await connect('[kernel://a/nsm-1,kernel://b/nsm-2,kernel://c/nsm-3]');
  const [first = []] = await one.read();
  await one.client.stop();
  const other = await connect('', 'other');
  expect(new Set((await other.read()).flat()).size).toBe(6);
  expect(first).toHaveLength(2);
});
