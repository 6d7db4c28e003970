// Protects what a mesh makes of a node's lease: who lost it comes last among the candidates and is still tried, wires through
// it are told to be down so that their clients look, and a registry that is away or forgetful is evidence against nobody.

import { afterEach, expect, it } from 'vitest';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;

afterEach(() => mesh.end());

async function start(nodeCount: number): Promise<readonly Node[]> {
  mesh = await createMesh(nodeCount, { leases: true });
  await mesh.until(async () => (await leases()).length === nodeCount);
  return mesh.nodes;
}

const leases = async () =>
  (await mesh.registeredEndpoints()).filter((name) => name.startsWith('vwire-node-'));

/** Endpoints that a new client gets, one Request after the other, each closed again. */
async function chosen(node: Node | undefined, count: number): Promise<readonly string[]> {
  const names: string[] = [];
  for (let index = 0; index < count; index += 1) {
    const url = node?.managerUrl ?? '';
    const answer = await mesh.run(mesh.request(url, mesh.firstRequest(`hand-${index}`)));
    names.push(answer.networkServiceEndpointName);
    await mesh.run(mesh.close(url, answer));
  }
  return [...new Set(names)].toSorted();
}

it('a node whose lease has ended is the last to be chosen, and is chosen again when it is back', async () => {
  const [first, second, third] = await start(3);
  if (second === undefined || third === undefined) throw new Error('three nodes');
  await mesh.addEndpoint(second, 'nse-2');
  await mesh.addEndpoint(third, 'nse-3', { cidr: '172.16.1.0/24' });
  expect(await chosen(first, 4)).toEqual(['nse-2', 'nse-3']);
  mesh.isolate('nsmgr-node-2');
  await mesh.clock.advance(10_000);
  expect(await leases()).not.toContain('vwire-node-node-2');
  expect(await mesh.registeredEndpoints(), 'not hidden').toContain('nse-2');
  mesh.isolate('nsmgr-node-2', false);
  const stillAway = await chosen(first, 1);
  expect(stillAway).toEqual(['nse-3']);
  await mesh.clock.advance(10_000);
  expect(await chosen(first, 4)).toEqual(['nse-2', 'nse-3']);
});

it('an Endpoint that is the only one is given out although its node has no lease', async () => {
  const [first, second] = await start(2);
  if (second === undefined) throw new Error('two nodes');
  await mesh.addEndpoint(second, 'nse-2');
  expect(await chosen(first, 2)).toEqual(['nse-2']);
  mesh.isolate('nsmgr-node-2');
  await mesh.clock.advance(10_000);
  mesh.isolate('nsmgr-node-2', false);
  expect(await chosen(first, 1)).toEqual(['nse-2']);
});

it('a wire through a node whose lease has ended is told to be down, and repaired in place', async () => {
  const [first, second] = await start(2);
  if (first === undefined || second === undefined) throw new Error('two nodes');
  await mesh.addEndpoint(second, 'nse-2');
  const client = mesh.addClient(first, 'nsc');
  const before = await client.established();
  mesh.isolate('nsmgr-node-2');
  await mesh.until(() => client.statuses('nsc-0').some(({ phase }) => phase === 'healing'), 15_000);
  mesh.isolate('nsmgr-node-2', false);
  const after = await client.established();
  expect(after.networkServiceEndpointName).toBe('nse-2');
  expect(after.context?.ipContext?.srcIpAddrs).toEqual(before.context?.ipContext?.srcIpAddrs);
  expect(mesh.objects).toBe(4);
});

it('a registry that is away, or comes back, is evidence against no node', async () => {
  const [first, second] = await start(2);
  if (first === undefined || second === undefined) throw new Error('two nodes');
  await mesh.addEndpoint(second, 'nse-2');
  const client = mesh.addClient(first, 'nsc');
  await client.established();
  await mesh.stopRegistry();
  await mesh.clock.advance(60_000);
  await mesh.startRegistry();
  await mesh.clock.advance(30_000);
  expect(client.statuses('nsc-0').filter(({ phase }) => phase === 'healing')).toEqual([]);
  expect(await leases()).toHaveLength(2);
});
