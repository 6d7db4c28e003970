// Protects a forwarder's part of a Request: which mechanism each side gets, that the intent is recorded before the
// wire is made, that a failure takes back what this Request made and no more, and how an Endpoint is reselected.

import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Hop, HopMemory } from '../../../actors/connection/hop.ts';
import type { Discovery } from '../../../actors/discovery/discovery.ts';
import { createCompletion } from '../../../actors/forwarder/completion.ts';
import { forwarderHop } from '../../../actors/forwarder/forwarder-hop.ts';
import { createVniTable, type VniTable } from '../../../actors/forwarder/vni-table.ts';
import { createTunnelPorts } from '../../../actors/forwarder/tunnel-ports.ts';
import { createDecisions } from '../../../actors/selection/decisions.ts';
import {
  createSimulatedDataplane,
  simulatedCapabilities,
  type SimulatedFault,
} from '../../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../../dataplane/simulated/simulated-world.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { farEndOf, withoutFarEnd } from '../../../protocols/nsm/far-end.ts';
import type { Connection, Mechanism } from '../../../protocols/nsm/gen/connection_pb.ts';
import { NetworkServiceEndpointSchema } from '../../../protocols/nsm/gen/registry_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { parameter, withParameters } from '../../../protocols/nsm/mechanism.ts';
import { vxlanMechanism } from '../../../protocols/nsm/vxlan-mechanism.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import {
  connectionAt,
  type FakeNextHop,
  fakeNextHop,
  hopRequest,
} from '../connection/hop-request.ts';
import { seededRandom } from '../runtime/fixture.ts';

const local = 'memory:node-1/nse';
const other = 'memory:node-1/nse-2';
const remote = 'memory:node-2/nsmgr';

let world: SimulatedWorld;
let vnis: VniTable;
let nextHop: FakeNextHop;
let hop: Hop;
let fault: SimulatedFault | undefined;
/** Endpoints of the service, in the order in which they are tried. */
let registered: { name: string; url: string }[];
let registryError: NsmError | undefined;

beforeEach(() => {
  world = new SimulatedWorld();
  vnis = createVniTable();
  fault = undefined;
  registered = [{ name: 'nse', url: local }];
  registryError = undefined;
  nextHop = fakeNextHop((url, asked) => ({
    ...asked,
    mechanism: url === remote ? completedVxlan(nextHop.sent.at(-1)?.preferences) : endpointEnd(url),
  }));
  const clock = createManualClock();
  const entry = (each: { name: string; url: string }) => create(NetworkServiceEndpointSchema, each);
  const discovery: Partial<Discovery> = {
    async findEndpointByName(name) {
      if (registryError !== undefined) throw registryError;
      const found = registered.find((each) => each.name === name);
      return found === undefined ? undefined : entry(found);
    },
    async discover() {
      if (registryError !== undefined) throw registryError;
      const networkService = { payload: 'IP' } as never;
      return { networkService, endpoints: new Map(), endpointCount: 0, isStale: false };
    },
    choose: () => ({ candidates: registered.map(entry), by: undefined, turn: 1, passedOver: [] }),
  };
  const own = { world, clock, installation: 'test', forwarder: 'forwarder' };
  const dataplane = createSimulatedDataplane({
    ...own,
    fault: (operation) => (operation === 'ensure' ? fault : undefined),
  });
  hop = forwarderHop({
    name: 'forwarder',
    completion: createCompletion({ dataplane, clock, log: silentLog, isHeld: async () => true }),
    discovery: discovery as Discovery,
    decisions: createDecisions({ wallClock: clock, random: seededRandom(1) }),
    loadOf: () => 0,
    nextHop,
    vnis,
    tunnelPorts: createTunnelPorts({ first: 61_000, last: 61_003 }),
    clock,
    log: silentLog,
    random: seededRandom(1),
    node: { domain: 'mesh', node: 'node-1' },
    tunnelIp: '10.9.0.1',
    vxlanPort: 4789,
    underlayMtu: 1500,
    undoTimeoutMs: 1_000,
    capabilities: simulatedCapabilities(),
    dataplane,
  });
});

const endpointEnd = (url: string) =>
  kernelMechanism({ netnsUrl: url === other ? 'inode://4/3' : 'inode://4/2', interfaceName: 'e' });

function completedVxlan(preferences: readonly unknown[] | undefined): Mechanism {
  const [offer] = (preferences ?? []) as Mechanism[];
  if (offer === undefined) throw new Error('nothing was offered');
  return withParameters(offer, { dst_ip: '10.9.0.2', dst_port: '4789', vni: '42', MTU: '1400' });
}

const preferences = [kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName: 'nsm-1' })];
const fresh = (change: Partial<Connection> = {}) =>
  hopRequest(connectionAt(2, ['nsc', 'nsmgr', 'forwarder'], change), { preferences });
