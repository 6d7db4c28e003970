// Protects the choice of forwarder and Endpoint through a whole mesh: candidates that fail are skipped, replicas take
// turns, matches with selectors, fallthrough and templates decide, and a refusal says what was missing.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { MatchSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { createMesh, type Mesh, type Node } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let first: Node;
let second: Node;
let asked = 0;
let answers: { readonly url: string; readonly connection: Connection }[] = [];

beforeEach(async () => {
  mesh = await createMesh(2);
  [first, second] = mesh.nodes as [Node, Node];
  answers = [];
});

afterEach(async () => {
  for (const { url, connection } of answers) await mesh.run(mesh.close(url, connection));
  await mesh.end();
});

/** The answer to a new Request with these labels. */
async function request(labels: Record<string, string> = {}, node = first): Promise<Connection> {
  asked += 1;
  const asking = mesh.request(node.managerUrl, mesh.firstRequest(`hand-${asked}`, { labels }));
  const connection = await mesh.run(asking);
  answers.push({ url: node.managerUrl, connection });
  return connection;
}

const endpointOf = async (labels: Record<string, string> = {}, node = first) =>
  (await request(labels, node)).networkServiceEndpointName;

const forwarderOf = (connection: Connection) => connection.path?.pathSegments[2]?.name;

const registerMatches = (matches: readonly MessageInitShape<typeof MatchSchema>[]) =>
  mesh.registerService({ matches: matches.map((each) => create(MatchSchema, each)) });

const to = (selector: Record<string, string>) => ({ routes: [{ destinationSelector: selector }] });

const refuses = {
  registerService: false,
  onRequest: () => {
    throw new NsmError('RESOURCE_EXHAUSTED', 'this Endpoint is full');
  },
} as const;

describe('several Endpoints of one service', () => {
  it('take turns, local and remote alike', async () => {
    await mesh.addEndpoint(first, 'nse-a');
    await mesh.addEndpoint(second, 'nse-b', { cidr: '172.16.1.0/24' });
    await mesh.addEndpoint(second, 'nse-c', { cidr: '172.16.2.0/24' });
    const chosen: string[] = [];
    for (let turn = 0; turn < 6; turn += 1) chosen.push(await endpointOf());
    expect(chosen.slice(0, 3).toSorted()).toEqual(['nse-a', 'nse-b', 'nse-c']);
    expect(chosen.slice(3)).toEqual(chosen.slice(0, 3));
  });

  it('are skipped while they refuse, every time', async () => {
    await mesh.addEndpoint(first, 'nse-a', refuses);
    await mesh.addEndpoint(second, 'nse-b');
    for (let turn = 0; turn < 3; turn += 1) expect(await endpointOf()).toBe('nse-b');
  });

  it('are skipped where nobody listens any more', async () => {
    const gone = await mesh.addEndpoint(first, 'nse-a');
    await mesh.addEndpoint(second, 'nse-b');
    await mesh.cutOff(gone);
    for (let turn = 0; turn < 3; turn += 1) expect(await endpointOf()).toBe('nse-b');
  });

  it('are all named, each with its reason, when all refuse', async () => {
    await mesh.addEndpoint(first, 'nse-a', refuses);
    await mesh.addEndpoint(second, 'nse-b', { ...refuses, registerService: true });
    await expect(request()).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: {
        hop: 'forwarder-node-1',
        rule: 'try-in-order',
        found: expect.stringMatching(/nse-[ab]: .*full.*nse-[ab]: .*full/s),
      },
    });
    expect(mesh.objects).toBe(0);
  });
});

describe('several forwarders of one node', () => {
  it('are tried in turn: one whose data plane fails is skipped and leaves nothing', async () => {
    await mesh.addEndpoint(first, 'nse');
    await first.forwarders[0]?.stop();
    await mesh.addForwarder(first, { name: 'forwarder-broken', fault: () => 'fail' });
    await mesh.addForwarder(first, { name: 'forwarder-good' });
    const connection = await request();
    expect(forwarderOf(connection)).toBe('forwarder-good');
    expect(mesh.objects).toBe(2);
    expect(Object.keys(await mesh.connectionsAt('memory:node-1/nse'))).toEqual([
      connection.path?.pathSegments[3]?.id,
    ]);
    await first.forwarders[0]?.start();
  });

  it('are chosen by the labels that the match asks for', async () => {
    await mesh.addForwarder(first, { name: 'forwarder-sriov', labels: { sriov: 'true' } });
    await mesh.addEndpoint(first, 'nse');
    await registerMatches([
      { sourceSelector: { fast: 'yes' }, metadata: { labels: { sriov: 'true' } } },
      { metadata: { labels: {} } },
    ]);
    expect(forwarderOf(await request({ fast: 'yes' }))).toBe('forwarder-sriov');
    expect(forwarderOf(await request())).toBe('forwarder-node-1');
  });

  it('are missed with a refusal that names what was asked for and who is there', async () => {
    await mesh.addEndpoint(first, 'nse');
    await registerMatches([{ metadata: { labels: { sriov: 'true' } } }]);
    await expect(request()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: {
        hop: 'nsmgr-node-1',
        rule: 'select-forwarder',
        found: 'registered: forwarder-node-1',
      },
    });
  });
});

describe('matches', () => {
  beforeEach(async () => {
    await mesh.addEndpoint(first, 'nse-fw', { labels: { app: 'firewall' } });
    await mesh.addEndpoint(second, 'nse-gw', { labels: { app: 'gateway' }, cidr: '172.16.1.0/24' });
  });

  it('lead a client by its labels to the Endpoints of the first match that takes it', async () => {
    await registerMatches([
      { sourceSelector: { app: 'firewall' }, ...to({ app: 'gateway' }) },
      to({ app: 'firewall' }),
    ]);
    for (let turn = 0; turn < 2; turn += 1) {
      expect(await endpointOf()).toBe('nse-fw');
      expect(await endpointOf({ app: 'firewall', more: 'labels' })).toBe('nse-gw');
    }
  });

  it('fall through to the next where they say so, and only there', async () => {
    await registerMatches([
      { sourceSelector: { zone: 'a' }, fallthrough: true, ...to({ app: 'cache' }) },
      { sourceSelector: { zone: 'b' }, ...to({ app: 'cache' }) },
      to({ app: 'gateway' }),
    ]);
    expect(await endpointOf({ zone: 'a' })).toBe('nse-gw');
    await expect(request({ zone: 'b' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: {
        hop: 'forwarder-node-1',
        rule: 'select-endpoint',
        found: '2 registered for the service, labels of the client: zone=b',
      },
    });
  });

  it('accept nobody where none applies', async () => {
    await registerMatches([{ sourceSelector: { zone: 'a' }, ...to({ app: 'gateway' }) }]);
    await expect(request()).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('prefer the Endpoint of the client’s node by a template, else any', async () => {
    await registerMatches([
      { fallthrough: true, ...to({ nodeName: '{{ .nodeName }}' }) },
      to({ app: 'gateway' }),
    ]);
    const { name } = first;
    expect(await endpointOf({ nodeName: name })).toBe('nse-fw');
    expect(await endpointOf({ nodeName: second.name }, second)).toBe('nse-gw');
    expect(await endpointOf({ nodeName: 'node-9' })).toBe('nse-gw');
  });

  it('refuse a template whose key the client lacks, and say so', async () => {
    await registerMatches([to({ nodeName: '{{ .nodeName }}' })]);
    await expect(request({ podName: 'p' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('nodeName'),
      details: { hop: 'forwarder-node-1' },
    });
  });
});
