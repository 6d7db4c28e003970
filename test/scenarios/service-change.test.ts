// Protects live clients when their Network Service changes (the reference's netsvcmonitor): they move to where its matches
// now send them without a restart, those whom it does not concern are not asked, and who would have nobody stays.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import { MatchSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';
import { type ScriptedClient, startScriptedClient } from '../sandbox/scripted-client.ts';

let mesh: Mesh;
let first: Node;
let last: Node;
const clients: ScriptedClient[] = [];

beforeEach(async () => {
  mesh = await createMesh(2);
  [first, last] = mesh.nodes as [Node, Node];
  await mesh.addEndpoint(first, 'nse-a', { labels: { app: 'a' } });
  await mesh.addEndpoint(last, 'nse-b', { labels: { app: 'b' }, cidr: '172.16.1.0/24' });
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await mesh.end();
});

/** Sends clients with that label there; `undefined`: all others. */
async function send(routes: Readonly<Record<string, string>>): Promise<void> {
  const matches = Object.entries(routes).map(([who, app]) =>
    create(MatchSchema, {
      sourceSelector: who === 'everybody' ? {} : { who },
      routes: [{ destinationSelector: { app } }],
    }),
  );
  await mesh.registerService({ matches });
}

async function client(id: string, who: string, options = {}): Promise<ScriptedClient> {
  const started = await startScriptedClient(mesh, {
    managerUrl: first.managerUrl,
    id,
    change: { labels: { who } },
    ...options,
  });
  clients.push(started);
  return started;
}

const at = ({ current }: ScriptedClient) => current.networkServiceEndpointName;

it('moves the clients that it sends elsewhere, and asks nobody else', async () => {
  await send({ everybody: 'a' });
  const hands = [await client('hand-0', 'x'), await client('hand-1', 'y')] as const;
  expect(hands.map(at)).toEqual(['nse-a', 'nse-a']);
  await send({ x: 'b', everybody: 'a' });
  await mesh.until(() => at(hands[0]) === 'nse-b', 5_000);
  await mesh.clock.advance(30_000);
  expect(hands.map(({ asked }) => asked)).toEqual([1, 0]);
  expect(hands[0].current.id).toBe('hand-0');
  expect(hands.map(({ state }) => state)).toEqual([State.UP, State.UP]);
});

it('moves a client of vwire, which keeps its interface', async () => {
  await send({ everybody: 'a' });
  const nsc = mesh.addClient(first, 'nsc');
  const before = await nsc.established();
  expect(before.networkServiceEndpointName).toBe('nse-a');
  const netns = before.mechanism?.parameters['inodeURL'] ?? '';
  const index = first.world.interfaceIn(netns, 'nsm-1')?.index;
  await send({ everybody: 'b' });
  await mesh.until(async () => {
    const { networkServiceEndpointName: name } = await nsc.established();
    return name === 'nse-b';
  }, 5_000);
  expect(first.world.interfaceIn(netns, 'nsm-1')?.index).toBe(index);
  expect(nsc.statuses('nsc-0').map(({ phase }) => phase)).not.toContain('healing');
});

it('leaves alone who would have nobody, and moves it once somebody is there', async () => {
  await send({ everybody: 'a' });
  const hand = await client('hand-0', 'x');
  await send({ everybody: 'c' });
  await mesh.clock.advance(60_000);
  expect(hand.asked).toBe(0);
  expect(mesh.objects).toBe(2);
  await mesh.addEndpoint(last, 'nse-c', {
    labels: { app: 'c' },
    cidr: '172.16.2.0/24',
    registerService: false,
  });
  await mesh.until(() => at(hand) === 'nse-c', 10_000);
});

it('taken back in time leaves everybody where they are', async () => {
  await send({ everybody: 'a' });
  const deaf = await client('hand-0', 'x', { isDeaf: true });
  await send({ everybody: 'b' });
  await mesh.until(() => deaf.state === State.RESELECT_REQUESTED, 5_000);
  await send({ everybody: 'a' });
  await mesh.until(() => deaf.state === State.UP, 15_000);
  await mesh.clock.advance(60_000);
  expect(mesh.objects).toBe(2);
});

it('closes a client that does not heed it after the grace, as the reference does at once', async () => {
  await send({ everybody: 'a' });
  const deaf = await client('hand-0', 'x', { isDeaf: true });
  await send({ everybody: 'b' });
  await mesh.until(() => deaf.state === State.RESELECT_REQUESTED, 5_000);
  await mesh.until(
    async () => Object.keys(await mesh.connectionsAt(first.managerUrl)).length === 0,
  );
  expect(mesh.objects).toBe(0);
});

it('that came while the manager was away moves its clients when it is back', async () => {
  await send({ everybody: 'a' });
  const { managerUrl } = first;
  const answer = await mesh.run(mesh.request(managerUrl, mesh.firstRequest('hand-0')));
  await first.manager.stop();
  await send({ everybody: 'b' });
  await first.manager.start();
  await mesh.until(async () => {
    const [connection] = Object.values(await mesh.connectionsAt(managerUrl));
    return connection?.state === State.RESELECT_REQUESTED;
  }, 15_000);
  await mesh.run(mesh.close(managerUrl, answer));
});

it('moves nobody when it is deleted or when only Endpoints come and go', async () => {
  await send({ everybody: 'a' });
  const hand = await client('hand-0', 'x');
  const gone = await mesh.addEndpoint(last, 'nse-a2', {
    labels: { app: 'a' },
    cidr: '172.16.3.0/24',
    registerService: false,
  });
  await gone.stop();
  await mesh.clock.advance(30_000);
  expect(hand.asked).toBe(0);
});
