// Protects how one of several Endpoints that fit is taken, through a whole mesh: weights of routes, the least loaded,
// the same one for the same client, none that drains; and that a decision can be looked up afterwards.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { MatchSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Decision } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let first: Node;
let second: Node;
let asked = 0;
let answers: Connection[] = [];

beforeEach(async () => {
  mesh = await createMesh(2);
  [first, second] = mesh.nodes as [Node, Node];
  answers = [];
});

afterEach(async () => {
  for (const connection of answers) await leave(connection);
  await mesh.end();
});

const leave = (connection: Connection) => mesh.run(mesh.close(first.managerUrl, connection));

async function request(labels: Record<string, string> = {}): Promise<Connection> {
  asked += 1;
  const asking = mesh.request(first.managerUrl, mesh.firstRequest(`hand-${asked}`, { labels }));
  const connection = await mesh.run(asking);
  answers.push(connection);
  return connection;
}

const endpointOf = async (labels: Record<string, string> = {}) =>
  (await request(labels)).networkServiceEndpointName;

async function taken(count: number, labels: Record<string, string> = {}) {
  const names: string[] = [];
  for (let index = 0; index < count; index += 1) names.push(await endpointOf(labels));
  return (name: string) => names.filter((each) => each === name).length;
}

const registerMatches = (matches: readonly MessageInitShape<typeof MatchSchema>[]) =>
  mesh.registerService({ matches: matches.map((each) => create(MatchSchema, each)) });

const route = (app: string, weight = 0) => ({ destinationSelector: { app }, weight });

/** `app` and the address pool by the last letter of the name. */
async function addEndpoints(
  names: Readonly<Record<string, string>>,
  labels: Record<string, string> = {},
): Promise<void> {
  for (const [index, [name, app]] of Object.entries(names).entries()) {
    const node = index % 2 === 0 ? first : second;
    await mesh.addEndpoint(node, name, {
      labels: { app, ...labels },
      cidr: `172.16.${index}.0/24`,
    });
  }
}

const decisions = (key: string) => mesh.decisionsAt(first.managerUrl, key);

const verdictsOf = (decision: Decision | undefined) =>
  Object.fromEntries((decision?.verdicts ?? []).map(({ name, verdict }) => [name, verdict]));

describe('weights', () => {
  it('give each route its share, however many Endpoints it has', async () => {
    await addEndpoints({ 'old-1': 'old', 'old-2': 'old', 'new-1': 'new' });
    await registerMatches([{ routes: [route('old', 3), route('new', 1)] }]);
    const count = await taken(8);
    expect([count('old-1'), count('old-2'), count('new-1')]).toEqual([3, 3, 2]);
  });

  it('count as 1 where a match weighs another route, and not at all where it weighs none', async () => {
    await addEndpoints({ 'old-1': 'old', 'old-2': 'old', 'new-1': 'new' });
    await registerMatches([{ routes: [route('old', 2), route('new')] }]);
    expect((await taken(6))('new-1')).toBe(2);
    await registerMatches([{ routes: [route('old'), route('new')] }]);
    expect((await taken(6))('new-1')).toBe(2);
    await registerMatches([{ routes: [route('old', 1), route('new', 1)] }]);
    expect((await taken(6))('new-1')).toBe(3);
  });

  it('leave the share of a route that fails to the others', async () => {
    await addEndpoints({ 'old-1': 'old', 'new-1': 'new' });
    await mesh.addEndpoint(first, 'none', { labels: { app: 'else' }, cidr: '172.16.9.0/24' });
    await registerMatches([{ routes: [route('old', 1), route('missing', 9)] }]);
    expect((await taken(3))('old-1')).toBe(3);
  });
});

describe('the least loaded', () => {
  it('is taken where the match asks for it, and forwarders are not asked for that label', async () => {
    await addEndpoints({ 'nse-a': 'x', 'nse-b': 'x' });
    const labels = { 'vwire.io/select': 'least-loaded' };
    await registerMatches([{ routes: [route('x')], metadata: { labels } }]);
    const four = [await request(), await request(), await request(), await request()];
    const onA = four.filter((each) => each.networkServiceEndpointName === 'nse-a');
    expect(onA).toHaveLength(2);
    for (const each of onA) await leave(each);
    answers = answers.filter((each) => !onA.includes(each));
    expect((await taken(2))('nse-a')).toBe(2);
  });

  it('is taken where the Endpoints ask for it themselves', async () => {
    await addEndpoints({ 'nse-a': 'x', 'nse-b': 'x' }, { 'vwire.io/select': 'least-loaded' });
    const [one, other] = [await request(), await request()];
    await leave(one);
    answers = [other];
    const names = [await endpointOf(), await endpointOf(), await endpointOf()];
    // Each goes where fewer are; never two in a row to the fuller one.
    expect(names[0]).toBe(one.networkServiceEndpointName);
    expect(new Set(names.slice(1)).size).toBe(2);
    const [decision] = await decisions(answers.at(-1)?.id ?? '');
    expect(decision).toMatchObject({
      policy: 'least-loaded',
      policyFrom: 'the labels of the Endpoints',
    });
    expect(decision?.verdicts[0]?.reason).toMatch(/^load \d$/);
  });
});

