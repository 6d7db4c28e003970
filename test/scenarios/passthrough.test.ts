// Protects composition through a whole mesh: a passthrough stands in the path with its own labels towards the next and the
// client's own towards the client, ends and losses go through it both ways, a restart goes on with what was joined, and
// a service that leads it to itself is refused instead of going round.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { MatchSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Chain, ChainLink } from '../../protocols/ports/chain.ts';
import { createMesh, type Mesh, type Node, type Restartable } from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let first: Node;
let second: Node;
let joined: Map<string, ChainLink>;
let firewall: Restartable;

const chain: Chain = {
  join: (link) => void joined.set(link.connectionId, link),
  leave: (connectionId) => void joined.delete(connectionId),
  close: () => Promise.resolve(),
};

const to = (app: string) => [{ destinationSelector: { app } }];
const registerMatches = (matches: readonly MessageInitShape<typeof MatchSchema>[]) =>
  mesh.registerService({ matches: matches.map((each) => create(MatchSchema, each)) });

beforeEach(async () => {
  mesh = await createMesh(2);
  [first, second] = mesh.nodes as [Node, Node];
  joined = new Map();
  await registerMatches([
    { sourceSelector: { app: 'firewall' }, routes: to('gateway') },
    { routes: to('firewall') },
  ]);
  firewall = await mesh.addPassthrough(first, 'firewall', {
    labels: { app: 'firewall' },
    chain,
  });
});

afterEach(() => mesh.end());

const addGateway = (name: string, node = second, cidr = '172.16.0.0/24') =>
  mesh.addEndpoint(node, name, { labels: { app: 'gateway' }, registerService: false, cidr });
const client = (labels: Record<string, string> = { app: 'web' }) =>
  mesh.addClient(first, 'nsc', undefined, { labels });
const pathOf = ({ path }: Connection) => path?.pathSegments.map(({ name }) => name);

describe('a client of a chain', () => {
  it('sees its own labels, the passthrough and the addresses of the last Endpoint', async () => {
    await addGateway('gateway');
    const connection = await client().established();
    expect(connection).toMatchObject({
      networkServiceEndpointName: 'firewall',
      labels: { app: 'web' },
      context: { ipContext: { dstIpAddrs: ['172.16.0.0/32'] } },
    });
    expect(pathOf(connection)).toEqual([
      'nsc',
      'nsmgr-node-1',
      'forwarder-node-1',
      'firewall',
      'nsmgr-node-1',
      'forwarder-node-1',
      'nsmgr-node-2',
      'forwarder-node-2',
      'gateway',
    ]);
    const [link] = joined.values();
    expect(link).toMatchObject({ payload: 'IP' });
    expect(link?.upstream).not.toBe(link?.downstream);
    const last = Object.values(await mesh.connectionsAt(`memory:${second.name}/gateway`));
    expect(last).toMatchObject([
      { labels: { app: 'firewall' }, networkServiceEndpointName: 'gateway' },
    ]);
  });

  it('keeps the next Endpoint through its refreshes', async () => {
    await addGateway('gateway-a');
    await addGateway('gateway-b', second, '172.16.1.0/24');
    const nsc = client();
    const before = await nsc.established();
    const linksBefore = [...joined.values()];
    await mesh.clock.advance(300_000);
    expect(pathOf(await nsc.established())).toEqual(pathOf(before));
    expect([...joined.values()]).toEqual(linksBefore);
  });

  it('that leaves takes both wires with it', async () => {
    await addGateway('gateway');
    const nsc = client();
    await nsc.established();
    await nsc.stop();
    expect(joined.size).toBe(0);
    await mesh.until(() => mesh.objects === 0);
  });

  it('gets another next Endpoint when that is gone, through the same passthrough', async () => {
    const gone = await addGateway('gateway-a');
    const nsc = client();
    expect(pathOf(await nsc.established())?.at(-1)).toBe('gateway-a');
    const [before] = joined.values();
    await addGateway('gateway-b', first);
    await gone.stop();
    await mesh.until(async () => pathOf(await nsc.established())?.at(-1) === 'gateway-b');
    const healed = await nsc.established();
    expect(healed.networkServiceEndpointName).toBe('firewall');
    const [after] = joined.values();
    expect(after?.downstream).toBe(before?.downstream);
  });
});

describe('a passthrough', () => {
  it('that restarts goes on with what it had joined', async () => {
    await addGateway('gateway');
    const nsc = client();
    await nsc.established();
    const before = [...joined.values()];
    await firewall.stop();
    joined.clear();
    await firewall.start();
    expect([...joined.values()]).toEqual(before);
    await mesh.until(() => nsc.phase() === 'established');
    await nsc.stop();
    expect(joined.size).toBe(0);
  });

  it('is refused as its own next, with the way that the request has come', async () => {
    await registerMatches([{ routes: to('firewall') }]);
    const request = mesh.request(first.managerUrl, mesh.firstRequest('hand'));
    await expect(mesh.run(request)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: {
        rule: 'passthrough-loop',
        found: expect.stringContaining('firewall'),
      },
    });
    expect(joined.size).toBe(0);
    expect(mesh.objects).toBe(0);
  });

  it('refuses a client for whom nothing comes next, and keeps nothing', async () => {
    const request = mesh.request(first.managerUrl, mesh.firstRequest('hand'));
    await expect(mesh.run(request)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(joined.size).toBe(0);
  });
});
