// Protects clients from a restart of their Endpoint: the addresses of live ones are theirs in its next life too, those
// of expired ones give way, and a wire that ended in a namespace of the earlier life is not called up.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Connection, State } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { createMesh, type Mesh, type Node, type Part } from '../sandbox/in-process-mesh.ts';
import { lifetimeMs } from '../sandbox/mesh-calls.ts';

let mesh: Mesh;
let node: Node;
let journal: Journal;
let netns: string;
let nse: Part;

/** Two address pairs. */
const cidr = '172.16.0.0/30';

beforeEach(async () => {
  mesh = await createMesh();
  [node] = mesh.nodes as [Node];
  journal = createMemoryJournal();
  netns = mesh.newNamespace();
  nse = await mesh.addEndpoint(node, 'nse', { cidr, journal, netns });
});

afterEach(() => mesh.end());

async function restart(change: { netns?: string; cidr?: string; pauseMs?: number } = {}) {
  const { pauseMs = 0, ...rest } = change;
  await nse.stop();
  await mesh.clock.advance(pauseMs);
  nse = await mesh.addEndpoint(node, 'nse', { cidr, journal, netns, ...rest });
}

const first = (id: string) => mesh.run(mesh.request(nse.url, mesh.firstRequest(id)));
const refresh = (known: Connection) => mesh.run(mesh.request(nse.url, mesh.refreshOf(known)));
const close = (known: Connection) => mesh.run(mesh.close(nse.url, known));
const addresses = ({ context }: Connection) => [
  context?.ipContext?.srcIpAddrs,
  context?.ipContext?.dstIpAddrs,
];

const textOf = (connection: Connection) => JSON.stringify(addresses(connection));

describe('an Endpoint that restarts', () => {
  it('keeps the leases of live clients, also of those that have not come back yet', async () => {
    const [a, b] = [await first('a'), await first('b')];
    await restart();
    await expect(first('c')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(addresses(await refresh(a))).toEqual(addresses(a));
    expect(Object.keys(await mesh.connectionsAt(nse.url))).toHaveLength(2);
    await close(b);
    const c = await first('c');
    expect(addresses(c)).toEqual(addresses(b));
    await close(a);
    await close(c);
  });

  it('frees a lease when its connection expires after the restart', async () => {
    const [a, b] = [await first('a'), await first('b')];
    await restart();
    await mesh.clock.advance(lifetimeMs / 2);
    const kept = await refresh(a);
    await mesh.clock.advance(lifetimeMs / 2 + 1_000);
    const c = await first('c');
    expect(addresses(c)).toEqual(addresses(b));
    await close(kept);
    await close(c);
  });

  it('gives away the leases of connections that expired while it was away', async () => {
    const [a, b] = [await first('a'), await first('b')];
    await restart({ pauseMs: 2 * lifetimeMs });
    const [c, d] = [await first('c'), await first('d')];
    expect(new Set([c, d].map(textOf))).toEqual(new Set([a, b].map(textOf)));
    await close(c);
    await close(d);
    await mesh.clock.advance(1);
    expect((await journal.load()).size).toBe(0);
  });

  it('tells in its monitor that a wire into a namespace of its earlier life is down', async () => {
    const a = await first('a');
    const states = async () =>
      Object.values(await mesh.connectionsAt(nse.url)).map(({ state }) => state);
    await restart();
    expect(await states()).toEqual([State.UP]);
    const moved = mesh.newNamespace();
    await restart({ netns: moved });
    expect(await states()).toEqual([State.DOWN]);
    const again = await refresh(a);
    expect(again.mechanism?.parameters['inodeURL']).toBe(moved);
    expect(await states()).toEqual([State.UP]);
    expect(addresses(again)).toEqual(addresses(a));
    await close(again);
  });

  it('with other prefixes gives new addresses at the next refresh', async () => {
    const a = await first('a');
    await restart({ cidr: '172.16.8.0/30' });
    const b = await first('b');
    const again = await refresh(a);
    expect(again.context?.ipContext?.srcIpAddrs[0]).toMatch(/^172\.16\.8\./);
    expect(addresses(again)).not.toEqual(addresses(b));
    await close(again);
    await close(b);
  });
});
