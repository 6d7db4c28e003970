// Protects the shape of a connection through a whole mesh: path lengths, ids that stay over refreshes, answers in
// the view of each caller, and a Close that leaves nothing at any hop.

import { afterEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;

afterEach(() => mesh.end());

const names = (connection: Connection) => connection.path?.pathSegments.map(({ name }) => name);
const ids = (connection: Connection) => connection.path?.pathSegments.map(({ id }) => id);

/** A mesh whose Endpoint is on the last node. Returns the node of the clients. */
async function start(nodeCount: number): Promise<Node> {
  mesh = await createMesh(nodeCount);
  const [first, last] = [mesh.nodes[0], mesh.nodes.at(-1)];
  if (first === undefined || last === undefined) throw new Error('a mesh without nodes');
  await mesh.addEndpoint(last, 'nse');
  return first;
}

const localPath = ['nsc', 'nsmgr-node-1', 'forwarder-node-1', 'nse'];
const remotePath = [
  ...localPath.slice(0, -1),
  'nsmgr-node-2',
  'forwarder-node-2',
  ...localPath.slice(-1),
];

describe.each([
  { where: 'on one node', nodeCount: 1, path: localPath, objects: 2 },
  { where: 'over two nodes', nodeCount: 2, path: remotePath, objects: 4 },
])('a connection $where', ({ nodeCount, path, objects }) => {
  it('goes through every hop once and comes back in the view of the client', async () => {
    const client = nscOn(await start(nodeCount));
    const connection = await client.established();
    expect(names(connection)).toEqual(path);
    expect(new Set(ids(connection)).size).toBe(path.length);
    expect(connection.path?.index).toBe(0);
    expect(connection).toMatchObject({
      id: 'nsc-0',
      networkServiceEndpointName: 'nse',
      payload: 'IP',
      mechanism: { type: 'KERNEL', cls: 'LOCAL' },
    });
    expect(mesh.objects).toBe(objects);
  });

  it('keeps ids, addresses, mechanism and Endpoint over refreshes', async () => {
    const client = nscOn(await start(nodeCount));
    const first = await client.established();
    await mesh.clock.advance(125_000);
    await mesh.clock.advance(125_000);
    const established = client.statuses('nsc-0').filter(({ phase }) => phase === 'established');
    expect(established.length).toBe(3);
    const last = await client.established();
    expect(last).not.toBe(first);
    expect(ids(last)).toEqual(ids(first));
    expect(last.context?.ipContext).toEqual(first.context?.ipContext);
    expect(last.networkServiceEndpointName).toBe('nse');
    expect(last.mechanism).toEqual(first.mechanism);
    expect(mesh.objects).toBe(objects);
  });

  it('is answered to each caller in that caller’s own view', async () => {
    const node = await start(nodeCount);
    const answer = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    expect(answer).toMatchObject({ id: 'hand-0', path: { index: 0 } });
    for (const [index, segment] of (answer.path?.pathSegments ?? []).entries()) {
      const url = urlOf(segment.name);
      if (url === undefined) continue;
      const stored = (await mesh.connectionsAt(url))[segment.id];
      expect(stored, segment.name).toMatchObject({ id: segment.id, path: { index } });
    }
    await mesh.run(mesh.close(node.managerUrl, answer));
  });

  it('is removed everywhere by a Close', async () => {
    const node = await start(nodeCount);
    const answer = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    await mesh.run(mesh.close(node.managerUrl, answer));
    expect(mesh.objects).toBe(0);
    for (const { name } of answer.path?.pathSegments ?? []) {
      const url = urlOf(name);
      if (url !== undefined) expect(await mesh.connectionsAt(url), name).toEqual({});
    }
  });

  it('answers a Close of what is unknown or closed with OK', async () => {
    const node = await start(nodeCount);
    const answer = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    await mesh.run(mesh.close(node.managerUrl, answer));
    await mesh.run(mesh.close(node.managerUrl, answer));
    const never = mesh.firstRequest('hand-1').connection;
    if (never !== undefined) await mesh.run(mesh.close(node.managerUrl, never));
    expect(mesh.objects).toBe(0);
  });

  it('keeps the addresses of a closed one for its client', async () => {
    const node = await start(nodeCount);
    const first = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    await mesh.run(mesh.close(node.managerUrl, first));
    const second = await mesh.run(mesh.request(node.managerUrl, mesh.firstRequest('hand-0')));
    expect(second.context?.ipContext?.srcIpAddrs).toEqual(first.context?.ipContext?.srcIpAddrs);
    await mesh.run(mesh.close(node.managerUrl, second));
  });
});

function nscOn(node: Node) {
  return mesh.addClient(node, 'nsc');
}

/** Where a component of the path serves; a client serves nowhere. */
function urlOf(name: string): string | undefined {
  if (name === 'nsc' || name === 'hand') return undefined;
  const node = name === 'nse' ? mesh.nodes.at(-1)?.name : name.replace(/^[a-z]+-/, '');
  return `memory:${node}/${name.startsWith('nsmgr') ? 'nsmgr' : name}`;
}
