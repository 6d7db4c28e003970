// Protects the agreement on mechanisms through whole chains: memif and interfaces on one node, encrypted tunnels where
// both nodes have them and VXLAN where one has not, keys and sockets that refreshes and restarts keep, refusals that say
// what there is, and private keys that nobody gets to see.

import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import type { MadeEnd, SimulatedWire } from '../../dataplane/simulated/simulated-world.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { TunnelKeysRecordSchema } from '../../protocols/nsm/gen/vwire_journal_pb.ts';
import { memifMechanism } from '../../protocols/nsm/memif-mechanism.ts';
import { wireguardMechanism } from '../../protocols/nsm/wireguard-mechanism.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { type Log, silentLog } from '../../protocols/ports/log.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { openTunnelKeys } from '../../transports/tunnel-keys/tunnel-keys.ts';
import { connectionOf } from '../sandbox/callers.ts';
import { createMesh, type Mesh, type MeshOptions, type Node } from '../sandbox/in-process-mesh.ts';
import { ProvenMesh } from '../sandbox/proven-mesh.ts';
import { fateOn } from '../sandbox/simulated-probes.ts';

const plain = ['KERNEL', 'VXLAN'];
const userSpace = ['KERNEL', 'MEMIF', 'VXLAN', 'WIREGUARD'];

let mesh: Mesh | undefined;

afterEach(async () => {
  await mesh?.end();
  mesh = undefined;
});

/** A node for each list of mechanisms. */
async function meshOf(
  mechanisms: readonly (readonly string[])[],
  options: MeshOptions & { readonly keyJournal?: Journal; readonly journal?: Journal } = {},
) {
  const made = (mesh = await createMesh(0, options));
  const nodes: Node[] = [];
  const { keyJournal, journal } = options;
  for (const [index, types] of mechanisms.entries()) {
    // What a test looks into is of the first node.
    const own = index > 0 ? {} : { ...(keyJournal && { keyJournal }), ...(journal && { journal }) };
    nodes.push(await made.addNode(`node-${index + 1}`, { mechanisms: types, ...own }));
  }
  const [first, second = first] = nodes;
  if (first === undefined || second === undefined) throw new Error('no node');
  return { made, first, second };
}

const wireOn = ({ world }: Node): SimulatedWire => {
  const [wire, ...others] = world.wires();
  if (wire === undefined || others.length > 0) throw new Error('not one wire');
  return wire;
};
const endOf = (node: Node, side: 'client' | 'endpoint'): MadeEnd => {
  const end = wireOn(node)[side]?.end;
  if (end === undefined) throw new Error(`no end towards the ${side}`);
  return end;
};

const firstOf = (made: Mesh, id: string, preferences?: Mechanism[]) => ({
  ...made.firstRequest(id),
  ...(preferences && { mechanismPreferences: preferences }),
});