const makeFirst = () => hop.request(fresh());

describe('a Request for a wire whose far end was gone', () => {
  it('says so no more, neither onwards nor back', async () => {
    const known = connectionAt(2, ['nsc', 'nsmgr', 'forwarder']);
    const gone = withoutFarEnd(known, farEndOf(known));
    if (gone === undefined) expect.fail('the mark was not made');
    const { connection } = await hop.request(hopRequest(gone, { preferences }));
    const marks = [nextHop.sent.at(-1)?.connection, connection].map((each) =>
      each?.path?.pathSegments.map(({ metrics }) => Object.keys(metrics)),
    );
    expect(marks).toEqual([
      [[], [], []],
      [[], [], []],
    ]);
  });
});

describe('a first Request', () => {
  it('gets the client its own mechanism back, and the Endpoint a kernel end', async () => {
    const { connection, memory } = await makeFirst();
    expect(connection.mechanism).toEqual(preferences[0]);
    expect(connection).toMatchObject({ networkServiceEndpointName: 'nse', payload: 'IP' });
    expect(memory).toMatchObject({ nextUrl: local, nextName: 'nse' });
    expect(memory.onwardMechanism).toEqual(endpointEnd(local));
    expect(nextHop.sent[0]?.connection.mechanism).toBeUndefined();
    expect(nextHop.sent[0]?.preferences).toMatchObject([{ cls: 'LOCAL', type: 'KERNEL' }]);
    expect(world.objectCount()).toBe(2);
  });

  it('offers a tunnel to another node, with this end filled in and no VNI', async () => {
    registered = [{ name: 'nse', url: remote }];
    const { connection, memory } = await makeFirst();
    expect(nextHop.sent[0]?.preferences).toMatchObject([
      {
        cls: 'REMOTE',
        type: 'VXLAN',
        parameters: { src_ip: '10.9.0.1', src_port: '4789', MTU: '1446' },
      },
    ]);
    expect(parameter(memory.onwardMechanism as Mechanism, 'vni')).toBe('42');
    expect(connection.mechanism?.type).toBe('KERNEL');
  });

  it('records the intent before it asks, and before the wire what was answered', async () => {
    const order: string[] = [];
    const recordIntent = async (memory: HopMemory): Promise<void> => {
      order.push(`${nextHop.told.length} told, ${world.objectCount()} ends, ${memory.nextUrl}`);
    };
    await hop.request({ ...fresh(), recordIntent });
    expect(order).toEqual([`0 told, 0 ends, ${local}`, `1 told, 0 ends, ${local}`]);
  });

  it('is taken back at the Endpoint where the wire cannot be made, and the next one is tried', async () => {
    registered.push({ name: 'nse-2', url: other });
    let failures = 0;
    fault = 'fail';
    const recordIntent = async (): Promise<void> => {
      failures += 1;
      if (failures === 3) fault = undefined;
    };
    const { connection } = await hop.request({ ...fresh(), recordIntent });
    expect(nextHop.told).toEqual([`request ${local}`, `close ${local}`, `request ${other}`]);
    expect(connection.networkServiceEndpointName).toBe('nse-2');
    expect(world.objectCount()).toBe(2);
  });

  it('holds no VNI after it failed', async () => {
    fault = 'fail';
    const tunnel = vxlanMechanism({ srcIp: '10.9.0.9', srcPort: 4789, mtu: 0 });
    await expect(hop.request({ ...fresh(), preferences: [tunnel] })).rejects.toBeDefined();
    expect(vnis.of('id-2')).toBeUndefined();
    expect(world.objectCount()).toBe(0);
  });

  it('is refused where no mechanism asked for is known here', async () => {
    const memif = { ...kernelMechanism({}), type: 'MEMIF' };
    await expect(hop.request({ ...fresh(), preferences: [memif] })).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
    });
    expect(nextHop.told).toEqual([]);
  });

  it('moves its tunnel to another port where the peer’s VNI is taken on this node', async () => {
    registered = [{ name: 'nse', url: remote }];
    await makeFirst();
    const second = connectionAt(2, ['nsc', 'nsmgr', 'forwarder'], { id: 'second' });
    const interfaceName = 'nsm-2';
    const result = await hop.request(
      hopRequest(second, {
        preferences: [kernelMechanism({ netnsUrl: 'inode://4/1', interfaceName })],
      }),
    );
    expect(parameter(result.memory.onwardMechanism as Mechanism, 'src_port')).toBe('4790');
    expect(world.objectCount()).toBe(4);
  });
});

