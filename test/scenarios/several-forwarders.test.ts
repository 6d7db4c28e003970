// Protects a node with several forwarders: new wires go to who makes what is asked for and carries least, a wire stays
// where it is, and one that is gone for good costs nobody anything but its own wires a moment: they go on through another
// one, behind the same interface, and what it left is cleaned up when it comes back.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Connection, Path, PathSegment } from '../../protocols/nsm/gen/connection_pb.ts';
import { memifMechanism } from '../../protocols/nsm/memif-mechanism.ts';
import {
  type ClientPart,
  createMesh,
  type ForwarderPart,
  type Mesh,
  type Node,
} from '../sandbox/in-process-mesh.ts';
import { simulatedLiveness } from '../sandbox/simulated-probes.ts';

let mesh: Mesh;
let near: Node;
let far: Node;
let answers: Connection[];

beforeEach(async () => {
  mesh = await createMesh(2);
  [near, far] = mesh.nodes as [Node, Node];
  answers = [];
});

afterEach(async () => {
  for (const connection of answers) await mesh.run(mesh.close(near.managerUrl, connection));
  await mesh.end();
});

const forwarderOf = (connection: Connection, at = 2) => connection.path?.pathSegments[at]?.name;
const endpointIdOf = (connection: Connection) => connection.path?.pathSegments.at(-1)?.id;
const memif = () => [memifMechanism({ inodeUrl: mesh.newNamespace() })];

async function request(id: string, preferences?: ReturnType<typeof memif>): Promise<Connection> {
  const asked = mesh.firstRequest(id);
  if (preferences !== undefined) asked.mechanismPreferences = preferences;
  const connection = await mesh.run(mesh.request(near.managerUrl, asked));
  answers.push(connection);
  return connection;
}

describe('new wires', () => {
  it('go to the forwarder with the fewest, also those that are asked for at the same time', async () => {
    await mesh.addEndpoint(near, 'nse');
    await mesh.addForwarder(near, { name: 'forwarder-b' });
    const asked = Array.from({ length: 6 }, (_, index) => request(`hand-${index}`));
    const chosen = (await Promise.all(asked)).map((each) => forwarderOf(each));
    expect(chosen.filter((name) => name === 'forwarder-b')).toHaveLength(3);
    const [left] = answers.splice(chosen.indexOf('forwarder-b'), 1);
    if (left !== undefined) await mesh.run(mesh.close(near.managerUrl, left));
    expect(forwarderOf(await request('hand-next'))).toBe('forwarder-b');
  });

  it('stay where they are, whatever else comes and goes', async () => {
    await mesh.addEndpoint(near, 'nse');
    const connections = [await request('hand-0'), await request('hand-1')];
    await mesh.addForwarder(near, { name: 'forwarder-b' });
    await near.manager.stop();
    await near.manager.start();
    await mesh.until(async () => {
      const refreshed = mesh.request(near.managerUrl, mesh.refreshOf(connections[0] as Connection));
      return (await mesh.run(refreshed.catch(() => undefined))) !== undefined;
    });
    for (const connection of connections) {
      const again = await mesh.run(mesh.request(near.managerUrl, mesh.refreshOf(connection)));
      expect(forwarderOf(again)).toBe('forwarder-node-1');
    }
  });

  it('go to who makes the mechanism that they ask for, without asking anybody else', async () => {
    await mesh.addEndpoint(near, 'nse', { payload: 'ETHERNET' });
    await mesh.addForwarder(near, {
      name: 'forwarder-vpp',
      mechanisms: ['KERNEL', 'MEMIF', 'VXLAN'],
    });
    expect(forwarderOf(await request('hand-0'))).toBe('forwarder-node-1');
    expect(forwarderOf(await request('hand-1'))).toBe('forwarder-vpp');
    for (const id of ['hand-2', 'hand-3']) {
      const connection = await request(id, memif());
      expect(forwarderOf(connection)).toBe('forwarder-vpp');
      const [, choice] = await mesh.decisionsAt(near.managerUrl, id);
      expect(choice?.verdicts).toMatchObject([
        { name: 'forwarder-vpp', verdict: 'taken' },
        { name: 'forwarder-node-1', verdict: 'inReserve', reason: 'makes no MEMIF' },
      ]);
    }
    expect(forwarderOf(await request('hand-4'))).toBe('forwarder-node-1');
  });

  it('that nobody makes are refused once, with each forwarder and its reason', async () => {
    await mesh.addEndpoint(near, 'nse');
    await mesh.addForwarder(near, { name: 'forwarder-b' });
    await expect(request('hand-0', memif())).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: {
        hop: 'nsmgr-node-1',
        rule: 'try-in-order',
        found: expect.stringMatching(/forwarder-[^:]*: .*MEMIF.* \| forwarder-[^:]*: .*MEMIF/s),
      },
    });
    expect(mesh.objects).toBe(0);
  });

  it('go on to the next one where the first refuses', async () => {
    await mesh.addEndpoint(near, 'nse');
    await mesh.addForwarder(near, { name: 'a-broken-one', fault: () => 'fail' });
    for (const id of ['hand-0', 'hand-1']) {
      expect(forwarderOf(await request(id))).toBe('forwarder-node-1');
    }
    expect(mesh.objects).toBe(4);
  });
});

