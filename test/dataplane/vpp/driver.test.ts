// Protects what the VPP driver says to VPP, and when, over a VPP in memory: the client's frames turn over by one message
// while both ways stand, nothing is deleted that others' frames go through, and a VPP that lost everything gets it back.

import { expect, test } from 'vitest';
import { createVppDataplane } from '../../../dataplane/vpp/vpp.ts';
import { NsmError } from '../../../protocols/errors.ts';
import type { DataplaneEvent, MemifEnd, Wire } from '../../../protocols/ports/dataplane.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { Vpp } from '../../../protocols/ports/vpp.ts';
import { createPlannedFaults, faultyVpp } from '../../sandbox/planned-faults.ts';
import { createFakeVpp, noStatistics } from '../../sandbox/fake-vpp.ts';
import { endpointEnd, localWire, tunnel } from '../../sandbox/wires.ts';
import { createFakeEnds } from './fake-ends.ts';

const budget = { timeoutMs: 5_000 };
function setUp() {
  const vpp = createFakeVpp();
  const ends = createFakeEnds();
  const owner = { installation: 'ours', forwarder: 'first' };
  const parts = { vpp, ends, statistics: noStatistics, clock: systemClock };
  const driver = (pathOf = (url: string) => url.replace('file://', ''), through: Vpp = vpp) =>
    createVppDataplane({ ...owner, ...parts, vpp: through, pathOf });
  return { vpp, ends, driver };
}

const wire = localWire({ client: 'a', endpoint: 'b' }, 1);
const elsewhere: Wire = { ...wire, endpoint: endpointEnd('c', 1) };
const overPort = (remotePort: number): Wire => ({
  ...wire,
  endpoint: tunnel({
    localIp: '192.0.2.1',
    remoteIp: '192.0.2.2',
    localPort: 4789,
    remotePort,
    vni: 7,
  }),
});

test('a retarget makes the new end first, turns the client over, and takes the old end away last', async () => {
  const { vpp, driver } = setUp();
  const dataplane = driver();
  await dataplane.ensure(wire, budget);
  const before = vpp.log.length;
  await dataplane.ensure(elsewhere, budget);
  const [client, old, next] = ['c-a', 'e-b', 'e-c'].map((end) => `host-vw-wire-1-${end}`);
  expect(vpp.log.slice(before)).toEqual([
    `create ${next}`,
    `tag ${next}`,
    `join ${next} to ${client}`,
    `join ${client} to ${next}`,
    `delete ${old}`,
  ]);
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
});