describe('the mechanism towards another node’s forwarder', () => {
  const tunnel = vxlanMechanism({ srcIp: '10.9.0.9', srcPort: 4789, mtu: 1400 });
  const ask = (id: string, mechanism?: Mechanism, asked: Mechanism = tunnel) =>
    hop.request(
      hopRequest(
        connectionAt(2, ['f', 'nsmgr', 'forwarder'], { id, ...(mechanism ? { mechanism } : {}) }),
        {
          preferences: [asked],
          previous: undefined,
        },
      ),
    );
  const vniOf = (mechanism: Mechanism | undefined) =>
    Number(mechanism === undefined ? 0 : parameter(mechanism, 'vni'));

  it('is completed with this end, a drawn VNI and the smaller MTU', async () => {
    const { connection } = await ask('c-1');
    expect(connection.mechanism?.parameters).toMatchObject({
      src_ip: '10.9.0.9',
      dst_ip: '10.9.0.1',
      dst_port: '4789',
      MTU: '1400',
    });
    expect(vniOf(connection.mechanism)).toBeGreaterThan(0);
    expect(vnis.of('c-1')).toBe(vniOf(connection.mechanism));
  });

  it.each([
    { source: '10.0.0.9', parity: 0 },
    { source: '10.200.0.9', parity: 1 },
  ])('draws VNIs of the parity that the peers expect of $source', async ({ source, parity }) => {
    const asked = vxlanMechanism({ srcIp: source, srcPort: 4789, mtu: 0 });
    for (let turn = 0; turn < 8; turn += 1) {
      const { connection, memory } = await ask(`c-${turn}`, undefined, asked);
      expect(vniOf(connection.mechanism) % 2).toBe(parity);
      await hop.close(connection, memory, hopRequest(connection).call);
    }
  });

  it('stays the same over refreshes, and is given back at the end', async () => {
    const first = await ask('c-1');
    const again = await hop.request(
      hopRequest(first.connection, { preferences: [tunnel], previous: first }),
    );
    expect(again.connection.mechanism).toEqual(first.connection.mechanism);
    await hop.close(again.connection, again.memory, hopRequest(again.connection).call);
    expect(vnis.of('c-1')).toBeUndefined();
    expect(world.objectCount()).toBe(0);
  });

  it('takes the VNI that the peer says, and refuses one that another connection holds', async () => {
    const asked = withParameters(tunnel, { vni: '1001' });
    expect(vniOf((await ask('c-1', undefined, asked)).connection.mechanism)).toBe(1001);
    await expect(ask('c-2', undefined, asked)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { rule: 'vni' },
    });
    expect(vnis.of('c-2')).toBeUndefined();
    expect(vnis.of('c-1')).toBe(1001);
  });
});

describe('a refresh', () => {
  it('goes to the same Endpoint with the mechanism agreed on', async () => {
    const first = await makeFirst();
    await hop.request(hopRequest(first.connection, { preferences, previous: first }));
    expect(nextHop.told).toEqual([`request ${local}`, `request ${local}`]);
    expect(nextHop.sent[1]?.connection.mechanism).toEqual(endpointEnd(local));
  });

  it.each([
    { what: 'is away', set: () => (registryError = new NsmError('UNAVAILABLE', 'away')) },
    { what: 'has lost the Endpoint', set: () => (registered = []) },
  ])('goes on while the registry $what', async ({ set }) => {
    const first = await makeFirst();
    set();
    const again = await hop.request(hopRequest(first.connection, { preferences, previous: first }));
    expect(again.memory.nextUrl).toBe(local);
  });

  it('follows its Endpoint to another socket of the node, as after a restart, and leaves nobody', async () => {
    const [before, since] = ['unix:///proc/1/fd/7', 'unix:///proc/2/fd/9'];
    registered = [{ name: 'nse', url: before }];
    const first = await makeFirst();
    registered = [{ name: 'nse', url: since }];
    const { path } = connectionAt(2, ['nsc', 'nsmgr', 'forwarder', 'nse']);
    const known = { ...first.connection, ...(path && { path }) };
    const { memory } = await hop.request(hopRequest(known, { preferences, previous: first }));
    expect(nextHop.told).toEqual([`request ${before}`, `request ${since}`]);
    expect(nextHop.sent[1]?.connection.mechanism).toEqual(first.memory.onwardMechanism);
    expect(nextHop.sent[1]?.connection.path).toEqual(path);
    expect(memory.nextUrl).toBe(since);
  });

  it('that fails leaves the wire and the Endpoint as they are', async () => {
    const first = await makeFirst();
    fault = 'fail';
    await expect(
      hop.request(hopRequest(first.connection, { preferences, previous: first })),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(nextHop.told).toEqual([`request ${local}`, `request ${local}`]);
    expect(world.objectCount()).toBe(2);
  });
});

describe('a named Endpoint', () => {
  it('is the only one asked', async () => {
    registered.push({ name: 'nse-2', url: other });
    await hop.request(fresh({ networkServiceEndpointName: 'nse-2', payload: 'IP' }));
    expect(nextHop.told).toEqual([`request ${other}`]);
  });

  it('that is not registered is refused, as is every one while the registry is away', async () => {
    const named = fresh({ networkServiceEndpointName: 'nobody' });
    await expect(hop.request(named)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { rule: 'select-endpoint', found: 'none' },
    });
    registryError = new NsmError('UNAVAILABLE', 'away');
    await expect(hop.request(named)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(nextHop.told).toEqual([]);
  });

  it('that is none of the service’s is refused where no Endpoint fits, with what there is', async () => {
    registered = [];
    await expect(hop.request(fresh({ labels: { app: 'a' } }))).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { found: '0 registered for the service, labels of the client: app=a' },
    });
  });
});

