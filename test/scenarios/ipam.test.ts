// Protects what a client's interface carries: after a heal onto an Endpoint with other prefixes as that one's policy says
// (the reference's IPAM polite and strict), the same address after every return of the client and on a replica with the
// same prefix, another one when its own is excluded, and extra prefixes for as long as it holds the connection.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withClientInterface } from '../../protocols/nsm/client-interface.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { type IPContext, IPContextSchema } from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { joinJwt, jwtSigningInput } from '../../protocols/spiffe/jwt.ts';
import { pathTokenClaims, pathTokenHeader } from '../../protocols/spiffe/path-token.ts';
import {
  createMemoryBucket,
  createMemoryRegistryStore,
} from '../../transports/memory/registry-store.ts';
import {
  type ClientPart,
  createMesh,
  type Mesh,
  type Node,
  type Part,
} from '../sandbox/in-process-mesh.ts';
import { lifetimeMs } from '../sandbox/mesh-calls.ts';

let mesh: Mesh;
let node: Node;

beforeEach(async () => {
  mesh = await createMesh();
  [node] = mesh.nodes as [Node];
});

afterEach(() => mesh.end());

const addressesOf = ({ context }: Connection) => context?.ipContext?.srcIpAddrs ?? [];
const endpointOf = ({ networkServiceEndpointName }: Connection) => networkServiceEndpointName;

/** The client's interface in the kernel of the node. */
function carriedBy(connection: Connection): readonly string[] {
  const { inodeURL = '', name = '' } = connection.mechanism?.parameters ?? {};
  return node.world.interfaceIn(inodeURL, name)?.addresses ?? [];
}

/** Another Endpoint comes, the first one goes without a word, and the client is on the other one. */
async function healed(
  first: Part,
  client: ClientPart,
  other: Parameters<Mesh['addEndpoint']>[2],
): Promise<Connection> {
  await mesh.addEndpoint(node, 'other', other);
  await first.stop();
  const isOver = async (): Promise<boolean> => {
    if (client.phase() !== 'established') return false;
    return endpointOf(await client.established()) === 'other';
  };
  await mesh.until(isOver);
  return client.established();
}

describe('a heal onto another Endpoint', () => {
  it('IPAM polite: the client carries its old address beside the new one', async () => {
    const first = await mesh.addEndpoint(node, 'first', { cidr: '172.16.1.0/24' });
    const client = mesh.addClient(node, 'nsc');
    expect(carriedBy(await client.established())).toEqual(['172.16.1.1/32']);
    const after = await healed(first, client, { cidr: '172.16.2.0/24', ipamPolicy: 'polite' });
    expect(carriedBy(after)).toEqual(['172.16.1.1/32', '172.16.2.1/32']);
    await mesh.clock.advance(lifetimeMs);
    expect(carriedBy(await client.established())).toEqual(['172.16.1.1/32', '172.16.2.1/32']);
  });

  it('IPAM strict: the client carries the new address alone', async () => {
    const first = await mesh.addEndpoint(node, 'first', { cidr: '172.16.1.0/24' });
    const client = mesh.addClient(node, 'nsc');
    await client.established();
    const after = await healed(first, client, { cidr: '172.16.2.0/24', ipamPolicy: 'strict' });
    expect(carriedBy(after)).toEqual(['172.16.2.1/32']);
  });

  it.each(['polite', 'strict'] as const)(
    'of the same prefix: the client keeps its address alone, %s',
    async (ipamPolicy) => {
      const first = await mesh.addEndpoint(node, 'first', { cidr: '172.16.1.0/24' });
      const others = mesh.addClient(node, 'before');
      await others.established();
      const client = mesh.addClient(node, 'nsc');
      const before = await client.established();
      await others.stop();
      const after = await healed(first, client, { cidr: '172.16.1.0/24', ipamPolicy });
      expect(addressesOf(before)).toEqual(['172.16.1.3/32']);
      expect(carriedBy(after)).toEqual(['172.16.1.3/32']);
    },
  );
});

describe('replicas that share a prefix', () => {
  it('give no address twice, and a client that loses one keeps its address on the other', async () => {
    const bucket = createMemoryBucket();
    const replica = {
      cidr: '172.16.1.0/24',
      openAddressStore: async () => createMemoryRegistryStore(bucket),
    };
    const first = await mesh.addEndpoint(node, 'first', replica);
    const client = mesh.addClient(node, 'nsc');
    const before = await client.established();
    expect(endpointOf(before)).toBe('first');
    await mesh.addEndpoint(node, 'other', replica);
    const held: Connection[] = [before];
    for (const name of ['one', 'two', 'three', 'four']) {
      held.push(await mesh.addClient(node, name).established());
    }
    expect(new Set(held.map(endpointOf))).toEqual(new Set(['first', 'other']));
    expect(new Set(held.flatMap(addressesOf)).size).toBe(held.length);
    await first.stop();
    await mesh.until(async () => endpointOf(await client.established()) === 'other');
    const after = await client.established();
    expect(addressesOf(after)).toEqual(addressesOf(before));
    expect(carriedBy(after)).toEqual(addressesOf(before));
    await mesh.addClient(node, 'late').established();
    await mesh.clock.advance(lifetimeMs);
    const live = Object.values(await mesh.connectionsAt(`memory:${node.name}/other`));
    expect(live).toHaveLength(held.length + 1);
    expect(new Set(live.flatMap(addressesOf)).size).toBe(held.length + 1);
    expect(addressesOf(await client.established())).toEqual(addressesOf(before));
  });
});