interface Wire {
  readonly client: ClientPart;
  readonly connection: Connection;
}

describe.each([
  ['of the client’s node', 'near'],
  ['of the Endpoint’s node', 'far'],
] as const)('a forwarder %s that is gone for good', (_, where) => {
  const node = () => (where === 'near' ? near : far);
  /** Place of that node's forwarder in the path. */
  const at = where === 'near' ? 2 : 4;
  let first: ForwarderPart;
  let wires: Wire[];

  /** Two clients, one through each forwarder. */
  beforeEach(async () => {
    await mesh.addEndpoint(far, 'nse');
    first = node().forwarders[0] as ForwarderPart;
    await mesh.addForwarder(node(), { name: 'forwarder-b' });
    wires = [];
    for (const name of ['nsc-a', 'nsc-b']) {
      const client = mesh.addClient(near, name, ['kernel://service/nsm-1'], {
        liveness: simulatedLiveness(mesh, () => 'answered'),
      });
      wires.push({ client, connection: await client.established() });
    }
    await mesh.clock.advance(1_000);
    expect(new Set(wires.map(({ connection }) => forwarderOf(connection, at)))).toEqual(
      new Set(['forwarder-b', first.name]),
    );
  });

  const throughFirst = () =>
    wires.find(({ connection }) => forwarderOf(connection, at) === first.name) as Wire;
  const throughOther = () => wires.find((each) => each !== throughFirst()) as Wire;
  const interfaceOf = ({ connection }: Wire) =>
    near.world.interfaceIn(connection.mechanism?.parameters['inodeURL'] ?? '', 'nsm-1');

  it.each(['unregisters', 'is cut off'])('and %s: its wires alone move', async (how) => {
    const { client, connection } = throughFirst();
    const before = interfaceOf(throughFirst());
    const quiet = throughOther().client.statuses(throughOther().connection.id).length;
    if (how === 'unregisters') await first.stop();
    else await mesh.cutOff(first);
    await mesh.until(() => client.phase(connection.id) === 'healing');
    await mesh.until(() => client.phase(connection.id) === 'established');
    const moved = await client.established(connection.id);
    expect(forwarderOf(moved, at)).toBe('forwarder-b');
    expect(interfaceOf(throughFirst())).toEqual(before);
    expect(endpointIdOf(moved)).toBe(endpointIdOf(connection));
    expect(moved.context?.ipContext?.srcIpAddrs).toEqual(connection.context?.ipContext?.srcIpAddrs);
    expect(mesh.objects).toBe(8);
    expect(throughOther().client.statuses(throughOther().connection.id)).toHaveLength(quiet);
    if (how === 'is cut off') await first.stop();
  });

  it('leaves nothing when it comes back, and touches nobody’s wire', async () => {
    const { client, connection } = throughFirst();
    const before = wires.map(interfaceOf);
    await first.stop();
    await mesh.until(() => client.phase(connection.id) === 'healing');
    const { id } = await client.established(connection.id);
    const heard = wires.map((wire) => wire.client.statuses(wire.connection.id).length);
    await first.start();
    await mesh.clock.advance(30_000);
    expect(wires.map((wire) => wire.client.statuses(wire.connection.id).length)).toEqual(heard);
    expect(await mesh.connectionsAt(first.url)).toEqual({});
    expect(mesh.objects).toBe(8);
    expect(wires.map(interfaceOf)).toEqual(before);
    for (const wire of wires) expect(wire.client.phase(wire.connection.id)).toBe('established');
    expect(forwarderOf(await client.established(id), at)).toBe('forwarder-b');
    await client.stop();
    expect(mesh.objects).toBe(4);
  });

  it('and comes back in time keeps its wires', async () => {
    const { client, connection } = throughFirst();
    const before = interfaceOf(throughFirst());
    await first.stop();
    await mesh.clock.advance(2_000);
    await first.start();
    await mesh.until(() => client.phase(connection.id) === 'established');
    expect(forwarderOf(await client.established(connection.id), at)).toBe(first.name);
    expect(interfaceOf(throughFirst())).toEqual(before);
  });
});

it('a hop that another one has taken the place of closes nothing behind itself', async () => {
  const endpoint = await mesh.addEndpoint(near, 'nse');
  const first = near.forwarders[0] as ForwarderPart;
  const client = mesh.addClient(near, 'nsc');
  const connection = await client.established();
  const other = await mesh.addForwarder(near, { name: 'forwarder-b' });
  await mesh.cutOff(first);
  await mesh.until(() => client.phase() === 'healing');
  await client.established();
  const path = connection.path as Path;
  const { id } = path.pathSegments[2] as PathSegment;
  // As the first forwarder sends it, late.
  await mesh.run(mesh.close(endpoint.url, { ...connection, id, path: { ...path, index: 2 } }));
  for (const { url } of [endpoint, other]) {
    expect(Object.keys(await mesh.connectionsAt(url))).toHaveLength(1);
  }
  await first.stop();
});
