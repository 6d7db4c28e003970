// Protects the reselect, named after the reference's own cases: it works after any part of the control plane has been
// started again, the way that works is kept where another one is not to be had, and nothing depends on a registry.

import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import { type Connection, State } from '../../protocols/nsm/gen/connection_pb.ts';
import { Draining, DrainRequestSchema } from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import {
  type ClientPart,
  createMesh,
  type Mesh,
  type Node,
  type Part,
} from '../sandbox/in-process-mesh.ts';
import { createGate } from '../sandbox/gate.ts';
import { simulatedLiveness } from '../sandbox/simulated-probes.ts';

let mesh: Mesh;
let near: Node;
let far: Node;
let nse: Part;
let nseNetns: string;

const places = [
  { where: 'local', nodes: 1 },
  { where: 'remote', nodes: 2 },
] as const;

afterEach(() => mesh.end());

async function start(nodes: number): Promise<void> {
  mesh = await createMesh(nodes);
  [near, far] = [mesh.nodes[0], mesh.nodes.at(-1)] as [Node, Node];
  nseNetns = mesh.newNamespace();
  nse = await mesh.addEndpoint(far, 'nse', { netns: nseNetns });
}

async function addClient(): Promise<ClientPart> {
  const client = mesh.addClient(near, 'nsc', undefined, { liveness: simulatedLiveness(mesh) });
  await client.established();
  await mesh.clock.advance(500);
  return client;
}

const addSpare = (node = near) => mesh.addEndpoint(node, 'spare', { cidr: '172.16.1.0/24' });
const endpointOf = (each: Connection) => each.networkServiceEndpointName;
const interfaceOf = ({ mechanism }: Connection) =>
  near.world.interfaceIn(mechanism?.parameters['inodeURL'] ?? '', 'nsm-1');

async function expectMoves(client: ClientPart): Promise<void> {
  const before = await client.established();
  const held = interfaceOf(before);
  far.world.removeNamespace(nseNetns);
  await mesh.cutOff(nse);
  await mesh.clock.advance(500);
  const after = await client.established();
  expect(endpointOf(after)).toBe('spare');
  expect(interfaceOf(after)?.index).toBe(held?.index);
  expect(mesh.objects).toBe(2);
}