describe('a reselect', () => {
  let firstIndex: number | undefined;
  const reselect = async () => {
    const first = await makeFirst();
    firstIndex = clientIndex();
    registered = [{ name: 'nse-2', url: other }];
    const { mechanism: _, ...connection } = first.connection;
    return hop.request(
      hopRequest(
        { ...connection, networkServiceEndpointName: '' },
        { preferences, previous: first, reselect: true },
      ),
    );
  };
  const clientIndex = () => world.interfaceIn('inode://4/1', 'nsm-1')?.index;

  it('leaves the old Endpoint only once the new path is ready, and keeps the client’s interface', async () => {
    const moved = await reselect();
    expect(nextHop.told).toEqual([`request ${local}`, `request ${other}`, `close ${local}`]);
    expect(moved.memory).toMatchObject({ nextUrl: other, nextName: 'nse-2' });
    expect(clientIndex()).toBe(firstIndex);
    expect(world.interfaceIn('inode://4/2', 'e')).toBeUndefined();
    expect(world.objectCount()).toBe(2);
  });

  it('has on record whom to tell of its end, whenever this process is killed', async () => {
    const first = await makeFirst();
    registered = [{ name: 'nse-2', url: other }];
    const { mechanism: _, ...connection } = first.connection;
    const left: (string | undefined)[] = [];
    await hop.request({
      ...hopRequest(
        { ...connection, networkServiceEndpointName: '' },
        { preferences, previous: first, reselect: true },
      ),
      async recordIntent({ nextUrl, leaving }) {
        left.push(`${nextUrl} leaves ${leaving?.url}`);
        expect(leaving?.connection.id).toBe(connection.id);
        hop.resume?.(leaving ?? { url: 'nobody', connection });
      },
    });
    expect(left).toEqual([`${local} leaves ${other}`, `${other} leaves ${local}`]);
    expect(nextHop.told).toEqual([
      `request ${local}`,
      `close ${other}`,
      `request ${other}`,
      `close ${local}`,
      `close ${local}`,
    ]);
  });

  it('that cannot make the new wire takes the Request back there and keeps the old one', async () => {
    const first = await makeFirst();
    const index = clientIndex();
    fault = 'fail';
    registered = [{ name: 'nse-2', url: other }];
    const { mechanism: _, ...connection } = first.connection;
    const asked = { ...connection, networkServiceEndpointName: '' };
    await expect(
      hop.request(hopRequest(asked, { preferences, previous: first, reselect: true })),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(nextHop.told.slice(1)).toEqual([`request ${other}`, `close ${other}`]);
    expect(clientIndex()).toBe(index);
    expect(world.interfaceIn('inode://4/2', 'e')).toBeDefined();
    expect(world.objectCount()).toBe(2);
  });
});

describe('a Close', () => {
  it('is not given up with its caller, but with its process', async () => {
    const first = await makeFirst();
    const [caller, ending] = [new AbortController(), new AbortController()];
    const closing = { ...hopRequest(first.connection).call, signal: caller.signal };
    ending.abort();
    await expect(
      hop.close(first.connection, first.memory, { ...closing, ending: ending.signal }),
    ).rejects.toMatchObject({ code: 'CANCELLED', details: { rule: 'local-part' } });
    expect(world.objectCount()).toBe(2);
    caller.abort();
    await hop.close(first.connection, first.memory, closing);
    expect(world.objectCount()).toBe(0);
  });

  it('takes the wire down also where the next hop cannot be reached, and says so', async () => {
    const first = await makeFirst();
    const unreachable: FakeNextHop['close'] = () =>
      Promise.reject(new NsmError('UNAVAILABLE', 'away'));
    Object.assign(nextHop, { close: unreachable });
    await expect(
      hop.close(first.connection, first.memory, hopRequest(first.connection).call),
    ).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(world.objectCount()).toBe(0);
  });
});