describe('on one node', () => {
  const endsIn = { mechanisms: ['KERNEL', 'MEMIF'] as const };

  it('a memif client gets shared memory with a memif Endpoint: a socket of its own at either end', async () => {
    const { made, first } = await meshOf([userSpace]);
    const netns = made.newNamespace();
    await made.addEndpoint(first, 'nse', { ...endsIn, netns });
    const client = made.addClient(first, 'nsc', ['memif://service']);
    const { mechanism, path } = await client.established();
    expect(endOf(first, 'client')).toEqual({
      kind: 'memif',
      socket: {
        kind: 'abstract',
        name: mechanism?.parameters['socketfile'],
        netns: mechanism?.parameters['inodeURL'],
      },
      role: 'master',
      mode: 'ip',
    });
    expect(mechanism?.parameters['socketfile']).toBe(
      `@/tmp/memif/${path?.pathSegments[2]?.id}/memif.socket`,
    );
    expect(endOf(first, 'endpoint')).toEqual({
      kind: 'memif',
      socket: {
        kind: 'abstract',
        name: `@/tmp/memif/${path?.pathSegments[3]?.id}/memif.socket`,
        netns,
      },
      role: 'slave',
      mode: 'ip',
    });
    expect(wireOn(first).isJoined).toBe(true);
  });

  it('a client with an interface and a memif Endpoint have each their own; frames go through for ETHERNET', async () => {
    const { made, first } = await meshOf([userSpace]);
    await made.addEndpoint(first, 'nse', { ...endsIn, payload: 'ETHERNET' });
    await made.addClient(first, 'nsc').established();
    expect(endOf(first, 'client')).toMatchObject({ kind: 'kernel', interfaceName: 'nsm-1' });
    expect(endOf(first, 'endpoint')).toMatchObject({ kind: 'memif', mode: 'ethernet' });
  });

  it('an Endpoint that has no memif gets an interface, whatever is preferred', async () => {
    const { made, first } = await meshOf([userSpace]);
    await made.addEndpoint(first, 'nse');
    await made.addClient(first, 'nsc', ['memif://service']).established();
    expect(endOf(first, 'client').kind).toBe('memif');
    expect(endOf(first, 'endpoint').kind).toBe('kernel');
  });

  it('a memif client whose answer was lost, and who comes back as a stranger, has one wire', async () => {
    const { made, first } = await meshOf([userSpace]);
    await made.addEndpoint(first, 'nse');
    const asked = firstOf(made, 'a', [memifMechanism({ inodeUrl: 'inode://4/99' })]);
    await made.run(made.request(first.managerUrl, asked));
    const known = await made.run(made.request(first.managerUrl, asked));
    expect(made.objects).toBe(2);
    const other = firstOf(made, 'b', [memifMechanism({ inodeUrl: 'inode://4/99' })]);
    const second = await made.run(made.request(first.managerUrl, other));
    expect(made.objects).toBe(4);
    for (const each of [known, second]) await made.run(made.close(first.managerUrl, each));
  });

  it('a memif wire ends with the namespace of its client', async () => {
    const { made, first } = await meshOf([userSpace]);
    await made.addEndpoint(first, 'nse');
    const preferences = [memifMechanism({ inodeUrl: 'inode://4/99' })];
    const known = await made.run(made.request(first.managerUrl, firstOf(made, 'a', preferences)));
    first.world.removeNamespace('inode://4/99');
    await made.until(() => made.objects === 0);
    expect(await made.connectionsAt(first.forwarders[0]?.url ?? '')).toEqual({});
    await made.run(made.close(first.managerUrl, known));
  });
});

describe('between two nodes', () => {
  const established = async (made: Mesh, node: Node) =>
    (await made.addClient(node, 'nsc').established()).context;

  it('the tunnel is WireGuard where both have it: each knows the key of the other, and packets get through', async () => {
    const { made, first, second } = await meshOf([userSpace, userSpace]);
    await made.addEndpoint(second, 'nse');
    const context = await established(made, first);
    const near = endOf(first, 'endpoint');
    const far = endOf(second, 'client');
    if (near.kind !== 'wireguard' || far.kind !== 'wireguard') expect.fail('no WireGuard');
    expect(near).toMatchObject({ localPort: far.remotePort, localIp: far.remoteIp });
    expect(near.remotePort).toBe(far.localPort);
    expect(near.localPort).toBeGreaterThanOrEqual(61_000);
    expect(near.peerPublicKey).toBe(far.publicKey);
    expect(far.peerPublicKey).toBe(near.publicKey);
    expect(context?.MTU).toBe(1440);
    const [source = '', destination = ''] = [
      context?.ipContext?.srcIpAddrs[0],
      context?.ipContext?.dstIpAddrs[0],
    ].map((cidr) => cidr?.split('/')[0]);
    expect(fateOn(made.nodes, { source, destination })).toBe('answered');
  });

  it.each([
    ['the client’s', plain, userSpace],
    ['the Endpoint’s', userSpace, plain],
  ])('it is VXLAN where %s node has no WireGuard', async (_, near, far) => {
    const { made, first, second } = await meshOf([near, far]);
    await made.addEndpoint(second, 'nse');
    const context = await established(made, first);
    expect([endOf(first, 'endpoint').kind, endOf(second, 'client').kind]).toEqual([
      'vxlan',
      'vxlan',
    ]);
    expect(context?.MTU).toBe(1446);
  });

  it('it is VXLAN for frames, and where the operator puts VXLAN first', async () => {
    const { made, first, second } = await meshOf([userSpace, userSpace]);
    await made.addEndpoint(second, 'nse', { payload: 'ETHERNET' });
    await established(made, first);
    expect(endOf(first, 'endpoint').kind).toBe('vxlan');
    await made.end();
    mesh = undefined;
    const other = (mesh = await createMesh(0));
    const node = await other.addNode('node-1', {
      mechanisms: userSpace,
      mechanismPriority: ['VXLAN'],
    });
    const beyond = await other.addNode('node-2', { mechanisms: userSpace });
    await other.addEndpoint(beyond, 'nse');
    await established(other, node);
    expect(endOf(node, 'endpoint').kind).toBe('vxlan');
  });

  it('two nodes without a tunnel in common refuse, with what each of them has', async () => {
    const { made, first, second } = await meshOf([['KERNEL', 'WIREGUARD'], plain]);
    await made.addEndpoint(second, 'nse');
    await expect(
      made.run(made.request(first.managerUrl, made.firstRequest('a'))),
    ).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: {
        hop: 'forwarder-node-2',
        expected: 'one of KERNEL, VXLAN',
        found: 'WIREGUARD',
      },
    });
    expect(made.objects).toBe(0);
  });
});

