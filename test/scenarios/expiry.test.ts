// Protects what nobody refreshes at every hop of a path at once: kept while it is alive it stays whole, addresses
// included, whoever of the control plane is away or starts again; it ends everywhere as soon as one hop ends it.

import { afterEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { carry } from '../sandbox/carry.ts';
import { createMesh, type Mesh, type Node, type Part } from '../sandbox/in-process-mesh.ts';
import { lifetimeMs } from '../sandbox/mesh-calls.ts';

const hops = ['nsmgr', 'forwarder', 'nse'] as const;
type HopName = (typeof hops)[number];

let mesh: Mesh;
let first: Node;
let second: Node;
let nse: Part;
/** Packets that the Endpoint's interface has received. */
let received: bigint;

afterEach(() => mesh.end());

/** Two nodes, and an Endpoint on the second one with a single pair of addresses. */
async function start(keeping: readonly HopName[] = hops) {
  received = 0n;
  mesh = await createMesh(2, { keeping: keeping.filter((hop) => hop !== 'nse') });
  [first, second] = mesh.nodes as [Node, Node];
  const netns = mesh.newNamespace();
  const own = { cidr: '172.16.0.0/31', journal: createMemoryJournal(), netns };
  const keeps = {
    receivedPackets: (name: string) =>
      Promise.resolve(second.world.interfaceIn(netns, name) && received),
  };
  const startEndpoint = async (): Promise<void> => {
    const extras = { ...own, ...(keeping.includes('nse') ? keeps : {}) };
    nse = await mesh.addEndpoint(second, 'nse', extras);
  };
  await startEndpoint();
  return { startEndpoint };
}

const request = ({ managerUrl }: Node, id: string) =>
  mesh.run(mesh.request(managerUrl, mesh.firstRequest(id)));
const refresh = (known: Connection) =>
  mesh.run(mesh.request(first.managerUrl, mesh.refreshOf(known)));
const close = (known: Connection) => mesh.run(mesh.close(first.managerUrl, known));
const ids = ({ path }: Connection) => path?.pathSegments.map(({ id }) => id);
const addresses = ({ context }: Connection) => context?.ipContext?.srcIpAddrs;
const clientInterface = ({ mechanism }: Connection) =>
  first.world.interfaceIn(mechanism?.parameters['inodeURL'] ?? '', 'nsm-1');

/** Time goes on, with packets on every wire. */
async function live(lifetimes: number): Promise<void> {
  for (let half = 0; half < 2 * lifetimes; half += 1) {
    for (const { world } of mesh.nodes) carry(world, { fromClient: 5n, fromEndpoint: 5n });
    received += 5n;
    await mesh.clock.advance(lifetimeMs / 2);
  }
}

/** The one pair of addresses is given out. */
const expectTaken = () =>
  expect(request(second, 'other')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });

/** Nothing is left anywhere, and the pair of addresses can be had. */
async function expectOver(): Promise<void> {
  expect(mesh.objects).toBe(0);
  for (const { managerUrl, forwarders } of mesh.nodes) {
    for (const url of [managerUrl, ...forwarders.map((each) => each.url)]) {
      expect(Object.keys(await mesh.connectionsAt(url)), `connections at ${url}`).toEqual([]);
    }
  }
  const next = await request(first, 'next');
  await close(next);
}

describe('a wire that is alive', () => {
  it('outlives managers that are away for longer than it would live without them', async () => {
    await start();
    const connection = await request(first, 'a');
    const before = clientInterface(connection);
    await first.manager.stop();
    await live(3);
    expect(mesh.objects).toBe(4);
    await expectTaken();
    await first.manager.start();
    // Its forwarder registers again meanwhile.
    await mesh.clock.advance(60_000);
    const again = await refresh(connection);
    expect([ids(again), addresses(again)]).toEqual([ids(connection), addresses(connection)]);
    expect(clientInterface(connection)).toEqual(before);
    await close(again);
    await expectOver();
  });

  it('outlives a restart of every hop while it is kept', async () => {
    const { startEndpoint } = await start();
    const connection = await request(first, 'a');
    const before = clientInterface(connection);
    await live(2);
    const parts = mesh.nodes.flatMap(({ manager, forwarders }) => [manager, ...forwarders]);
    for (const part of parts) await part.stop();
    await nse.stop();
    await live(2);
    for (const part of parts) await part.start();
    await startEndpoint();
    await live(2);
    expect(mesh.objects).toBe(4);
    await expectTaken();
    expect(clientInterface(connection)).toEqual(before);
    await close(await refresh(connection));
    await expectOver();
  });

  it('ends where its client closes it', async () => {
    await start();
    const connection = await request(first, 'a');
    await live(2);
    await close(connection);
    await expectOver();
  });

  it('ends at once where the namespace of its client ends', async () => {
    await start();
    const { mechanism } = await request(first, 'a');
    await live(2);
    first.world.removeNamespace(mechanism?.parameters['inodeURL'] ?? '');
    await mesh.clock.advance(1_000);
    await expectOver();
  });

  it.each(hops)('is closed where it expires at a hop of policy close: %s', async (closing) => {
    await start(hops.filter((hop) => hop !== closing));
    await request(first, 'a');
    await live(1);
    await expectOver();
  });

  it('is closed where its expiry comes, by default', async () => {
    await start([]);
    await request(first, 'a');
    await live(1);
    await expectOver();
  });
});

it('a wire that carries nothing ends within two periods', async () => {
  await start();
  await request(first, 'a');
  await live(2);
  expect(mesh.objects).toBe(4);
  await mesh.clock.advance(2 * lifetimeMs);
  await expectOver();
});
