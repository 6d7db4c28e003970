// Protects what a wire is for: packets cross it, local and remote, over IPv4 and IPv6 and TCP, none are lost when
// it is retargeted, none stray from it, and a forged VXLAN packet does not get in.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createKernelDataplane } from '../../../dataplane/kernel/kernel.ts';
import { marksOf } from '../../../dataplane/kernel/owner.ts';
import { addAddress } from '../../../protocols/netlink/address.ts';
import { parsePrefix } from '../../../protocols/netlink/ip-address.ts';
import { getLinkByName } from '../../../protocols/netlink/link.ts';
import { getTable } from '../../../protocols/netlink/nftables.ts';
import type { Dataplane } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox, heldNamespaces, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import {
  clientEnd,
  endpointEnd,
  localWire,
  toIpv6,
  tunnel,
  wireAddresses,
} from '../../sandbox/wires.ts';

const budget = { timeoutMs: 10_000 };
const reason = whyNoNamespaces();
const owner = { installation: 'end-to-end', forwarder: 'node' };

interface Node {
  readonly namespace: NetworkNamespace;
  readonly netlink: Netlink;
  readonly dataplane: Dataplane;
}

describe.skipIf(reason !== undefined)(`kernel wires end to end ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let nodes: Node[];
  let held: number;

  beforeEach(() => {
    held = heldNamespaces().length;
    sandbox = createSandbox();
    nodes = [];
  });

  afterEach(async () => {
    for (const { dataplane, netlink } of nodes) {
      await dataplane.close();
      await netlink.close();
    }
    await sandbox.close();
    expect(heldNamespaces()).toHaveLength(held);
  });

  function node(): Node {
    const namespace = sandbox.namespace();
    const netlink = createNetlink({ namespace: namespace.url });
    const dataplane = createKernelDataplane({ netlink, clock: systemClock, ...owner });
    const made = { namespace, netlink, dataplane };
    nodes.push(made);
    return made;
  }

  const echo = (namespace: NetworkNamespace, destination: string, count = 20) =>
    ping({ namespace: namespace.url, destination, count, intervalMs: 5, timeoutMs: 2000 });

  async function expectPings(from: NetworkNamespace, ip: string): Promise<void> {
    for (const destination of [ip, toIpv6(ip)]) {
      expect(await echo(from, destination)).toMatchObject({ sent: 20, received: 20 });
    }
  }

  /** Bytes per second that TCP moves, as iperf3 says. */
  async function tcp(from: NetworkNamespace, to: NetworkNamespace, ip: string): Promise<number> {
    const server = sandbox.spawn(to, ['iperf3', '-s', '-1', '--forceflush'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    await new Promise((resolve) => server.stdout?.once('data', resolve));
    const { stdout } = await sandbox.run(from, ['iperf3', '-c', ip, '-t', '1', '-J']);
    const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
    return report.end.sum_received.bits_per_second;
  }

  test('a local wire carries IPv4, IPv6 and TCP', async () => {
    const { dataplane } = node();
    const client = sandbox.namespace();
    const endpoint = sandbox.namespace();
    const wire = localWire({ client: client.inodeUrl, endpoint: endpoint.url }, 1);
    await dataplane.ensure(wire, budget);
    const ips = wireAddresses(1);
    await expectPings(client, ips.endpoint);
    await expectPings(endpoint, ips.client);
    expect(await tcp(client, endpoint, ips.endpoint)).toBeGreaterThan(1e8);
    const statistics = (await dataplane.statistics([wire.id], budget)).get(wire.id);
    expect(statistics?.client?.txPackets).toBeGreaterThanOrEqual(80n);
    expect(statistics?.client?.txPackets).toBe(statistics?.endpoint?.rxPackets);
  });

  test.each([
    { name: 'IPv4', left: '192.168.77.1', right: '192.168.77.2', leftPort: 4789 },
    { name: 'IPv6', left: 'fd77::1', right: 'fd77::2', leftPort: 4789 },
    { name: 'unequal ports', left: '192.168.77.1', right: '192.168.77.2', leftPort: 4799 },
  ])('a wire between two nodes over $name', async ({ left, right, leftPort }) => {
    const [first, second] = [node(), node()];
    await underlay(first, second);
    const client = sandbox.namespace();
    const endpoint = sandbox.namespace();
    const base = { id: 'remote', payload: 'IP', mtu: 0 } as const;
    const vni = 4711;
    await first.dataplane.ensure(
      {
        ...base,
        client: clientEnd(client.url, 1),
        endpoint: tunnel({
          localIp: left,
          remoteIp: right,
          localPort: leftPort,
          remotePort: 4789,
          vni,
        }),
      },
      budget,
    );
    await second.dataplane.ensure(
      {
        ...base,
        client: tunnel({
          localIp: right,
          remoteIp: left,
          localPort: 4789,
          remotePort: leftPort,
          vni,
        }),
        endpoint: endpointEnd(endpoint.url, 1),
      },
      budget,
    );
    const ips = wireAddresses(1);
    await expectPings(client, ips.endpoint);
    await expectPings(endpoint, ips.client);
    expect(await tcp(client, endpoint, ips.endpoint)).toBeGreaterThan(1e8);
    for (const { dataplane, netlink } of [first, second]) {
      await dataplane.list(budget);
      expect(await hasFilter(netlink)).toBe(true);
      await dataplane.remove(['remote'], budget);
      expect(await hasFilter(netlink)).toBe(false);
    }
  });

  test('a retarget under 1,000 packets per second loses none', async () => {
    const { dataplane } = node();
    const [client, first, second] = [sandbox.namespace(), sandbox.namespace(), sandbox.namespace()];
    const wire = localWire({ client: client.url, endpoint: first.url }, 1);
    await dataplane.ensure(wire, budget);
    const { endpoint } = wireAddresses(1);
    const flood = ping({
      namespace: client.url,
      destination: endpoint,
      count: 2000,
      intervalMs: 1,
      timeoutMs: 2000,
    });
    for (let turn = 0; turn < 6; turn++) {
      const target = turn % 2 === 0 ? second : first;
      await dataplane.ensure({ ...wire, endpoint: endpointEnd(target.url, 1) }, budget);
      expect(await echo(client, endpoint, 50)).toMatchObject({ received: 50 });
    }
    const { sent, received } = await flood;
    expect({ sent, received }).toEqual({ sent: 2000, received: 2000 });
  });

  test('frames of one wire are seen on no other, and not by the node', async () => {
    const { dataplane, namespace } = node();
    const [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
    const wires = [1, 2, 3].map((number) =>
      localWire({ client: client.url, endpoint: endpoint.url }, number),
    );
    for (const wire of wires) await dataplane.ensure(wire, budget);
    const ids = wires.map(({ id }) => id);
    // Neighbour discovery at start makes packets of its own; wait until every wire has spoken and been answered.
    for (const number of [1, 2, 3]) await echo(client, wireAddresses(number).endpoint);
    const before = await dataplane.statistics(ids, budget);
    await sandbox.run(client, ['ping', '-c', '50', '-i', '0.002', wireAddresses(1).endpoint]);
    const after = await dataplane.statistics(ids, budget);
    const grown = (id: string) =>
      Number(
        (after.get(id)?.endpoint?.rxPackets ?? 0n) - (before.get(id)?.endpoint?.rxPackets ?? 0n),
      );
    expect(grown('wire-1')).toBeGreaterThanOrEqual(50);
    // A wire at rest may send a router solicitation or a neighbour probe of its own, never fifty packets.
    expect(grown('wire-2')).toBeLessThan(10);
    expect(grown('wire-3')).toBeLessThan(10);
    const { stdout } = await sandbox.run(namespace, ['cat', '/proc/net/snmp']);
    expect(stdout).toMatch(/\nIp: \d+ \d+ 0 /);
  });

  test('a VXLAN packet from a foreign source is not delivered, reserved byte or not', async () => {
    const [first, second] = [node(), node()];
    await underlay(first, second);
    const client = sandbox.namespace();
    const end = { localIp: '192.168.77.1', remoteIp: '192.168.77.2' };
    const tunnelEnd = tunnel({ ...end, localPort: 4789, remotePort: 4789, vni: 99 });
    const wire = { ...localWire({ client: client.url, endpoint: client.url }, 1) };
    await first.dataplane.ensure({ ...wire, endpoint: tunnelEnd }, budget);
    const index = { register: 'underlay' };
    await sandbox.program(second.namespace, [
      {
        message: getLinkByName('underlay'),
        what: 'find',
        store: { register: 'underlay', offset: 4 },
      },
      { message: addAddress(index, parsePrefix('192.168.77.3/24')), what: 'add' },
    ]);
    const delivered = async () =>
      (await first.dataplane.statistics([wire.id], budget)).get(wire.id)?.client?.rxPackets ?? 0n;
    const start = await delivered();
    for (const reserved of [0, 1, 255]) {
      await sendVxlan({ sandbox, namespace: second.namespace }, '192.168.77.3', {
        vni: 99,
        reserved,
      });
    }
    expect(await delivered()).toBe(start);
    // The same packet from the right source arrives, so the test would have seen it.
    await sendVxlan({ sandbox, namespace: second.namespace }, '192.168.77.2', {
      vni: 99,
      reserved: 0,
    });
    expect(await delivered()).toBe(start + 1n);
  });

  async function underlay(first: Node, second: Node): Promise<void> {
    await sandbox.underlay([
      { namespace: first.namespace, addresses: ['192.168.77.1/24', 'fd77::1/64'] },
      { namespace: second.namespace, addresses: ['192.168.77.2/24', 'fd77::2/64'] },
    ]);
  }

  async function hasFilter(netlink: Netlink): Promise<boolean> {
    const message = getTable(marksOf(owner).filterTable);
    const requests = [{ message, what: 'find the filter' }];
    return (await netlink.execute([{ protocol: 'netfilter', requests }], budget)).ok;
  }
});

/** A VXLAN packet (RFC 7348) around a broadcast frame, and after it proof that it has been received. */
async function sendVxlan(
  { sandbox, namespace }: { readonly sandbox: Sandbox; readonly namespace: NetworkNamespace },
  source: string,
  { vni, reserved }: { readonly vni: number; readonly reserved: number },
): Promise<void> {
  const packet = Buffer.alloc(8 + 60);
  packet.writeUInt8(0x08, 0);
  packet.writeUIntBE(vni, 4, 3);
  packet.writeUInt8(reserved, 7);
  packet.fill(0xff, 8, 14);
  packet.write('020000000001', 14, 'hex');
  packet.writeUInt16BE(0x88b5, 20);
  const script = `const s = require('node:dgram').createSocket('udp4');
    s.bind(0, '${source}', () =>
      s.send(Buffer.from('${packet.toString('hex')}', 'hex'), 4789, '192.168.77.1', () => s.close()));`;
  const { exitCode, stderr } = await sandbox.run(namespace, [process.execPath, '-e', script]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  // Veth delivers in order: once an echo came back, what was sent before it has been handled.
  await ping({
    namespace: namespace.url,
    source,
    destination: '192.168.77.1',
    count: 3,
    intervalMs: 1,
    timeoutMs: 1000,
  });
}
