// Protects healing, named after the reference's own cases: whichever part is lost, near or far, a wire that carries
// packets is repaired in place and never touched; a wire or a service that is dead is left at once for another
// Endpoint; a Close is never starved, and no failure is repeated without a pause.

import { afterEach, describe, expect, it } from 'vitest';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { createServiceLiveness } from '../../actors/client/service-liveness.ts';
import type { Contact } from '../../protocols/ports/liveness.ts';
import {
  type ClientPart,
  createMesh,
  type Mesh,
  type Node,
  type Part,
} from '../sandbox/in-process-mesh.ts';
import { simulatedLiveness } from '../sandbox/simulated-probes.ts';
import type { Fate } from '../sandbox/simulated-echoes.ts';

let mesh: Mesh;
let near: Node;
/** Where the Endpoint is. */
let far: Node;
let nse: Part;
let nseNetns: string;
let client: ClientPart;
let connection: Connection;
/** What becomes of echoes, whatever the wires say. */
let echoes: Fate | undefined;

const places = [
  { where: 'local', nodes: 1 },
  { where: 'remote', nodes: 2 },
] as const;

afterEach(() => mesh.end());

async function start(
  nodes: number,
  endpoint: { readonly onRequest?: (asked: Connection) => Connection } = {},
): Promise<void> {
  echoes = undefined;
  mesh = await createMesh(nodes);
  [near, far] = [mesh.nodes[0], mesh.nodes.at(-1)] as [Node, Node];
  nseNetns = mesh.newNamespace();
  nse = await mesh.addEndpoint(far, 'nse', { netns: nseNetns, ...endpoint });
  const liveness = simulatedLiveness(mesh, () => echoes);
  client = mesh.addClient(near, 'nsc', ['kernel://service/nsm-1'], { liveness });
  connection = await client.established();
  await mesh.clock.advance(1_000);
}

const prefix = (cidr: string) => requirePrefix(cidr, 'scenario');
const addSpare = (node = near) => mesh.addEndpoint(node, 'spare', { cidr: '172.16.1.0/24' });
const endpointOf = (each: Connection) => each.networkServiceEndpointName;
const phases = () => client.statuses('nsc-0').map(({ phase }) => phase);
const ids = (each: Connection) => each.path?.pathSegments.map(({ id }) => id);
const netns = () => connection.mechanism?.parameters['inodeURL'] ?? '';
const ownInterface = () => near.world.interfaceIn(netns(), 'nsm-1');
/** Endpoints that the client has had, in order. */
const endpointsHad = (): readonly string[] => [
  ...new Set(
    client
      .statuses('nsc-0')
      .flatMap((status) => ('connection' in status ? [endpointOf(status.connection)] : [])),
  ),
];

/** The process is gone, its namespace lives. */
const killEndpoint = () => mesh.cutOff(nse);
/** The process and its namespace. */
async function destroyEndpoint(): Promise<void> {
  far.world.removeNamespace(nseNetns);
  await mesh.cutOff(nse);
}

async function expectSameInterface(before: ReturnType<typeof ownInterface>): Promise<void> {
  const now = ownInterface();
  expect({ index: now?.index, mac: now?.macAddress }).toEqual({
    index: before?.index,
    mac: before?.macAddress,
  });
}

