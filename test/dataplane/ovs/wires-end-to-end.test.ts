// Protects what a wire over Open vSwitch is for: packets and streams cross it, local and remote, none are lost when it
// is retargeted or its forwarder starts again, and a switch that was killed has a hundred of them back soon.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { dropPorts } from '../../../dataplane/ovs/port-operations.ts';
import { select } from '../../../protocols/ovs/ovsdb-operations.ts';
import { uuidsOf } from '../../../protocols/ovs/ovsdb-values.ts';
import type { Wire } from '../../../protocols/ports/dataplane.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { transferOverTcp } from '../../../transports/netlink/tcp-transfer.ts';
import { createOvsdbClient } from '../../../transports/ovsdb/ovsdb-client.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox } from '../../sandbox/namespaces.ts';
import { whyNoOvs } from '../../sandbox/ovs.ts';
import {
  clientEnd,
  endpointEnd,
  localWire,
  toIpv6,
  tunnel,
  wireAddresses,
} from '../../sandbox/wires.ts';
import { bridge, type OvsNode, ovsNode } from './ovs-node.ts';

const budget = { timeoutMs: 20_000 };
const reason = whyNoOvs();
const transferBytes = 4 << 20;

describe.skipIf(reason !== undefined)(`Open vSwitch wires end to end ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let nodes: OvsNode[];

  beforeEach(() => {
    sandbox = createSandbox();
    nodes = [];
  });

  afterEach(async () => {
    for (const node of nodes) await node.close();
    await sandbox.close();
  });

  async function node(): Promise<OvsNode> {
    const made = await ovsNode(sandbox);
    nodes.push(made);
    return made;
  }

  const echo = (namespace: NetworkNamespace, destination: string, count = 20) =>
    ping({ namespace: namespace.url, destination, count, intervalMs: 5, timeoutMs: 2000 });

  async function expectCarries(from: NetworkNamespace, to: NetworkNamespace, ip: string) {
    for (const destination of [ip, toIpv6(ip)]) {
      expect(await echo(from, destination)).toMatchObject({ sent: 20, received: 20 });
      const transfer = { address: destination, bytes: transferBytes, timeoutMs: 20_000 };
      expect(await transferOverTcp({ from: from.url, to: to.url, ...transfer })).toBe(
        transferBytes,
      );
    }
  }

  test('a local wire carries IPv4, IPv6 and TCP, and counts them', async () => {
    const { dataplane } = await node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const wire = localWire({ client: client.inodeUrl, endpoint: endpoint.url }, 1);
    await dataplane.ensure(wire, budget);
    const ips = wireAddresses(1);
    await expectCarries(client, endpoint, ips.endpoint);
    await expectCarries(endpoint, client, ips.client);
    const statistics = (await dataplane.statistics([wire.id], budget)).get(wire.id);
    expect(statistics?.client?.txPackets).toBeGreaterThanOrEqual(80n);
    expect(statistics?.endpoint?.rxBytes).toBeGreaterThan(BigInt(2 * transferBytes));
  });

  test('the first packet after a wire is made passes, each of sixty times', async () => {
    const { dataplane, ovs } = await node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
    const destination = wireAddresses(1).endpoint;
    await dataplane.ensure(wire, budget);
    // From now on both know their neighbour, and nothing but its ports has to be made again.
    expect(await echo(client, destination)).toMatchObject({ received: 20 });
    const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
    for (let round = 0; round < 60; round += 1) {
      const [ports] = await database.transact([select('Port', [['name', '!=', bridge]])], budget);
      const ids = ports?.rows.flatMap((row) => uuidsOf(row['_uuid'] ?? 0)) ?? [];
      await database.transact(dropPorts(ids), budget);
      await eventually('the ports are gone', 10_000, async () =>
        expect(await dataplane.inspect(wire.id, budget)).toHaveLength(2),
      );
      await dataplane.ensure(wire, budget);
      expect(await echo(client, destination, 1)).toMatchObject({ received: 1 });
    }
    await database.close();
  });

  test.each([
    { name: 'IPv4', left: '192.168.77.1', right: '192.168.77.2', leftPort: 4789 },
    { name: 'IPv6', left: 'fd77::1', right: 'fd77::2', leftPort: 4789 },
    { name: 'unequal ports', left: '192.168.77.1', right: '192.168.77.2', leftPort: 4799 },
  ])('a wire between two nodes over $name', async ({ left, right, leftPort }) => {
    const [first, second] = [await node(), await node()];
    const addresses = [
      ['192.168.77.1/24', 'fd77::1/64'],
      ['192.168.77.2/24', 'fd77::2/64'],
    ] as const;
    await sandbox.underlay([
      { namespace: first.namespace, addresses: addresses[0] },
      { namespace: second.namespace, addresses: addresses[1] },
    ]);
    await first.holdUnderlay(addresses[0]);
    await second.holdUnderlay(addresses[1]);
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const base = { id: 'remote', payload: 'IP', mtu: 1400 } as const;
    const there = { localIp: left, remoteIp: right, localPort: leftPort, remotePort: 4789 };
    const back = { localIp: right, remoteIp: left, localPort: 4789, remotePort: leftPort };
    const vni = 4711;
    await first.dataplane.ensure(
      { ...base, client: clientEnd(client.url, 1), endpoint: tunnel({ ...there, vni }) },
      budget,
    );
    await second.dataplane.ensure(
      { ...base, client: tunnel({ ...back, vni }), endpoint: endpointEnd(endpoint.url, 1) },
      budget,
    );
    const ips = wireAddresses(1);
    await eventually('the way between the nodes is known', 10_000, async () =>
      expect(await echo(client, ips.endpoint, 3)).toMatchObject({ received: 3 }),
    );
    await expectCarries(client, endpoint, ips.endpoint);
    await expectCarries(endpoint, client, ips.client);
    const counted = (await first.dataplane.statistics(['remote'], budget)).get('remote');
    expect(counted?.endpoint?.rxPackets).toBeGreaterThanOrEqual(40n);
    expect(counted?.endpoint?.txPackets).toBeGreaterThanOrEqual(40n);
    for (const { dataplane } of [first, second]) {
      await dataplane.remove(['remote'], budget);
      expect(await dataplane.list(budget)).toEqual([]);
    }
  });

  test('a retarget, and a restart of the driver, under 500 packets per second lose none', async () => {
    const { dataplane, driver } = await node();
    const [client, first, second] = [sandbox.namespace(), sandbox.namespace(), sandbox.namespace()];
    const wire = localWire({ client: client.url, endpoint: first.url }, 1);
    await dataplane.ensure(wire, budget);
    const { endpoint } = wireAddresses(1);
    const flood = ping({
      namespace: client.url,
      destination: endpoint,
      count: 1000,
      intervalMs: 2,
      timeoutMs: 2000,
    });
    for (let turn = 0; turn < 4; turn++) {
      const target = turn % 2 === 0 ? second : first;
      const next = turn < 2 ? dataplane : driver();
      await next.ensure({ ...wire, endpoint: endpointEnd(target.url, 1) }, budget);
      expect(await echo(client, endpoint, 50)).toMatchObject({ received: 50 });
    }
    expect(await flood).toMatchObject({ sent: 1000, received: 1000 });
  });

  test.each(['one call', 'a call for each'])(
    'sixty wires that go at once, by %s, cost another under 250 packets per second none',
    async (how) => {
      const { dataplane } = await node();
      const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
      const [stays, ...goes] = Array.from({ length: 61 }, (_, number) =>
        localWire({ client: client.url, endpoint: endpoint.url }, number),
      ) as [Wire, ...Wire[]];
      await Promise.all([stays, ...goes].map((wire) => dataplane.ensure(wire, budget)));
      const flood = ping({
        namespace: client.url,
        destination: wireAddresses(0).endpoint,
        count: 1500,
        intervalMs: 4,
        timeoutMs: 2000,
      });
      const ids = goes.map(({ id }) => id);
      const calls = how === 'one call' ? [ids] : ids.map((id) => [id]);
      await Promise.all(calls.map((some) => dataplane.remove(some, budget)));
      expect(await flood).toMatchObject({ sent: 1500, received: 1500 });
      expect(await dataplane.list(budget)).toMatchObject([{ id: stays.id, complete: true }]);
    },
    60_000,
  );

  test('a hundred wires are back when a switch that was killed runs again, and none is told to be damaged', async () => {
    const { dataplane, ovs } = await node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const numbers = Array.from({ length: 100 }, (_, index) => index);
    const wires = numbers.map((number) =>
      localWire({ client: client.url, endpoint: endpoint.url }, number),
    );
    await Promise.all(wires.map((wire) => dataplane.ensure(wire, budget)));
    const damaged: string[] = [];
    dataplane.watch((event) => {
      if (event.kind === 'damaged') damaged.push(event.wireId, ...event.found);
    });
    await ovs.signal('switch', 'SIGKILL');
    await ovs.startSwitch();
    await eventually('all wires are whole', 10_000, async () => {
      const found = await dataplane.list(budget);
      expect(found.filter(({ complete }) => complete)).toHaveLength(wires.length);
    });
    for (const number of [0, 50, 99]) {
      expect(await echo(client, wireAddresses(number).endpoint, 5)).toMatchObject({ received: 5 });
    }
    expect(damaged).toEqual([]);
    await dataplane.remove(
      wires.map(({ id }) => id),
      budget,
    );
    expect(await dataplane.list(budget)).toEqual([]);
  }, 120_000);

  test('wires that somebody looks at while the switch is away are put back together', async () => {
    const { dataplane, ovs, bundleCount } = await node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const wires = Array.from({ length: 30 }, (_, number) =>
      localWire({ client: client.url, endpoint: endpoint.url }, number),
    );
    await Promise.all(wires.map((wire) => dataplane.ensure(wire, budget)));
    const lookAtAll = () => Promise.all(wires.map(({ id }) => dataplane.inspect(id, budget)));
    await ovs.signal('switch', 'SIGKILL');
    const looks = lookAtAll();
    const before = bundleCount();
    await ovs.startSwitch();
    await looks;
    await eventually('all wires are whole', 10_000, async () =>
      expect((await lookAtAll()).flat()).toEqual([]),
    );
    expect(bundleCount() - before).toBeLessThanOrEqual(3);
  }, 60_000);

  test('a change that a switch died over holds up no other', async () => {
    const { dataplane, ovs } = await node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const [old, young] = [1, 2].map((number) =>
      localWire({ client: client.url, endpoint: endpoint.url }, number),
    ) as [Wire, Wire];
    await dataplane.ensure(old, budget);
    await ovs.signal('switch', 'SIGSTOP');
    const making = dataplane.ensure(young, budget).catch((error: unknown) => error);
    const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
    await eventually('the change is in the database', 10_000, async () => {
      const [interfaces] = await database.transact([select('Interface', [], ['name'])], budget);
      expect(interfaces?.rows).toHaveLength(5);
    });
    await database.close();
    await ovs.signal('switch', 'SIGKILL');
    await dataplane.remove([old.id], { timeoutMs: 1_500 });
    await ovs.startSwitch();
    await making;
    await dataplane.ensure(young, budget);
    expect(await dataplane.list(budget)).toMatchObject([{ id: young.id, complete: true }]);
  }, 60_000);

  test('a wire is removed, and made, while the switch is away or comes back', async () => {
    const { dataplane, ovs } = await node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
    const second = localWire({ client: client.url, endpoint: endpoint.url }, 2);
    await dataplane.ensure(wire, budget);
    await ovs.signal('switch', 'SIGKILL');
    await dataplane.remove([wire.id], { timeoutMs: 5_000 });
    const making = dataplane.ensure(second, budget);
    await ovs.startSwitch();
    await making;
    expect(await echo(client, wireAddresses(2).endpoint, 5)).toMatchObject({ received: 5 });
    expect(await dataplane.list(budget)).toMatchObject([{ id: second.id, complete: true }]);
  }, 60_000);
});