it('a mechanism that nobody has is refused with those that there are', async () => {
  const { made, first } = await meshOf([plain]);
  await made.addEndpoint(first, 'nse');
  const preferences = [memifMechanism({ inodeUrl: 'inode://4/99' })];
  await expect(
    made.run(made.request(first.managerUrl, firstOf(made, 'a', preferences))),
  ).rejects.toMatchObject({
    code: 'UNIMPLEMENTED',
    details: { hop: 'forwarder-node-1', expected: 'one of KERNEL, VXLAN', found: 'MEMIF' },
  });
  expect(made.objects).toBe(0);
});

it('a data plane that could make nothing when the forwarder started is asked again', async () => {
  const made = (mesh = await createMesh(0));
  const node = await made.addNode('node-1', {
    capabilities: { mechanisms: [], missing: ['bridge'] },
  });
  await made.addEndpoint(node, 'nse');
  const known = await made.run(made.request(node.managerUrl, made.firstRequest('a')));
  expect(made.objects).toBe(2);
  await made.run(made.close(node.managerUrl, known));
});

it('a client refuses to ask for what it cannot be the end of, before it asks for anything', async () => {
  const { made, first } = await meshOf([userSpace]);
  await made.addEndpoint(first, 'nse');
  expect(() => made.addClient(first, 'nsc', ['kernel://service', 'vfio://service'])).toThrow(
    expect.objectContaining({
      code: 'INVALID_ARGUMENT',
      details: expect.objectContaining({ found: 'vfio://' }),
    }),
  );
  await made.clock.advance(1_000);
  expect(made.objects).toBe(0);
});

describe('a live tunnel', () => {
  const refresh = (made: Mesh, { managerUrl }: Node, known: Connection) =>
    made.run(made.request(managerUrl, made.refreshOf(known)));
  const ends = (...nodes: readonly Node[]) => nodes.map((node) => wireOn(node));

  async function withTunnel() {
    const parts = await meshOf([userSpace, userSpace]);
    const { made, first, second } = parts;
    await made.addEndpoint(second, 'nse');
    const known = await made.run(made.request(first.managerUrl, made.firstRequest('a')));
    return { ...parts, known, before: ends(first, second) };
  }

  it('keeps its keys over refreshes, and over restarts of both forwarders', async () => {
    const { made, first, second, known, before } = await withTunnel();
    const again = await refresh(made, first, known);
    expect(ends(first, second)).toEqual(before);
    for (const { forwarders } of [first, second]) {
      await forwarders[0]?.stop();
      await made.clock.advance(1_000);
      await forwarders[0]?.start();
    }
    expect(ends(first, second)).toEqual(before);
    const last = await refresh(made, first, again);
    expect(ends(first, second)).toEqual(before);
    await made.run(made.close(first.managerUrl, last));
  });

  it('is made again with the same keys where the data plane has lost it', async () => {
    const { made, first, second, known, before } = await withTunnel();
    for (const owner of ['mesh forwarder-node-1']) {
      const [id = ''] = first.world.wiresOf(owner).keys();
      first.world.deleteEnd(owner, id, 'endpoint');
    }
    await made.until(() => wireOn(first).isJoined);
    expect(ends(first, second)).toEqual(before);
    await made.run(made.close(first.managerUrl, known));
  });

  it('whose keys are lost with the state of a forwarder stays as it is, and gets other ones at the next refresh', async () => {
    const keyJournal = createMemoryJournal();
    const { made, first, second } = await meshOf([userSpace, userSpace], { keyJournal });
    await made.addEndpoint(second, 'nse');
    const known = await made.run(made.request(first.managerUrl, made.firstRequest('a')));
    const before = ends(first, second);
    await first.forwarders[0]?.stop();
    await keyJournal.delete('tunnel-keys');
    await first.forwarders[0]?.start();
    await made.clock.advance(60_000);
    expect(ends(first, second)).toEqual(before);
    const last = await refresh(made, first, known);
    const [near, far] = [endOf(first, 'endpoint'), endOf(second, 'client')];
    if (near.kind !== 'wireguard' || far.kind !== 'wireguard') expect.fail('no WireGuard');
    expect(ends(first, second)).not.toEqual(before);
    expect([near.peerPublicKey, far.peerPublicKey]).toEqual([far.publicKey, near.publicKey]);
    await made.run(made.close(first.managerUrl, last));
  });
});