describe.each(places)('heal endpoint, $where', ({ nodes }) => {
  it('destroyed: the client has another one within 150 ms behind the same interface', async () => {
    await start(nodes);
    const before = ownInterface();
    await addSpare();
    await destroyEndpoint();
    await mesh.clock.advance(150);
    expect(client.phase()).toBe('established');
    expect(endpointOf(await client.established())).toBe('spare');
    await expectSameInterface(before);
    expect(ids(await client.established())?.slice(0, 3)).toEqual(ids(connection)?.slice(0, 3));
    expect(mesh.objects).toBe(2);
  });

  it('destroyed with no other: asks with pauses until there is one', async () => {
    await start(nodes);
    const before = ownInterface();
    await destroyEndpoint();
    await mesh.clock.advance(60_000);
    expect(client.statuses('nsc-0').at(-1)).toMatchObject({
      phase: 'healing',
      cause: expect.stringMatching(/wire|control plane/),
      lastError: { code: expect.any(String) },
    });
    const last = client.statuses('nsc-0').at(-1);
    expect(last?.phase === 'healing' ? last.attempts : 0).toBeGreaterThan(10);
    // 60 s in pauses of at most 5 s and at least half of each.
    expect(last?.phase === 'healing' ? last.attempts : 0).toBeLessThan(40);
    await addSpare();
    expect(endpointOf(await client.established())).toBe('spare');
    await expectSameInterface(before);
  });

  it('its process killed, its namespace alive: the wire is kept, whoever else there is', async () => {
    await start(nodes);
    const before = ownInterface();
    await addSpare();
    await killEndpoint();
    await mesh.clock.advance(60_000);
    expect(client.phase()).toBe('healing');
    expect(endpointsHad()).toEqual(['nse']);
    expect(ownInterface()).toEqual(before);
  });

  it('its process killed and then its namespace gone: the client leaves at once, in the middle of a pause', async () => {
    await start(nodes);
    await addSpare();
    await killEndpoint();
    await mesh.clock.advance(30_000);
    far.world.removeNamespace(nseNetns);
    await mesh.clock.advance(400);
    expect(endpointOf(await client.established())).toBe('spare');
    expect(client.phase()).toBe('established');
  });

  it('its service dead, its wire alive: reselect within 500 ms', async () => {
    let service: Contact = 'connected';
    await start(nodes);
    const liveness = createServiceLiveness({
      clock: mesh.clock,
      contact: async (address) => (address.startsWith('172.16.1.') ? 'connected' : service),
      port: 8080,
      intervalMs: 100,
      timeoutMs: 100,
      failedMax: 3,
    });
    const probing = mesh.addClient(near, 'probing', undefined, { liveness });
    expect(endpointOf(await probing.established())).toBe('nse');
    await mesh.clock.advance(1_000);
    await addSpare();
    service = 'refused';
    await mesh.clock.advance(500);
    expect(endpointOf(await probing.established())).toBe('spare');
    expect(probing.statuses('probing-0').map((each) => 'cause' in each && each.cause)).toContain(
      'service',
    );
  });
});

describe.each(places)('heal forwarder, $where', ({ nodes }) => {
  it.each(['near', 'far'] as const)(
    'restarted on the %s node: nothing is touched',
    async (which) => {
      await start(nodes);
      await addSpare();
      const before = ownInterface();
      const [forwarder] = (which === 'near' ? near : far).forwarders;
      await forwarder?.stop();
      await mesh.clock.advance(5_000);
      expect(mesh.objects).toBe(2 * nodes);
      await forwarder?.start();
      await mesh.until(() => client.phase() === 'established');
      expect(endpointsHad()).toEqual(['nse']);
      expect(ids(await client.established())).toEqual(ids(connection));
      expect(ownInterface()).toEqual(before);
    },
  );
});

describe.each(places)('heal manager, $where', ({ nodes }) => {
  it.each(['near', 'far'] as const)(
    'restarted on the %s node: nothing is touched',
    async (which) => {
      await start(nodes);
      await addSpare();
      const before = ownInterface();
      const { manager } = which === 'near' ? near : far;
      await manager.stop();
      await mesh.clock.advance(10_000);
      expect(mesh.objects).toBe(2 * nodes);
      await manager.start();
      await mesh.until(() => client.phase() === 'established');
      expect(endpointsHad()).toEqual(['nse']);
      expect(ids(await client.established())).toEqual(ids(connection));
      expect(ownInterface()).toEqual(before);
    },
  );
});

describe.each(places)('heal registry, $where', ({ nodes }) => {
  it('restarted: no client notices, and what comes after it heals', async () => {
    await start(nodes);
    await mesh.stopRegistry();
    await mesh.clock.advance(5_000);
    await mesh.startRegistry();
    expect(phases()).not.toContain('healing');
    await mesh.clock.advance(90_000);
    await addSpare();
    await destroyEndpoint();
    await mesh.clock.advance(500);
    expect(endpointOf(await client.established())).toBe('spare');
  });

  it('away: an Endpoint that is lost is replaced by one that was known', async () => {
    await start(nodes);
    await addSpare();
    await mesh.clock.advance(1_000);
    await mesh.stopRegistry();
    await destroyEndpoint();
    await mesh.clock.advance(500);
    expect(endpointOf(await client.established())).toBe('spare');
    await mesh.startRegistry();
    await mesh.clock.advance(90_000);
  });
});