describe('sticky', () => {
  beforeEach(() =>
    addEndpoints(
      { 'nse-a': 'x', 'nse-b': 'x', 'nse-c': 'x', 'nse-d': 'x' },
      { 'vwire.io/select': 'sticky' },
    ),
  );

  it('gives one client the same Endpoint every time, and many clients all of them', async () => {
    const same = await taken(5, { 'vwire.io/sticky-key': 'one client' });
    const counts = ['nse-a', 'nse-b', 'nse-c', 'nse-d'].map(same);
    expect(counts.filter((each) => each === 5)).toHaveLength(1);
    const used = new Set<string>();
    for (let key = 0; key < 30; key += 1) {
      used.add(await endpointOf({ 'vwire.io/sticky-key': `client ${key}` }));
    }
    expect(used.size).toBe(4);
  });

  it('goes by the name of the client where it has no key', async () => {
    const once = await request();
    const again = await request();
    const nameOf = (each: Connection) => each.path?.pathSegments[0]?.name;
    expect(nameOf(once)).toBe(nameOf(again));
    expect(again.networkServiceEndpointName).toBe(once.networkServiceEndpointName);
  });
});

describe('an Endpoint that drains', () => {
  const draining = { 'vwire.io/draining': 'true' };

  it('gets no new connection, and the record says so', async () => {
    await mesh.addEndpoint(first, 'nse-a', { labels: draining });
    await mesh.addEndpoint(second, 'nse-b', { cidr: '172.16.1.0/24' });
    expect((await taken(4))('nse-b')).toBe(4);
    const [decision] = await decisions(answers[0]?.id ?? '');
    expect(verdictsOf(decision)).toEqual({ 'nse-a': 'passedOver', 'nse-b': 'taken' });
  });

  it('lets a match fall through to the next', async () => {
    await mesh.addEndpoint(first, 'nse-a', { labels: { app: 'x', ...draining } });
    await mesh.addEndpoint(second, 'nse-b', { labels: { app: 'y' }, cidr: '172.16.1.0/24' });
    await registerMatches([{ routes: [route('x')], fallthrough: true }, { routes: [route('y')] }]);
    expect(await endpointOf()).toBe('nse-b');
  });

  it('is named in the refusal where it is the only one', async () => {
    await mesh.addEndpoint(first, 'nse-a', { labels: draining });
    await expect(request()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { found: expect.stringContaining('1 of them draining') },
    });
  });
});

describe('a decision', () => {
  it('is found by the connection and tells the choice of forwarder and of Endpoint', async () => {
    await mesh.addForwarder(first, { name: 'forwarder-sriov', labels: { sriov: 'true' } });
    await mesh.addEndpoint(first, 'nse-a', { labels: { app: 'x' } });
    await mesh.addEndpoint(first, 'nse-b', { labels: { app: 'y' }, cidr: '172.16.1.0/24' });
    await registerMatches([{ routes: [route('y')], metadata: { labels: { sriov: 'true' } } }]);
    const connection = await request();
    const [endpoint, forwarder] = await decisions(connection.id);
    expect(endpoint).toMatchObject({ kind: 'endpoint', hop: 'forwarder-sriov', taken: 'nse-b' });
    expect(verdictsOf(endpoint)).toEqual({ 'nse-b': 'taken', 'nse-a': 'refused' });
    expect(endpoint?.verdicts[1]?.reason).toBe('label app is "x", expected "y"');
    expect(endpoint?.matches).toMatchObject([{ match: 1, outcome: 'decided' }]);
    expect(forwarder).toMatchObject({ kind: 'forwarder', hop: 'nsmgr-node-1' });
    expect(verdictsOf(forwarder)).toEqual({
      'forwarder-sriov': 'taken',
      'forwarder-node-1': 'refused',
    });
  });

  it('that refused is found by the id that the refusal names, with each failure', async () => {
    await mesh.addEndpoint(first, 'nse-a', {
      onRequest: () => {
        throw new Error('this Endpoint is full');
      },
    });
    const refusal = await request().catch((error: unknown) => error);
    const remedy = (refusal as { details: { remedy: string } }).details.remedy;
    const id = /vwire why (\S+)/.exec(remedy)?.[1] ?? '';
    const [decision] = await decisions(id);
    expect(decision).toMatchObject({ id, taken: '' });
    expect(decision?.verdicts).toMatchObject([
      { name: 'nse-a', verdict: 'failed', reason: expect.stringContaining('full') },
    ]);
    expect(decision?.error).toContain('full');
  });
});