/** A first Request of a client with an identity, under a connection id that nobody has seen. */
let requests = 0;
async function returning(client: {
  readonly name: string;
  readonly subject?: string;
  readonly interfaceName?: string;
}): Promise<Connection> {
  requests += 1;
  const request = mesh.firstRequest(`life-${requests}`);
  const [own] = request.connection?.path?.pathSegments ?? [];
  if (own === undefined || request.connection === undefined) throw new Error('no path');
  own.name = client.name;
  own.token = client.subject === undefined ? '' : tokenOf(client.subject);
  request.connection = withClientInterface(request.connection, client.interfaceName);
  return mesh.run(mesh.request(node.managerUrl, request));
}

function tokenOf(subject: string): string {
  const claims = pathTokenClaims({ subject, audience: [], expiresAtMs: 1_000_000 });
  return joinJwt(jwtSigningInput(pathTokenHeader, claims), new Uint8Array([1]));
}

const close = (connection: Connection) => mesh.run(mesh.close(node.managerUrl, connection));

describe('a client that comes back', () => {
  it('under a new connection id has the same address', async () => {
    await mesh.addEndpoint(node, 'nse');
    const before = await returning({ name: 'nsc', interfaceName: 'nsm-1' });
    await close(before);
    const other = await returning({ name: 'other', interfaceName: 'nsm-1' });
    const after = await returning({ name: 'nsc', interfaceName: 'nsm-1' });
    expect(addressesOf(after)).toEqual(addressesOf(before));
    expect(addressesOf(other)).not.toEqual(addressesOf(before));
    await close(other);
    await close(after);
  });

  it('after its connection has expired has the same address', async () => {
    await mesh.addEndpoint(node, 'nse');
    const before = await returning({ name: 'nsc' });
    await mesh.clock.advance(lifetimeMs + 1_000);
    expect(await mesh.connectionsAt(node.managerUrl)).toEqual({});
    const other = await returning({ name: 'other' });
    const after = await returning({ name: 'nsc' });
    expect(addressesOf(after)).toEqual(addressesOf(before));
    await close(other);
    await close(after);
  });

  it('shares an identity with other pods, and each has an address of its own', async () => {
    await mesh.addEndpoint(node, 'nse');
    const subject = 'spiffe://example.org/deployment';
    const pods = ['pod-1', 'pod-2', 'pod-3'];
    const before: Connection[] = [];
    for (const name of pods) before.push(await returning({ name, subject }));
    expect(new Set(before.flatMap(addressesOf)).size).toBe(pods.length);
    for (const each of before) await close(each);
    const after: Connection[] = [];
    for (const name of pods.toReversed()) after.push(await returning({ name, subject }));
    expect(after.map(addressesOf)).toEqual(before.map(addressesOf).toReversed());
    for (const each of after) await close(each);
  });

  it('has two wires to the service, and each interface its own address, whatever their order', async () => {
    await mesh.addEndpoint(node, 'nse');
    const services = ['kernel://service/nsm-1', 'kernel://service/nsm-2'];
    const before = mesh.addClient(node, 'nsc', services);
    const [one, two] = [await before.established('nsc-0'), await before.established('nsc-1')];
    expect(addressesOf(one)).not.toEqual(addressesOf(two));
    await before.stop();
    const after = mesh.addClient(node, 'nsc', services.toReversed());
    expect(addressesOf(await after.established('nsc-0'))).toEqual(addressesOf(two));
    expect(addressesOf(await after.established('nsc-1'))).toEqual(addressesOf(one));
  });
});

describe('a live connection', () => {
  /** Refreshed with something changed in its IP context. */
  async function refreshed(known: Connection, change: Partial<IPContext>): Promise<Connection> {
    const request = mesh.refreshOf(known);
    const { connection } = request;
    const context = connection?.context;
    if (connection === undefined || context?.ipContext === undefined) throw new Error('no context');
    const ipContext = { ...context.ipContext, ...change };
    request.connection = { ...connection, context: { ...context, ipContext } };
    return mesh.run(mesh.request(node.managerUrl, request));
  }

  it('whose address becomes excluded has another one after its next refresh', async () => {
    await mesh.addEndpoint(node, 'nse');
    const before = await returning({ name: 'nsc' });
    const after = await refreshed(before, { excludedPrefixes: ['172.16.0.0/30'] });
    expect(addressesOf(after)).toEqual(['172.16.0.5/32']);
    expect(carriedBy(after)).toEqual(['172.16.0.5/32']);
    await close(after);
  });

  it('holds the extra prefixes that it asks for, and they are free after it', async () => {
    await mesh.addEndpoint(node, 'nse', { cidr: '172.16.0.0/26', leaseKeepMs: 0 });
    const request = { addrFamily: {}, prefixLen: 28, requiredNumber: 2, requestedNumber: 8 };
    const { extraPrefixRequest } = create(IPContextSchema, { extraPrefixRequest: [request] });
    const asking = { extraPrefixRequest };
    const one = await refreshed(await returning({ name: 'one' }), asking);
    expect(one.context?.ipContext).toMatchObject({
      extraPrefixes: ['172.16.0.16/28', '172.16.0.32/28', '172.16.0.48/28'],
      dstRoutes: [{}, {}, {}, {}],
    });
    const two = await returning({ name: 'two' });
    await expect(refreshed(two, asking)).rejects.toMatchObject({
      details: { rule: 'ip_context.extra_prefix_request' },
    });
    await close(one);
    expect((await refreshed(two, asking)).context?.ipContext?.extraPrefixes).toHaveLength(3);
    await close(two);
  });
});