describe.each(places)('heal connection, $where', ({ nodes }) => {
  it('data plane healthy, control plane healthy: nothing happens', async () => {
    await start(nodes);
    await mesh.clock.advance(30_000);
    expect(new Set(phases())).toEqual(new Set(['established']));
  });

  it('data plane healthy, control plane broken: repaired in place for ever', async () => {
    await start(nodes);
    await addSpare();
    await mesh.cutOff(nse);
    await mesh.clock.advance(300_000);
    expect(client.phase()).toBe('healing');
    expect(endpointsHad()).toEqual(['nse']);
    expect(mesh.objects).toBe(2 * nodes);
  });

  it('data plane broken, control plane healthy: reselect, within the time of a few echoes', async () => {
    await start(nodes);
    await addSpare();
    await mesh.clock.advance(100);
    echoes = 'lost';
    await mesh.until(() => client.phase() === 'healing');
    echoes = undefined;
    expect(endpointOf(await client.established())).toBe('spare');
    expect(client.statuses('nsc-0').find(({ phase }) => phase === 'healing')).toMatchObject({
      cause: 'wire',
      lastError: { details: { found: expect.stringMatching('172.16.0') } },
    });
  });

  it('data plane broken for a moment with no other Endpoint: established again on the old wire', async () => {
    await start(nodes);
    const before = ownInterface();
    echoes = 'lost';
    await mesh.clock.advance(2_000);
    expect(phases()).toContain('healing');
    echoes = undefined;
    await mesh.clock.advance(6_000);
    expect(client.phase()).toBe('established');
    expect(ownInterface()).toEqual(before);
    expect(mesh.objects).toBe(2 * nodes);
  });

  it('data plane broken for good with the only Endpoint answering: no Request without a pause', async () => {
    await start(nodes);
    echoes = 'lost';
    await mesh.clock.advance(60_000);
    expect(phases().length).toBeLessThan(80);
    expect(endpointsHad()).toEqual(['nse']);
    echoes = undefined;
    await mesh.until(() => client.phase() === 'established');
  });

  it('data plane broken, control plane broken: reselect', async () => {
    await start(nodes);
    await addSpare();
    await destroyEndpoint();
    await mesh.clock.advance(500);
    expect(endpointOf(await client.established())).toBe('spare');
  });

  it('the workload has set its interface down: nobody heals anything', async () => {
    await start(nodes);
    await addSpare();
    near.world.setInterfaceUp(netns(), 'nsm-1', false);
    await mesh.clock.advance(60_000);
    expect(new Set(phases())).toEqual(new Set(['established']));
    near.world.setInterfaceUp(netns(), 'nsm-1', true);
    await mesh.clock.advance(5_000);
    expect(endpointsHad()).toEqual(['nse']);
  });
});

describe.each(places)('refresh failed, $where', ({ nodes }) => {
  /** The Endpoint refuses until the returned function is called; its monitor and its wire go on. */
  async function startRefusing(): Promise<() => void> {
    let refuses = false;
    await start(nodes, {
      onRequest(asked) {
        if (refuses) throw new Error('not now');
        return asked;
      },
    });
    refuses = true;
    return () => (refuses = false);
  }

  it('with the data plane healthy: healing is shown with its attempts, the wire stays, and is mended', async () => {
    const mend = await startRefusing();
    await addSpare();
    await mesh.until(() => client.phase() === 'healing', 200_000);
    await mesh.clock.advance(30_000);
    const status = client.statuses('nsc-0').at(-1);
    expect(status).toMatchObject({
      phase: 'healing',
      cause: 'control plane',
      lastError: { message: expect.stringMatching(/refused/) },
    });
    expect(status?.phase === 'healing' ? status.attempts : 0).toBeGreaterThan(5);
    expect(endpointsHad()).not.toContain('spare');
    expect(mesh.objects).toBe(2 * nodes);
    mend();
    await mesh.until(() => client.phase() === 'established');
    expect(endpointsHad()).not.toContain('spare');
  });

  it('with the data plane broken: reselect', async () => {
    await startRefusing();
    await addSpare();
    await mesh.until(() => client.phase() === 'healing', 200_000);
    echoes = 'lost';
    await mesh.until(() => endpointsHad().includes('spare'), 2_000);
    echoes = undefined;
    await mesh.until(() => client.phase() === 'established');
  });
});

