// Protects MonitorConnections as peers know it (nsm-wire 8): keys, ids and index of each hop's own view, the initial
// transfer even when empty, DOWN that travels to the client, and DELETE only where the Close ran.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Connection,
  ConnectionEventType,
  MonitorConnection,
  MonitorScopeSelectorSchema,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { createMesh, type Mesh, type Node, type Part } from '../sandbox/in-process-mesh.ts';

const hops = [
  'memory:node-1/nsmgr',
  'memory:node-1/forwarder-node-1',
  'memory:node-2/nsmgr',
  'memory:node-2/forwarder-node-2',
  'memory:node-2/nse',
] as const;

let mesh: Mesh;
let manager: string;
let nse: Part;
const stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
  mesh = await createMesh(2);
  const [first, second] = mesh.nodes as [Node, Node];
  manager = first.managerUrl;
  nse = await mesh.addEndpoint(second, 'nse');
});

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
  await mesh.end();
});

const nameIn = (names: Readonly<Record<string, number>>, value: number): string =>
  Object.entries(names).find(([, each]) => each === value)?.[0] ?? String(value);

interface Seen {
  readonly type: string;
  readonly states: Record<string, string>;
  readonly connections: Record<string, Connection>;
}

/** Everything that a subscriber of that hop is told from now on. */
async function watch(url: string, pathSegments: { name?: string; id?: string }[] = []) {
  const abort = new AbortController();
  const seen: Seen[] = [];
  const read = async (): Promise<void> => {
    const stub = mesh.dialer.dial(url).client(MonitorConnection);
    const selector = create(MonitorScopeSelectorSchema, { pathSegments });
    for await (const event of stub.monitorConnections(selector, { signal: abort.signal })) {
      const { connections } = event;
      const states = Object.fromEntries(
        Object.entries(connections).map(([id, { state }]) => [id, nameIn(State, state)]),
      );
      seen.push({ type: nameIn(ConnectionEventType, event.type), states, connections });
    }
  };
  const reading = read().catch(() => {});
  stops.push(async () => {
    abort.abort();
    await reading;
  });
  await mesh.until(() => seen.length > 0);
  return seen;
}

const told = (seen: readonly Seen[]) => seen.map(({ type, states }) => ({ type, states }));
const idAt = (connection: Connection, index: number) =>
  connection.path?.pathSegments[index]?.id ?? '';
const make = () => mesh.run(mesh.request(manager, mesh.firstRequest('hand-0')));

describe('the monitor of each hop', () => {
  it('begins with an initial transfer, empty where there is nothing', async () => {
    for (const url of hops) {
      expect(told(await watch(url))).toEqual([{ type: 'INITIAL_STATE_TRANSFER', states: {} }]);
    }
  });

  it('shows the connection under its own id, with the index at itself', async () => {
    const connection = await make();
    for (const [at, url] of hops.entries()) {
      const [initial] = await watch(url);
      const id = idAt(connection, at + 1);
      expect(Object.keys(initial?.connections ?? {}), url).toEqual([id]);
      expect(initial?.connections[id], url).toMatchObject({ id, path: { index: at + 1 } });
      expect(initial?.connections[id]?.path?.pathSegments.length, url).toBe(6);
    }
    await mesh.run(mesh.close(manager, connection));
  });

  it('tells of a Request, of a refresh and of the end', async () => {
    const seen = await Promise.all(hops.map((url) => watch(url)));
    const connection = await make();
    await mesh.run(mesh.request(manager, mesh.refreshOf(connection)));
    await mesh.run(mesh.close(manager, connection));
    await mesh.clock.advance(100);
    for (const [at, events] of seen.entries()) {
      const id = idAt(connection, at + 1);
      const types = told(events).map(({ type }) => type);
      expect(types[0], hops[at]).toBe('INITIAL_STATE_TRANSFER');
      expect(types.at(-1), hops[at]).toBe('DELETE');
      expect(types.slice(1, -1).length, hops[at]).toBeGreaterThanOrEqual(2);
      expect(new Set(types.slice(1, -1)), hops[at]).toEqual(new Set(['UPDATE']));
      for (const { states } of told(events).slice(1, -1)) expect(states).toEqual({ [id]: 'UP' });
    }
  });

  it('selects by the id of any segment, and by a run of names', async () => {
    const connection = await make();
    const shown = async (segments: { name?: string; id?: string }[]) =>
      Object.keys((await watch(manager, segments))[0]?.connections ?? {}).length;
    expect(await shown([{ id: 'hand-0' }])).toBe(1);
    expect(await shown([{ id: idAt(connection, 5) }])).toBe(1);
    expect(await shown([{ name: 'hand' }, { name: 'nsmgr-node-1' }])).toBe(1);
    expect(await shown([{ name: 'hand' }, { name: 'forwarder-node-1' }])).toBe(0);
    expect(await shown([{ id: 'hand-1' }])).toBe(0);
    await mesh.run(mesh.close(manager, connection));
  });
});

describe('an event of a hop behind', () => {
  it('comes as DOWN to every hop before the one that closed by itself', async () => {
    const connection = await make();
    const seen = await Promise.all(hops.map((url) => watch(url)));
    const last = { ...connection, id: idAt(connection, 4) };
    if (connection.path !== undefined) last.path = { ...connection.path, index: 4 };
    await mesh.run(mesh.close('memory:node-2/nse', last));
    await mesh.clock.advance(100);
    const lastTold = seen.map((events) => told(events).at(-1));
    expect(lastTold.slice(0, 4)).toEqual(
      [1, 2, 3, 4].map((at) => ({ type: 'UPDATE', states: { [idAt(connection, at)]: 'DOWN' } })),
    );
    expect(lastTold[4]?.type).toBe('DELETE');
    await mesh.run(mesh.close(manager, connection));
  });

  it('comes as DOWN once when the Endpoint cannot be reached any more, and the refresh fails', async () => {
    const connection = await make();
    const seen = await watch(manager, [{ name: 'hand', id: 'hand-0' }]);
    await mesh.cutOff(nse);
    await mesh.clock.advance(30_000);
    const id = idAt(connection, 1);
    expect(told(seen).slice(1)).toEqual([{ type: 'UPDATE', states: { [id]: 'DOWN' } }]);
    await expect(mesh.run(mesh.request(manager, mesh.refreshOf(connection)))).rejects.toMatchObject(
      { code: 'UNAVAILABLE' },
    );
    expect(told(seen).length).toBe(2);
    await mesh.run(mesh.close(manager, connection));
    expect(told(seen).at(-1)).toMatchObject({ type: 'DELETE' });
    // The forwarder has not reached the Endpoint: it goes on trying until the connection is over there too.
    await mesh.clock.advance(600_000);
  });

  it('of a refresh elsewhere is no event here when nothing changed', async () => {
    const connection = await make();
    const seen = await watch('memory:node-2/nsmgr');
    const before = seen.length;
    await mesh.clock.advance(10_000);
    expect(seen.length).toBe(before);
    await mesh.run(mesh.close(manager, connection));
  });
});