/** Every form in which a key may be written down. */
const formsOf = (key: Uint8Array): readonly string[] => {
  const bytes = Buffer.from(key);
  return [
    bytes.toString('base64').replace(/=+$/, ''),
    bytes.toString('base64url'),
    bytes.toString('hex'),
    bytes.toString('latin1'),
    [...key].join(','),
  ];
};

async function secretsOf(journal: Journal, names: readonly string[]) {
  const kept = (await journal.load()).get('tunnel-keys') ?? new Uint8Array();
  const keys = await openTunnelKeys({ journal, ipsec: false });
  const { wireguardSecret } = fromBinary(TunnelKeysRecordSchema, kept);
  return [wireguardSecret, ...names.map((name) => keys.wireguardPrivateKey(name))];
}

const plainJson = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value;

describe('a private key', () => {
  it('is in no log, no connection, no record of one and no wire', async () => {
    const keyJournal = createMemoryJournal();
    const journal = createMemoryJournal();
    const seen: string[] = [];
    const write = (message: string, fields?: object): void =>
      void seen.push(`${message} ${JSON.stringify(fields ?? {}, plainJson)}`);
    const log: Log = {
      ...silentLog,
      error: write,
      warn: write,
      info: write,
      debug: write,
      child: () => log,
    };
    const options = { keyJournal, journal, log };
    const { made, first, second } = await meshOf([userSpace, userSpace], options);
    await made.addEndpoint(second, 'nse');
    const known = await made.run(made.request(first.managerUrl, made.firstRequest('a')));
    const near = endOf(first, 'endpoint');
    if (near.kind !== 'wireguard') expect.fail('no WireGuard');
    for (const url of [first.managerUrl, first.forwarders[0]?.url ?? '', second.managerUrl]) {
      seen.push(JSON.stringify(await made.connectionsAt(url), plainJson));
    }
    seen.push(JSON.stringify([known, wireOn(first)], plainJson));
    for (const value of (await journal.load()).values()) {
      seen.push(Buffer.from(value).toString('latin1'), Buffer.from(value).toString('hex'));
    }
    await made.run(made.close(first.managerUrl, known));
    const all = seen.join('\n');
    expect(all).toContain(near.publicKey);
    for (const key of await secretsOf(keyJournal, [near.keyName])) {
      for (const form of formsOf(key)) expect(all).not.toContain(form);
    }
  });

  it('is in no line of the log or the audit log of parts that prove who they are', async () => {
    const proven = new ProvenMesh();
    const journal = createMemoryJournal();
    const keys = await openTunnelKeys({ journal, ipsec: false });
    const managerUrl = await proven.manager();
    await proven.forwarder(managerUrl, keys);
    await proven.endpoint(managerUrl);
    const caller = await proven.caller('nsc');
    const peerKeys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: false });
    const srcPublicKey = peerKeys.wireguardPublicKey('peer');
    const preference = wireguardMechanism({ srcIp: '10.0.0.9', srcPublicKey });
    const token = caller.token('spiffe://home.test/nsmgr');
    const asked = connectionOf([{ name: 'nsc', id: 'nsc-1', token }]);
    const answer = await caller.request(managerUrl, asked, [preference]);
    const [wire] = [...proven.world.wires()];
    const end = wire?.client?.end;
    if (end?.kind !== 'wireguard') expect.fail('no WireGuard');
    expect(answer.mechanism?.parameters['dst_public_key']).toBe(end.publicKey);
    await caller.close(managerUrl, answer);
    const lines = (await proven.end()).join('\n');
    expect(lines).toContain('Request');
    for (const key of await secretsOf(journal, [end.keyName])) {
      for (const form of formsOf(key)) expect(lines).not.toContain(form);
    }
  }, 30_000);
});
