// Protects a wire from whoever changes it by hand: what is vwire's own is put back within 200 ms, at once or at the next
// look, nobody is told that the connection is down, the workload's own doings stay, and what cannot be explained is not
// touched.

import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import type { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import {
  Inspection,
  type StatusReply,
  StatusRequestSchema,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import {
  createMesh,
  type ForwarderPart,
  type Mesh,
  type Node,
} from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;

afterEach(() => mesh.end());

/** A client on the first node and an Endpoint on the last, with a wire between them. */
async function connect(nodeCount: number) {
  mesh = await createMesh(nodeCount);
  const [near, far] = [mesh.nodes[0], mesh.nodes.at(-1)] as [Node, Node];
  await mesh.addEndpoint(far, 'nse');
  const client = mesh.addClient(near, 'nsc');
  const { mechanism } = await client.established();
  const netns = mechanism?.parameters['inodeURL'] ?? '';
  const seen = () => near.world.interfaceIn(netns, 'nsm-1');
  return { near, far, client, netns, seen };
}

const ownerOf = (node: Node) => `mesh forwarder-${node.name}`;

function wireAt(node: Node): { readonly id: string; readonly world: SimulatedWorld } {
  const [id = ''] = node.world.wiresOf(ownerOf(node)).keys();
  return { id, world: node.world };
}

const isWhole = (node: Node): boolean =>
  [...node.world.wiresOf(ownerOf(node)).values()].every(
    ({ client, endpoint, isJoined }) =>
      isJoined && [client, endpoint].every((end) => end !== undefined && end.harm === undefined),
  );

const status = (node: Node): Promise<StatusReply> => {
  const [forwarder] = node.forwarders as [ForwarderPart];
  const client = mesh.dialer.dial(forwarder.url).client(Inspection);
  return mesh.run(client.status(create(StatusRequestSchema), { timeoutMs: 1_000 }));
};

describe.each([1, 2])('what somebody else does to a wire, on %i nodes', (nodeCount) => {
  it.each(['near', 'far'] as const)('is put back at once on the %s node', async (where) => {
    const made = await connect(nodeCount);
    const { client, seen } = made;
    const node = made[where];
    const before = seen();
    const { id, world } = wireAt(node);
    const deeds = [
      () => world.unjoin(ownerOf(node), id),
      () => world.harmEnd(ownerOf(node), id, 'endpoint', 'down'),
      () => world.deleteEnd(ownerOf(node), id, 'endpoint'),
    ];
    for (const deed of deeds) {
      deed();
      expect(isWhole(node)).toBe(false);
      await mesh.clock.advance(200);
      expect(isWhole(node)).toBe(true);
    }
    expect(seen()).toEqual(before);
    expect(client.statuses('nsc-0').map(({ phase }) => phase)).not.toContain('healing');
    const { repairs, lastRepair } = await status(node);
    expect([repairs, lastRepair?.connectionId]).toEqual([3, id]);
    expect(lastRepair?.found).not.toEqual([]);
  });

  it('the interface of a client that lives is made again as it was', async () => {
    const { near, client, seen } = await connect(nodeCount);
    const before = seen();
    const { id, world } = wireAt(near);
    world.deleteEnd(ownerOf(near), id, 'client');
    expect(seen()).toBeUndefined();
    await mesh.clock.advance(200);
    expect(seen()).toEqual({ ...before, index: expect.any(Number) });
    expect(client.phase()).toBe('established');
  });

  it('takes the wire with it where it is the end of the namespace of the client', async () => {
    const { near, far, netns } = await connect(nodeCount);
    near.world.removeNamespace(netns);
    await mesh.clock.advance(1_000);
    for (const node of [near, far]) {
      const [forwarder] = node.forwarders as [ForwarderPart];
      expect(await mesh.connectionsAt(forwarder.url)).toEqual({});
    }
  });
});

describe('a look over all wires', () => {
  it('finds what no event told of, and leaves the workload’s own doings alone', async () => {
    const { near, netns, seen } = await connect(1);
    near.world.setInterfaceUp(netns, 'nsm-1', false);
    const { id, world } = wireAt(near);
    const wires = world.wiresOf(ownerOf(near));
    const wire = wires.get(id);
    if (wire === undefined) throw new Error('there is no wire');
    wires.set(id, { ...wire, isJoined: false });
    await mesh.clock.advance(10_000);
    expect(isWhole(near)).toBe(false);
    await mesh.clock.advance(30_000);
    expect(isWhole(near)).toBe(true);
    expect(seen()?.isUp).toBe(false);
    expect((await status(near)).repairs).toBe(1);
  });

  it('quarantines what nothing explains, and nothing that is just being made', async () => {
    const { near, client } = await connect(1);
    const { id, world } = wireAt(near);
    const wires = world.wiresOf(ownerOf(near));
    const wire = wires.get(id);
    if (wire === undefined) throw new Error('there is no wire');
    wires.set('stray', wire);
    await mesh.clock.advance(35_000);
    expect((await status(near)).quarantined).toEqual([]);
    await mesh.clock.advance(35_000);
    expect((await status(near)).quarantined).toEqual(['stray']);
    expect(client.phase()).toBe('established');
    wires.delete('stray');
    await mesh.clock.advance(35_000);
    expect((await status(near)).quarantined).toEqual([]);
  });
});
