// Protects draining: clients of a draining Endpoint or node move to others without losing their connection, no new one
// comes, who has nowhere to go stays and is named, a client that cannot be asked is closed and heals, and all of it lasts
// over restarts until it is taken back.

import { create } from '@bufbuild/protobuf';
import { afterEach, expect, it } from 'vitest';
import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  Draining,
  type DrainReply,
  DrainRequestSchema,
} from '../../protocols/nsm/gen/vwire_drain_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';
import { callMs } from '../sandbox/mesh-calls.ts';
import { type ScriptedClient, startScriptedClient } from '../sandbox/scripted-client.ts';

let mesh: Mesh;
const clients: ScriptedClient[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await mesh.end();
});

async function start(nodeCount: number): Promise<readonly [Node, Node]> {
  mesh = await createMesh(nodeCount, { leases: true });
  const [first, last] = [mesh.nodes[0], mesh.nodes.at(-1)];
  if (first === undefined || last === undefined) throw new Error('nodes');
  return [first, last];
}

const other = { cidr: '172.16.1.0/24' };

function drain(
  node: Node,
  what: { endpoint?: string; node?: string; undo?: boolean },
): Promise<DrainReply> {
  const client = mesh.dialer.dial(node.managerUrl).client(Draining);
  return mesh.run(client.drain(create(DrainRequestSchema, what), { timeoutMs: callMs }));
}

async function client(node: Node, id: string, options = {}): Promise<ScriptedClient> {
  const started = await startScriptedClient(mesh, { managerUrl: node.managerUrl, id, ...options });
  clients.push(started);
  return started;
}

const left = (reply: DrainReply) => reply.endpoints.map((each) => each.connectionsLeft);

it('of an Endpoint moves its clients from another node to the one here, and back', async () => {
  const [first, last] = await start(2);
  await mesh.addEndpoint(last, 'nse-far');
  const hand = await client(first, 'hand-0');
  await mesh.addEndpoint(first, 'nse-near', other);
  // Asked at the client's node: the manager of the Endpoint is found through the registry.
  await drain(first, { endpoint: 'nse-far' });
  await mesh.until(() => hand.endpoints.length === 2, 5_000);
  expect(hand.endpoints).toEqual(['nse-far', 'nse-near']);
  await mesh.until(async () => left(await drain(first, { endpoint: 'nse-far' }))[0] === 0, 5_000);
  expect(mesh.objects).toBe(2);
  await drain(first, { endpoint: 'nse-far', undo: true });
  await drain(first, { endpoint: 'nse-near' });
  await mesh.until(() => hand.endpoints.length === 3, 5_000);
  expect(hand.current.networkServiceEndpointName).toBe('nse-far');
  expect(hand.current.id).toBe('hand-0');
});

it('keeps new clients away, over a refresh of the Endpoint and a restart of its manager', async () => {
  const [first] = await start(1);
  await mesh.addEndpoint(first, 'nse-1');
  await mesh.addEndpoint(first, 'nse-2', other);
  await drain(first, { endpoint: 'nse-1' });
  await mesh.clock.advance(90_000);
  await first.manager.stop();
  await first.manager.start();
  await mesh.clock.advance(10_000);
  for (let index = 0; index < 4; index += 1) {
    const hand = await client(first, `hand-${index}`);
    expect(hand.current.networkServiceEndpointName).toBe('nse-2');
  }
  await drain(first, { endpoint: 'nse-1', undo: true });
  const hands = [await client(first, 'hand-8'), await client(first, 'hand-9')];
  expect(hands.map(({ current }) => current.networkServiceEndpointName)).toContain('nse-1');
});

it('leaves in peace who has nowhere to go, says so, and moves it once somebody is there', async () => {
  const [first, last] = await start(2);
  await mesh.addEndpoint(last, 'nse-far');
  const hand = await client(first, 'hand-0');
  await drain(first, { endpoint: 'nse-far' });
  await mesh.clock.advance(60_000);
  expect(hand.asked).toBe(0);
  const [endpoint] = (await drain(first, { endpoint: 'nse-far' })).endpoints;
  expect(endpoint).toMatchObject({
    name: 'nse-far',
    connectionsLeft: 1,
    connections: [{ id: 'hand-0', client: 'hand', phase: 'stuck' }],
  });
  expect(endpoint?.connections[0]?.why).toMatch(/no other Endpoint of service fits/);
  await mesh.addEndpoint(first, 'nse-near', other);
  await mesh.until(() => hand.endpoints.length === 2, 10_000);
  expect(hand.current.networkServiceEndpointName).toBe('nse-near');
});