test('a failure after the joining turns the client back and leaves the old way whole', async () => {
  const { ends, driver } = setUp();
  const dataplane = driver();
  await dataplane.ensure(wire, budget);
  ends.failAfterJoining();
  await expect(dataplane.ensure(elsewhere, budget)).rejects.toThrow('as planned');
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
  expect(await dataplane.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
});

test('a tunnel that only changes its remote port is replaced, and comes back where that fails', async () => {
  const { ends, driver, vpp } = setUp();
  const dataplane = driver();
  await dataplane.ensure(overPort(4789), budget);
  ends.failAfterJoining();
  await expect(dataplane.ensure(overPort(4799), budget)).rejects.toThrow('as planned');
  const [tunnelThere] = await vpp.dump(
    'vxlan_tunnel_v2_dump',
    { sw_if_index: 0xffff_ffff },
    budget,
  );
  expect(tunnelThere).toMatchObject({ dst_port: 4789 });
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
  await dataplane.ensure(overPort(4799), budget);
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
});

test('a link that was made anew gets a host interface of its own', async () => {
  const { ends, driver, vpp } = setUp();
  const dataplane = driver();
  await dataplane.ensure(wire, budget);
  ends.loseLink(wire.id, 'endpoint');
  expect(await dataplane.inspect(wire.id, budget)).toEqual([
    'the link of host-vw-wire-1-e-b towards the Endpoint is gone',
  ]);
  await dataplane.ensure(wire, budget);
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
  expect(vpp.log.filter((line) => line.startsWith('delete'))).toEqual([
    'delete host-vw-wire-1-e-b',
  ]);
});

test('a wire whose MTU no longer fits its frames gets larger ones', async () => {
  const { driver, vpp } = setUp();
  const dataplane = driver();
  await dataplane.ensure(wire, budget);
  await dataplane.ensure({ ...wire, mtu: 9000 }, budget);
  expect(vpp.log.filter((line) => line.startsWith('delete'))).toHaveLength(2);
  const before = vpp.log.length;
  await dataplane.ensure({ ...wire, mtu: 1500 }, budget);
  expect(vpp.log.slice(before).filter((line) => !line.startsWith('join'))).toEqual([]);
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
});

test('a VPP that ended gets every wire back, and nobody is told of damage', async () => {
  const { driver, vpp } = setUp();
  const dataplane = driver();
  const heard: DataplaneEvent[] = [];
  dataplane.watch((event) => heard.push(event));
  const wires = Array.from({ length: 20 }, (_, at) =>
    localWire({ client: 'a', endpoint: 'b' }, at),
  );
  await Promise.all([...wires, overPort(4789)].map((each) => dataplane.ensure(each, budget)));
  vpp.kill();
  vpp.start();
  await eventually('all are whole', 5_000, async () => {
    const found = await dataplane.list(budget);
    expect(found).toHaveLength(20);
    expect(found.every(({ complete }) => complete)).toBe(true);
  });
  expect(heard).toEqual([]);
  await dataplane.close();
});

test('what an earlier life of the forwarder made is told when VPP has lost it', async () => {
  const { driver, vpp } = setUp();
  const earlier = driver();
  await earlier.ensure(wire, budget);
  await earlier.close();
  const restarted = driver();
  const heard: DataplaneEvent[] = [];
  restarted.watch((event) => heard.push(event));
  await restarted.list(budget);
  vpp.kill();
  vpp.start();
  await eventually('it is told', 5_000, () => expect(heard).toHaveLength(1));
  expect(heard).toMatchObject([{ kind: 'damaged', wireId: wire.id }]);
  await restarted.close();
});

test('a wire is removed while VPP is away, and does not come back with it', async () => {
  const { driver, vpp } = setUp();
  const dataplane = driver();
  await dataplane.ensure(wire, budget);
  vpp.kill();
  await dataplane.remove([wire.id], budget);
  vpp.start();
  expect(await dataplane.list(budget)).toEqual([]);
});

test('a cross connect that somebody takes away is noticed, told once, and put back', async () => {
  const { driver, vpp } = setUp();
  const dataplane = driver();
  const heard: DataplaneEvent[] = [];
  dataplane.watch((event) => heard.push(event));
  await dataplane.ensure(wire, budget);
  vpp.change('sw_interface_set_l2_xconnect', { rx_sw_if_index: 1, enable: false });
  await eventually('it is told', 5_000, () => expect(heard).toHaveLength(1));
  expect(heard).toMatchObject([{ kind: 'damaged', wireId: wire.id }]);
  await dataplane.ensure(wire, budget);
  expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
  await dataplane.close();
});

const shared: Wire = {
  ...wire,
  client: {
    kind: 'memif',
    socket: {
      kind: 'abstract',
      name: '@/tmp/memif/1/memif.socket',
      netns: 'file:///proc/1/ns/net',
    },
    role: 'master',
    mode: 'ethernet',
  },
};

test("a workload's memif is joined, found again by another path to its namespace, and goes with its socket", async () => {
  const { driver, vpp } = setUp();
  await driver().ensure(shared, budget);
  const socketsOf = () => vpp.dump('memif_socket_filename_dump', {}, budget);
  expect(await socketsOf()).toMatchObject([
    { socket_filename: 'abstract:/tmp/memif/1/memif.socket,netns_name=/proc/1/ns/net' },
  ]);
  const before = vpp.log.length;
  const restarted = driver(() => '/proc/2/ns/net');
  await restarted.ensure(shared, budget);
  expect(vpp.log.slice(before).filter((line) => !line.startsWith('join'))).toEqual([]);
  expect(await restarted.inspect(wire.id, budget)).toEqual([]);
  await restarted.remove([wire.id], budget);
  expect(await socketsOf()).toEqual([]);
});

test('a memif of packets that was made and not yet tagged is known by the number of its socket, and goes with the wire', async () => {
  const { driver, vpp } = setUp();
  const faults = createPlannedFaults();
  const packets: Wire = {
    ...shared,
    payload: 'IP',
    client: { ...shared.client, mode: 'ip' } as MemifEnd,
  };
  for (let step = 0; step < 60; step++) {
    faults.crashAt(step);
    await driver(undefined, faultyVpp(vpp, faults))
      .ensure(packets, budget)
      .catch(() => {});
    const { hasStruck } = faults;
    faults.heal();
    const next = driver();
    if (step % 2 === 0) {
      await next.ensure(packets, budget);
      expect(await next.inspect(wire.id, budget), `step ${step}`).toEqual([]);
    }
    await next.remove([wire.id], budget);
    expect(await vpp.dump('memif_dump', {}, budget), `step ${step}`).toEqual([]);
    if (!hasStruck) return;
  }
  expect.fail('too many steps');
});

test('a workload that leaves its memif, comes back, and ends, is told each time', async () => {
  const { driver, vpp } = setUp();
  let isThere = true;
  const dataplane = driver((url) => {
    if (isThere) return url;
    throw new NsmError('NOT_FOUND', 'no process is in it');
  });
  const heard: string[] = [];
  dataplane.watch(({ kind, ...event }) => {
    heard.push('side' in event ? `${event.side} ${kind}` : kind);
  });
  await dataplane.ensure(shared, budget);
  const [memif] = await vpp.dump('memif_dump', {}, budget);
  const index = memif?.sw_if_index ?? 0;
  // That nobody has taken it up yet is no news.
  vpp.setLink(index, false);
  vpp.setLink(index, true);
  vpp.setLink(index, false);
  vpp.setLink(index, true);
  vpp.setLink(index, false);
  isThere = false;
  await eventually('its end is told', 5_000, () => expect(heard).toHaveLength(4));
  const [down, up] = ['client linkDown', 'client linkUp'];
  expect(heard).toEqual([down, up, down, 'client namespaceGone']);
  await dataplane.close();
});

test('a memif in a namespace that is gone is refused by the rule of that side', async () => {
  const { driver } = setUp();
  const dataplane = driver(() => {
    throw new NsmError('NOT_FOUND', 'no process is in it');
  });
  await expect(dataplane.ensure(shared, budget)).rejects.toMatchObject({
    code: 'NOT_FOUND',
    details: { rule: 'namespace of the client' },
  });
});

test('refuses what VPP does not make here, before anything is touched', async () => {
  const { driver, vpp } = setUp();
  const tagged = { ...wire, client: { ...wire.client, vlanId: 7 } } as Wire;
  const ofPackets = {
    ...shared,
    payload: 'IP',
    client: { ...shared.client, mode: 'ip' },
    endpoint: overPort(4789).endpoint,
  } as Wire;
  for (const refused of [tagged, ofPackets]) {
    await expect(driver().ensure(refused, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { rule: 'mechanism' },
    });
  }
  expect(vpp.log).toEqual([]);
});