describe.each(places)('reselect, $where', ({ nodes }) => {
  it('after a restart of the manager', async () => {
    await start(nodes);
    const client = await addClient();
    await near.manager.stop();
    await near.manager.start();
    await mesh.until(() => client.phase() === 'established');
    await mesh.clock.advance(10_000);
    await addSpare();
    await expectMoves(client);
  });

  it('after a restart of the local forwarder', async () => {
    await start(nodes);
    const client = await addClient();
    await near.forwarders[0]?.stop();
    await near.forwarders[0]?.start();
    await mesh.until(() => client.phase() === 'established');
    await mesh.clock.advance(10_000);
    await addSpare();
    await expectMoves(client);
  });

  it('leaves for another Endpoint each time', async () => {
    await start(nodes);
    await addSpare();
    const request = mesh.refreshOf(
      await mesh.run(mesh.request(near.managerUrl, mesh.firstRequest('hand-0'))),
    );
    let known = request.connection;
    const seen: string[] = [];
    for (let turn = 0; turn < 6; turn += 1) {
      if (known === undefined) throw new Error('no connection');
      const asked = { ...known, networkServiceEndpointName: '', state: State.RESELECT_REQUESTED };
      known = await mesh.run(mesh.request(near.managerUrl, mesh.refreshOf(asked)));
      seen.push(endpointOf(known));
    }
    for (const [at, name] of seen.slice(1).entries()) expect(name).not.toBe(seen[at]);
    if (known !== undefined) await mesh.run(mesh.close(near.managerUrl, known));
  });

  it('whose answer was lost and is repeated holds one connection of the Endpoint, with its addresses', async () => {
    await start(nodes);
    const first = await mesh.run(mesh.request(near.managerUrl, mesh.firstRequest('hand-0')));
    const spare = await mesh.addEndpoint(far, 'spare', { cidr: '172.16.1.0/24' });
    await mesh.cutOff(nse);
    const ask = () =>
      mesh.run(
        mesh.request(
          near.managerUrl,
          mesh.refreshOf({
            ...first,
            networkServiceEndpointName: '',
            state: State.RESELECT_REQUESTED,
          }),
        ),
      );
    const lost = await ask();
    const again = await ask();
    expect(endpointOf(again)).toBe('spare');
    expect(again.context?.ipContext).toEqual(lost.context?.ipContext);
    expect(Object.keys(await mesh.connectionsAt(spare.url))).toEqual([
      lost.path?.pathSegments.at(-1)?.id,
    ]);
    await mesh.run(mesh.close(near.managerUrl, again));
  });

  it('that finds no other Endpoint leaves what works, at every hop, and says nothing of it', async () => {
    let refuses = false;
    await start(nodes);
    await nse.stop();
    await mesh.addEndpoint(far, 'refusing', {
      onRequest(asked) {
        if (refuses) throw new Error('no');
        return asked;
      },
    });
    const first = await mesh.run(mesh.request(near.managerUrl, mesh.firstRequest('hand-0')));
    refuses = true;
    const asked = mesh.refreshOf({
      ...first,
      networkServiceEndpointName: '',
      state: State.RESELECT_REQUESTED,
    });
    await expect(mesh.run(mesh.request(near.managerUrl, asked))).rejects.toThrow();
    await mesh.clock.advance(1_000);
    expect(mesh.objects).toBe(2 * nodes);
    const hops = [near.managerUrl, far.managerUrl, ...mesh.nodes.map((each) => forwarderOf(each))];
    for (const url of hops) {
      const [held] = Object.values(await mesh.connectionsAt(url));
      expect(held, url).toMatchObject({
        state: State.UP,
        networkServiceEndpointName: 'refusing',
      });
    }
    refuses = false;
    const refreshed = await mesh.run(mesh.request(near.managerUrl, mesh.refreshOf(first)));
    await mesh.run(mesh.close(near.managerUrl, refreshed));
  });

  it('of an Endpoint that drains: the client moves without healing, and back', async () => {
    await start(nodes);
    const client = await addClient();
    const held = interfaceOf(await client.established());
    await addSpare();
    const drain = (endpoint: string, undo: boolean) => {
      const draining = mesh.dialer.dial(near.managerUrl).client(Draining);
      const request = create(DrainRequestSchema, { endpoint, undo });
      return mesh.run(draining.drain(request, { timeoutMs: 5_000 }));
    };
    const isAt = (name: string) =>
      mesh.until(async () => endpointOf(await client.established()) === name, 8_000);
    await drain('nse', false);
    await isAt('spare');
    await drain('nse', true);
    await drain('spare', false);
    await isAt('nse');
    await mesh.clock.advance(20_000);
    expect(client.statuses('nsc-0').map(({ phase }) => phase)).not.toContain('healing');
    expect(interfaceOf(await client.established())?.index).toBe(held?.index);
    await drain('spare', true);
  });

  it('close with the registry dead: nothing is left', async () => {
    await start(nodes);
    const client = await addClient();
    await mesh.stopRegistry();
    await client.stop();
    await mesh.clock.advance(1_000);
    expect(mesh.objects).toBe(0);
    await mesh.startRegistry();
    await mesh.clock.advance(90_000);
  });

  it('forwarder choice after a restart of the manager: the one that holds the wire', async () => {
    await start(nodes);
    const client = await addClient();
    const before = await client.established();
    const holder = before.path?.pathSegments[2]?.name;
    for (const name of ['a-forwarder', 'z-forwarder']) await mesh.addForwarder(near, { name });
    await near.manager.stop();
    await near.manager.start();
    await mesh.until(() => client.phase() === 'established');
    await mesh.clock.advance(10_000);
    expect((await client.established()).path?.pathSegments[2]?.name).toBe(holder);
    await addSpare();
    await expectMoves(client);
    expect((await client.established()).path?.pathSegments[2]?.name).toBe(holder);
  });

  it('endpoint created during the request: the next try finds it', async () => {
    mesh = await createMesh(nodes);
    [near, far] = [mesh.nodes[0], mesh.nodes.at(-1)] as [Node, Node];
    const gate = createGate();
    gate.close();
    await mesh.addEndpoint(far, 'refusing', {
      async onRequest() {
        await gate.pass();
        throw new Error('not me');
      },
    });
    const client = mesh.addClient(near, 'nsc');
    await mesh.run(gate.arrival());
    await addSpare();
    gate.open();
    expect(endpointOf(await client.established())).toBe('spare');
  });
});

const forwarderOf = ({ forwarders }: Node): string => forwarders[0]?.url ?? '';
