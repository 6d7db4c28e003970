// Protects the end of an Endpoint that ends by itself: after a time without a connection and not before, with a clear
// refusal for whoever comes too late, and out of the registry in one of the two ways that it can be told to.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { createGate } from '../sandbox/gate.ts';
import { createMesh, type Mesh, type Node, type Part } from '../sandbox/in-process-mesh.ts';
import { lifetimeMs } from '../sandbox/mesh-calls.ts';

const idleMs = 15_000;

let mesh: Mesh;
let node: Node;
let nse: Part;
let ended: number;

beforeEach(async () => {
  mesh = await createMesh();
  [node] = mesh.nodes as [Node];
  ended = 0;
});

afterEach(() => mesh.end());

async function start(change: Parameters<Mesh['addEndpoint']>[2] = {}): Promise<void> {
  const idle = { timeoutMs: idleMs, onIdle: () => void (ended += 1) };
  nse = await mesh.addEndpoint(node, 'nse', { idle, ...change });
}

const connect = (id: string) =>
  mesh.run(mesh.request(node.managerUrl, mesh.firstRequest(id), { timeoutMs: lifetimeMs }));

it('an Endpoint that nobody asks for ends after its idle time, once', async () => {
  await start();
  await mesh.clock.advance(idleMs - 2_000);
  expect(ended).toBe(0);
  await mesh.clock.advance(10 * idleMs);
  expect(ended).toBe(1);
});

it('one that is connected does not, and has its whole idle time after the last one has left', async () => {
  await start();
  const [a, b] = [await connect('a'), await connect('b')];
  await mesh.clock.advance(4 * idleMs);
  await mesh.run(mesh.close(node.managerUrl, a));
  await mesh.clock.advance(4 * idleMs);
  expect(ended).toBe(0);
  await mesh.run(mesh.close(node.managerUrl, b));
  await mesh.clock.advance(idleMs - 1_000);
  const c = await connect('c');
  await mesh.clock.advance(idleMs);
  expect(ended).toBe(0);
  await mesh.run(mesh.close(node.managerUrl, c));
  await mesh.clock.advance(idleMs);
  expect(ended).toBe(1);
});

it('one whose last connection expires ends as well', async () => {
  await start();
  await connect('a');
  await mesh.clock.advance(lifetimeMs + idleMs);
  expect(ended).toBe(1);
});

it('a Request under way counts, however long it takes', async () => {
  const gate = createGate();
  gate.close();
  await start({
    async onRequest(connection) {
      await gate.pass();
      return connection;
    },
  });
  const answer = mesh.request(node.managerUrl, mesh.firstRequest('a'), { timeoutMs: lifetimeMs });
  await mesh.run(gate.arrival());
  await mesh.clock.advance(2 * idleMs);
  expect(ended).toBe(0);
  gate.open();
  await mesh.run(mesh.close(node.managerUrl, await mesh.run(answer)));
});

it('one that ends refuses who is new, names the reason, and the client is served by another', async () => {
  await start();
  await mesh.clock.advance(2 * idleMs);
  await expect(connect('late')).rejects.toMatchObject({
    message: expect.stringContaining('the Endpoint is ending and takes nobody new'),
  });
  await mesh.addEndpoint(node, 'another');
  const served = await connect('late');
  expect(served.networkServiceEndpointName).toBe('another');
  await mesh.run(mesh.close(node.managerUrl, served));
});

it('one that was told to stay in the registry leaves that to its manager, which sees it end', async () => {
  await start({ unregisters: false });
  await nse.stop();
  expect(await mesh.registeredEndpoints()).toContain('nse');
  await mesh.until(async () => !(await mesh.registeredEndpoints()).includes('nse'), 5_000);
});

it('one that unregisters is out of the registry before its process has ended', async () => {
  await start();
  await nse.stop();
  expect(await mesh.registeredEndpoints()).not.toContain('nse');
});
