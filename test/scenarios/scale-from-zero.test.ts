// Protects scale from zero through a whole mesh (the reference's scenario of that name): a client of a service without
// Endpoints gets one that its node's supplier starts, with either form of the matches, once for all who ask, on the
// client's node; when it has ended, the next client gets another one; what does not stay up is not started in a loop.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeError } from '../../protocols/errors.ts';
import { MatchSchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { FakeSupplier } from '../sandbox/fake-supplier.ts';
import {
  type ClientPart,
  createMesh,
  type Mesh,
  type Node,
  type Part,
} from '../sandbox/in-process-mesh.ts';

let mesh: Mesh;
let nodes: readonly [Node, Node];
let suppliers: readonly [FakeSupplier, FakeSupplier];

const endpointName = (node: Node) => `nse-${node.name}`;

async function prepare(fallthrough: boolean): Promise<void> {
  await mesh.registerService({
    matches: [
      create(MatchSchema, {
        routes: [{ destinationSelector: { app: 'server', nodeName: '{{ .nodeName }}' } }],
        fallthrough,
      }),
      create(MatchSchema, {
        routes: [{ destinationSelector: { app: 'supplier', nodeName: '{{ .nodeName }}' } }],
      }),
    ],
  });
}

/** What was started comes up when the test says so. */
const comesUp = (node: Node): Promise<Part> =>
  mesh.addEndpoint(node, endpointName(node), {
    registerService: false,
    labels: { app: 'server', nodeName: node.name },
  });

const clientOf = (node: Node, name: string): ClientPart =>
  mesh.addClient(node, name, undefined, { labels: { nodeName: node.name } });

const lastError = (client: ClientPart, name: string): string => {
  const status = client.statuses(`${name}-0`).at(-1);
  return status !== undefined && 'lastError' in status ? describeError(status.lastError) : '';
};

beforeEach(async () => {
  mesh = await createMesh(2);
  nodes = mesh.nodes as unknown as [Node, Node];
  const supplierOf = (node: Node) =>
    new FakeSupplier({ nameFor: () => endpointName(node), begin: async () => async () => {} });
  suppliers = [supplierOf(nodes[0]), supplierOf(nodes[1])];
  for (const [index, supplier] of suppliers.entries()) {
    await mesh.addSupplier(nodes[index as 0 | 1], { supplier });
  }
});

afterEach(() => mesh.end());

describe.each([true, false])('scale from zero, with fallthrough %s on the first match', (form) => {
  beforeEach(() => prepare(form));

  it('from nothing to a connection, gone again, and once more', async () => {
    const [node] = nodes;
    const [supplier] = suppliers;
    const client = clientOf(node, 'nsc');
    await mesh.until(() => supplier.starts.length === 1);
    await mesh.until(() => lastError(client, 'nsc').includes('is on its way'));
    expect(lastError(client, 'nsc')).toMatch(/UNAVAILABLE.*hop: supplier-node-1.*ask again/s);
    const part = await comesUp(node);
    const upMs = mesh.clock.nowMs();
    expect((await client.established()).networkServiceEndpointName).toBe(endpointName(node));
    expect(mesh.clock.nowMs() - upMs).toBeLessThan(200);
    expect(supplier.starts).toHaveLength(1);

    await client.stop();
    await part.stop();
    await supplier.end(endpointName(node));
    await mesh.until(() => supplier.removals.length === 1);
    const next = clientOf(node, 'next');
    await mesh.until(() => supplier.starts.length === 2);
    await comesUp(node);
    expect((await next.established()).networkServiceEndpointName).toBe(endpointName(node));
  });

  it('is started once for all who ask, however often they do', async () => {
    const [node] = nodes;
    const clients = ['a', 'b', 'c'].map((name) => clientOf(node, name));
    await mesh.clock.advance(5_000);
    expect(suppliers[0].starts).toHaveLength(1);
    await comesUp(node);
    for (const client of clients) await client.established();
    expect(suppliers[0].starts).toHaveLength(1);
  });

  it('is started on the node of the client', async () => {
    const client = clientOf(nodes[1], 'nsc');
    await mesh.until(() => suppliers[1].starts.length === 1);
    await comesUp(nodes[1]);
    const { path } = await client.established();
    expect(path?.pathSegments.map(({ name }) => name)).toEqual([
      'nsc',
      'nsmgr-node-2',
      'forwarder-node-2',
      'nse-node-2',
    ]);
    expect(suppliers[0].starts).toEqual([]);
  });

  it('a client whose Endpoint died reselects, and gets a new one', async () => {
    const [node] = nodes;
    const client = clientOf(node, 'nsc');
    await mesh.until(() => suppliers[0].starts.length === 1);
    const part = await comesUp(node);
    await client.established();
    await part.stop();
    await suppliers[0].end(endpointName(node), 'signal SIGKILL');
    await mesh.until(() => suppliers[0].starts.length === 2);
    await comesUp(node);
    await mesh.until(() => client.phase() === 'established');
    expect(client.statuses('nsc-0').map(({ phase }) => phase)).toContain('healing');
  });
});

describe('what does not stay up', () => {
  beforeEach(() => prepare(true));

  it('is started again with growing pauses, and the client is told why', async () => {
    const [node] = nodes;
    const [supplier] = suppliers;
    const client = clientOf(node, 'nsc');
    for (let failures = 1; failures <= 6; failures += 1) {
      await mesh.until(() => supplier.starts.length === failures);
      await supplier.end(endpointName(node), 'exit code 64');
    }
    expect(mesh.clock.nowMs()).toBeGreaterThan(10_000);
    await mesh.clock.advance(10_000);
    expect(supplier.starts).toHaveLength(6);
    expect(lastError(client, 'nsc')).toMatch(/does not stay up.*6 times, last with: exit code 64/s);
    await client.stop();
  });
});

it('no more are started than the supplier may run, and the refusal says so', async () => {
  await mesh.end();
  mesh = await createMesh();
  const [node] = mesh.nodes as [Node];
  const supplier = new FakeSupplier({
    nameFor: ({ id, path }) => `nse-${path?.pathSegments[0]?.id ?? id}`,
    begin: async () => async () => {},
  });
  await mesh.addSupplier(node, { supplier, endpointsMax: 2 });
  const clients = ['a', 'b', 'c'].map((name) => [name, clientOf(node, name)] as const);
  await mesh.clock.advance(5_000);
  expect(supplier.starts).toHaveLength(2);
  const refused = clients.map(([name, client]) => lastError(client, name)).join('\n');
  expect(refused).toMatch(/RESOURCE_EXHAUSTED.*at most 2 Endpoints.*VWIRE_SUPPLIER_ENDPOINTS/s);
  for (const [, client] of clients) await client.stop();
});

it('a supplier refuses a client of another node, and says what to do', async () => {
  await mesh.registerService({
    matches: [create(MatchSchema, { routes: [{ destinationSelector: { nodeName: 'node-2' } }] })],
  });
  const client = clientOf(nodes[0], 'nsc');
  await mesh.until(() => lastError(client, 'nsc') !== '');
  expect(lastError(client, 'nsc')).toMatch(/FAILED_PRECONDITION.*a client of node node-2.*node-1/s);
  expect(suppliers[1].starts).toEqual([]);
  await client.stop();
});