it('closes a client that does not heed it after the grace, once', async () => {
  const [first, last] = await start(2);
  await mesh.addEndpoint(last, 'nse-far');
  const deaf = await client(first, 'hand-0', { isDeaf: true });
  await mesh.addEndpoint(first, 'nse-near', other);
  await drain(first, { endpoint: 'nse-far' });
  await mesh.clock.advance(9_000);
  expect(deaf.state).toBe(State.RESELECT_REQUESTED);
  expect(mesh.objects).toBe(4);
  await mesh.until(() => deaf.state === State.DOWN, 5_000);
  // It comes back to where it was, as one that asks for an Endpoint by name.
  const again = mesh.refreshOf({ ...deaf.current, state: State.UP });
  await mesh.run(mesh.request(first.managerUrl, again));
  await mesh.clock.advance(60_000);
  const [endpoint] = (await drain(first, { endpoint: 'nse-far' })).endpoints;
  expect(endpoint?.connections).toMatchObject([{ phase: 'stuck' }]);
  expect(endpoint?.connections[0]?.why).toMatch(/came back/);
  expect(deaf.state).toBe(State.UP);
});

it('a client of vwire that is refused elsewhere keeps its wire, and moves once it is taken', async () => {
  const [first, last] = await start(2);
  await mesh.addEndpoint(last, 'nse-far');
  const nsc = mesh.addClient(first, 'nsc');
  await nsc.established();
  let isFull = true;
  await mesh.addEndpoint(first, 'nse-near', {
    ...other,
    onRequest(connection) {
      if (isFull) throw new Error('this Endpoint is full');
      return connection;
    },
  });
  await drain(first, { endpoint: 'nse-far' });
  await mesh.clock.advance(120_000);
  const phases = nsc.statuses('nsc-0').map(({ phase }) => phase);
  expect(phases).not.toContain('healing');
  expect((await nsc.established()).networkServiceEndpointName).toBe('nse-far');
  isFull = false;
  await mesh.until(async () => {
    const { networkServiceEndpointName: name } = await nsc.established();
    return name === 'nse-near';
  }, 20_000);
  await mesh.until(async () => left(await drain(first, { endpoint: 'nse-far' }))[0] === 0, 5_000);
});

it('taken back in time leaves everybody where they are', async () => {
  const [first, last] = await start(2);
  await mesh.addEndpoint(last, 'nse-far');
  const deaf = await client(first, 'hand-0', { isDeaf: true });
  await mesh.addEndpoint(first, 'nse-near', other);
  await drain(first, { endpoint: 'nse-far' });
  await mesh.until(() => deaf.state === State.RESELECT_REQUESTED, 5_000);
  await drain(first, { endpoint: 'nse-far', undo: true });
  await mesh.until(() => deaf.state === State.UP, 5_000);
  await mesh.clock.advance(60_000);
  expect(deaf.state).toBe(State.UP);
  expect(mesh.objects).toBe(4);
});

it('of a node moves all of its Endpoints’ clients, and takes no new Endpoint of it', async () => {
  const [first, last] = await start(2);
  await mesh.addEndpoint(last, 'nse-a');
  await mesh.addEndpoint(last, 'nse-b', other);
  const hands = [await client(first, 'hand-0'), await client(first, 'hand-1')];
  await mesh.addEndpoint(first, 'nse-near', { cidr: '172.16.2.0/24' });
  const reply = await drain(first, { node: 'node-2' });
  expect(reply).toMatchObject({ manager: 'nsmgr-node-2', node: 'node-2' });
  expect(reply.endpoints.map(({ name }) => name)).toEqual(['nse-a', 'nse-b']);
  await mesh.until(() => hands.every(({ endpoints }) => endpoints.at(-1) === 'nse-near'), 5_000);
  await mesh.addEndpoint(last, 'nse-new', { cidr: '172.16.3.0/24' });
  for (let index = 2; index < 6; index += 1) {
    const hand = await client(first, `hand-${index}`);
    expect(hand.current.networkServiceEndpointName).toBe('nse-near');
  }
  expect(left(await drain(first, { node: 'node-2', undo: true }))).toEqual([0, 0, 0]);
  const back = await client(last, 'hand-7', {
    change: { networkServiceEndpointName: 'nse-new' },
  });
  expect(back.current.networkServiceEndpointName).toBe('nse-new');
});

it('of what is not there is refused, and says where to look', async () => {
  const [first] = await start(1);
  await expect(drain(first, { endpoint: 'nobody' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    details: { remedy: expect.stringContaining('vwire get endpoints') },
  });
  await expect(drain(first, { node: 'nowhere' })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(drain(first, {})).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
