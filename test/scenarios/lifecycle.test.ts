// Protects what ends a connection and in which order things happen to it: expiry without the client, one operation
// at a time per connection, and a caller that gives up mid-way. Through whole chains, not at one hop.

import { afterEach, describe, expect, it } from 'vitest';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';
import { createGate, type Gate } from '../sandbox/gate.ts';
import { settle } from '../sandbox/manual-clock.ts';

let mesh: Mesh;
let gate: Gate;

afterEach(() => mesh.end());

/** Two nodes; the Endpoint on the second lets a Request pass when its gate is open. Returns the client's manager. */
async function start(): Promise<string> {
  mesh = await createMesh(2);
  gate = createGate();
  const [first, second] = mesh.nodes as [Node, Node];
  await mesh.addEndpoint(second, 'nse', {
    async onRequest(connection) {
      await gate.pass();
      return connection;
    },
  });
  return first.managerUrl;
}

const hops = [
  'memory:node-1/nsmgr',
  'memory:node-1/forwarder-node-1',
  'memory:node-2/nsmgr',
  'memory:node-2/forwarder-node-2',
  'memory:node-2/nse',
];

async function connectionCounts(): Promise<readonly number[]> {
  const counts: number[] = [];
  for (const url of hops) counts.push(Object.keys(await mesh.connectionsAt(url)).length);
  return counts;
}

describe('a connection that nobody refreshes', () => {
  it('is closed along the whole chain when it expires', async () => {
    const manager = await start();
    await mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));
    expect(mesh.objects).toBe(4);
    // Lifetime of 10 min less the 15 s of the call.
    await mesh.clock.advance(580_000);
    expect(await connectionCounts()).toEqual([1, 1, 1, 1, 1]);
    await mesh.clock.advance(6_000);
    expect(await connectionCounts()).toEqual([0, 0, 0, 0, 0]);
    expect(mesh.objects).toBe(0);
  });

  it('lives on for its whole time after each refresh', async () => {
    const manager = await start();
    const answer = await mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));
    await mesh.clock.advance(500_000);
    const refreshed = await mesh.run(mesh.request(manager, mesh.refreshOf(answer)));
    await mesh.clock.advance(500_000);
    expect(await connectionCounts()).toEqual([1, 1, 1, 1, 1]);
    await mesh.run(mesh.close(manager, refreshed));
  });
});

describe('operations on one connection', () => {
  it('let a Close wait for the Request before it, and leave nothing', async () => {
    const manager = await start();
    const answer = await mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));
    gate.close();
    const order: string[] = [];
    const refresh = mesh
      .request(manager, mesh.refreshOf(answer))
      .then(() => order.push('refreshed'));
    await mesh.run(gate.arrival());
    const close = mesh.close(manager, answer).then(() => order.push('closed'));
    await settle();
    expect(order).toEqual([]);
    gate.open();
    await mesh.run(Promise.all([refresh, close]));
    expect(order).toEqual(['refreshed', 'closed']);
    expect(await connectionCounts()).toEqual([0, 0, 0, 0, 0]);
    expect(mesh.objects).toBe(0);
  });

  it('let a second Request wait for the first', async () => {
    const manager = await start();
    const answer = await mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));
    gate.close();
    const refreshes = [1, 2].map(() => mesh.request(manager, mesh.refreshOf(answer)));
    await mesh.run(gate.arrival());
    await settle();
    expect(gate.waiting).toBe(1);
    gate.open();
    const [first, second] = await mesh.run(Promise.all(refreshes));
    expect(second?.path?.pathSegments.map(({ id }) => id)).toEqual(
      first?.path?.pathSegments.map(({ id }) => id),
    );
    expect(gate.mostWaiting).toBe(1);
    await mesh.run(mesh.close(manager, answer));
  });

  it('do not hold up another connection', async () => {
    const manager = await start();
    const answer = await mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));
    gate.close();
    const refresh = mesh.request(manager, mesh.refreshOf(answer));
    await mesh.run(gate.arrival());
    const other = mesh.request(manager, mesh.firstRequest('hand-1'));
    await mesh.run(gate.arrival(2));
    expect(gate.waiting).toBe(2);
    gate.open();
    const answers = await mesh.run(Promise.all([refresh, other]));
    for (const each of answers) await mesh.run(mesh.close(manager, each));
  });
});

describe('a caller that gives up', () => {
  it('leaves nothing of a first Request', async () => {
    const manager = await start();
    gate.close();
    const giveUp = new AbortController();
    const asked = mesh.request(manager, mesh.firstRequest('hand-0'), { signal: giveUp.signal });
    asked.catch(() => {});
    await mesh.run(gate.arrival());
    giveUp.abort();
    await expect(mesh.run(asked)).rejects.toMatchObject({ code: 'CANCELLED' });
    gate.open();
    await mesh.clock.advance(1_000);
    expect(await connectionCounts()).toEqual([0, 0, 0, 0, 0]);
    expect(mesh.objects).toBe(0);
  });

  it('leaves nothing of a first Request whose time is over', async () => {
    const manager = await start();
    gate.close();
    const asked = mesh.request(manager, mesh.firstRequest('hand-0'), { timeoutMs: 1_000 });
    await expect(mesh.run(asked)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    gate.open();
    await mesh.clock.advance(1_000);
    expect(await connectionCounts()).toEqual([0, 0, 0, 0, 0]);
    expect(mesh.objects).toBe(0);
  });

  it('keeps what works when it was a refresh', async () => {
    const manager = await start();
    const answer = await mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));
    gate.close();
    const giveUp = new AbortController();
    const asked = mesh.request(manager, mesh.refreshOf(answer), { signal: giveUp.signal });
    asked.catch(() => {});
    await mesh.run(gate.arrival());
    giveUp.abort();
    await expect(mesh.run(asked)).rejects.toMatchObject({ code: 'CANCELLED' });
    gate.open();
    await mesh.clock.advance(1_000);
    expect(await connectionCounts()).toEqual([1, 1, 1, 1, 1]);
    expect(mesh.objects).toBe(4);
    await mesh.run(mesh.close(manager, answer));
  });
});