describe.each(places)('close during heal, $where', ({ nodes }) => {
  it.each(['alive', 'dead'] as const)(
    'with the data plane %s: at once, nothing left',
    async (plane) => {
      await start(nodes);
      if (plane === 'dead') await destroyEndpoint();
      else await killEndpoint();
      await mesh.clock.advance(20_000);
      expect(client.phase()).toBe('healing');
      const beganMs = mesh.clock.nowMs();
      await client.stop();
      expect(mesh.clock.nowMs() - beganMs).toBeLessThan(1_000);
      await mesh.clock.advance(1_000);
      expect(mesh.objects).toBe(0);
    },
  );
});

describe.each(places)('custom reselect, $where', ({ nodes }) => {
  it('a client that is bound to its Endpoint never leaves it', async () => {
    await start(nodes);
    const liveness = simulatedLiveness(mesh, () => echoes);
    const bound = mesh.addClient(near, 'bound', ['kernel://service/nsm-1'], {
      liveness,
      endpointName: 'nse',
    });
    expect(endpointOf(await bound.established())).toBe('nse');
    await addSpare();
    await mesh.clock.advance(200);
    echoes = 'lost';
    await mesh.clock.advance(3_000);
    echoes = undefined;
    await mesh.until(() => bound.phase() === 'established' && client.phase() === 'established');
    expect(endpointOf(await bound.established())).toBe('nse');
  });
});

describe.each(places)('two clients of the same name, $where', ({ nodes }) => {
  it('heal each for itself', async () => {
    await start(nodes);
    const second = mesh.addClient(near, 'nsc', undefined, { liveness: simulatedLiveness(mesh) });
    await second.established();
    await addSpare();
    await destroyEndpoint();
    await mesh.until(() => [client, second].every((each) => each.phase() === 'established'));
    await mesh.clock.advance(1_000);
    for (const each of [client, second]) {
      expect(endpointOf(await each.established())).toBe('spare');
    }
    expect(mesh.objects).toBe(4);
  });
});

describe.each(places)('several addresses and both families, $where', ({ nodes }) => {
  it('one pair that is dead is enough to leave', async () => {
    await start(nodes);
    const cidrPrefixes = (third: number) =>
      [`172.20.${third}.0/24`, `fd00:${third}::/64`].map((cidr) => [prefix(cidr)]);
    const service = { serviceNames: ['dual'] };
    await mesh.addEndpoint(far, 'dual-1', { ...service, cidrPrefixes: cidrPrefixes(1) });
    let broken = false;
    const liveness = simulatedLiveness(mesh, ({ destination }) =>
      broken && destination.startsWith('fd00:1:') ? 'lost' : undefined,
    );
    const dual = mesh.addClient(near, 'dual', ['kernel://dual/nsm-1'], { liveness });
    expect((await dual.established()).context?.ipContext?.dstIpAddrs).toHaveLength(2);
    await mesh.clock.advance(1_000);
    await mesh.addEndpoint(near, 'dual-2', { ...service, cidrPrefixes: cidrPrefixes(2) });
    broken = true;
    await mesh.clock.advance(500);
    expect(endpointOf(await dual.established())).toBe('dual-2');
  });
});

describe('a node that was cut off and comes back', () => {
  it('hears that the client has gone elsewhere, and keeps nothing of it', async () => {
    await start(2);
    await addSpare();
    await mesh.cutOff({ url: far.managerUrl, stop: async () => {} });
    echoes = 'lost';
    await mesh.until(() => endpointsHad().includes('spare'), 2_000);
    echoes = undefined;
    await mesh.until(() => client.phase() === 'established');
    expect(far.world.objectCount()).toBe(2);
    await mesh.clock.advance(30_000);
    await far.manager.stop();
    await far.manager.start();
    await mesh.clock.advance(20_000);
    expect(far.world.objectCount()).toBe(0);
    expect(await mesh.connectionsAt(nse.url)).toEqual({});
    expect(endpointOf(await client.established())).toBe('spare');
  });
});
