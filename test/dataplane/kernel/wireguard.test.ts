// Protects wires that WireGuard of the kernel carries between two nodes: packets and streams of both families cross them,
// nothing of it is to be read between the nodes, only the peer that was agreed on is heard, nothing is lost when a
// forwarder starts again, and no end of a client is touched when its wire turns to another way.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createKernelDataplane } from '../../../dataplane/kernel/kernel.ts';
import { findFamily } from '../../../dataplane/kernel/probe.ts';
import { decodeBase64 } from '../../../protocols/spiffe/base64url.ts';
import { parseIp } from '../../../protocols/netlink/ip-address.ts';
import { dumpLinks, parseLink } from '../../../protocols/netlink/link.ts';
import { setWireguard } from '../../../protocols/netlink/wireguard.ts';
import type { Dataplane, Wire, WireguardEnd } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { transferOverTcp } from '../../../transports/netlink/tcp-transfer.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { openTunnelKeys } from '../../../transports/tunnel-keys/tunnel-keys.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { openTap, type Tap } from '../../sandbox/mesh-tap.ts';
import { createSandbox, heldNamespaces, type Sandbox } from '../../sandbox/namespaces.ts';
import { clientEnd, endpointEnd, toIpv6, tunnel, wireAddresses } from '../../sandbox/wires.ts';
import { whyNoWireguard } from '../../sandbox/wireguard.ts';

const budget = { timeoutMs: 60_000 };
const reason = await whyNoWireguard();
if (reason !== undefined) console.warn(`skipped, needs WireGuard in the kernel: ${reason}`);
const owner = { installation: 'end-to-end', forwarder: 'node' };
const transferBytes = 4 << 20;
const id = 'remote';
/** The driver's choice: what fits through. */
const base = { id, payload: 'IP', mtu: 0 } as const;
const { client: clientIp, endpoint: endpointIp } = wireAddresses(1);
/** Types of WireGuard's messages: initiation, response, cookie, data. */
const messageTypes = [1, 2, 3, 4];

interface Node {
  readonly namespace: NetworkNamespace;
  readonly netlink: Netlink;
  readonly keys: Awaited<ReturnType<typeof openTunnelKeys>>;
  readonly dataplane: Dataplane;
  /** Another driver, as after a restart of the forwarder. */
  readonly driver: () => Dataplane;
  readonly close: () => Promise<void>;
  readonly ip: string;
  readonly port: number;
}

describe.skipIf(reason !== undefined)(`WireGuard over the kernel ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let held: number;
  let near: Node;
  let far: Node;
  let client: NetworkNamespace;
  let endpoint: NetworkNamespace;

  beforeEach(async () => {
    held = heldNamespaces().length;
    sandbox = createSandbox();
    near = await makeNode('192.168.77.1', 61_001);
    far = await makeNode('192.168.77.2', 61_002);
    await sandbox.underlay([
      { namespace: near.namespace, addresses: ['192.168.77.1/24', 'fd77::1/64'] },
      { namespace: far.namespace, addresses: ['192.168.77.2/24', 'fd77::2/64'] },
    ]);
    [client, endpoint] = [sandbox.namespace(), sandbox.namespace()];
  });

  afterEach(async () => {
    await near.close();
    await far.close();
    await sandbox.close();
    expect(heldNamespaces()).toHaveLength(held);
  });

  async function makeNode(ip: string, port: number): Promise<Node> {
    const namespace = sandbox.namespace();
    const netlink = createNetlink({ namespace: namespace.url });
    const keys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: false });
    const drivers: Dataplane[] = [];
    const driver = () => {
      const options = { netlink, clock: systemClock, ...owner, secrets: keys };
      const made = createKernelDataplane(options);
      drivers.push(made);
      return made;
    };
    const close = async () => {
      for (const each of drivers) await each.close();
      await netlink.close();
    };
    return { namespace, netlink, keys, dataplane: driver(), driver, close, ip, port };
  }

  const end = (
    own: Node,
    other: Node,
    peerPublicKey: string,
    keyName = 'tunnel',
  ): WireguardEnd => ({
    kind: 'wireguard',
    localIp: own.ip,
    localPort: own.port,
    remoteIp: other.ip,
    remotePort: other.port,
    keyName,
    publicKey: own.keys.wireguardPublicKey(keyName),
    peerPublicKey,
  });

  const wires = (peer = near.keys.wireguardPublicKey('tunnel')): { near: Wire; far: Wire } => ({
    near: {
      ...base,
      client: clientEnd(client.url, 1),
      endpoint: end(near, far, far.keys.wireguardPublicKey('tunnel')),
    },
    far: { ...base, client: end(far, near, peer), endpoint: endpointEnd(endpoint.url, 1) },
  });

  async function connect(): Promise<void> {
    const both = wires();
    await far.dataplane.ensure(both.far, budget);
    await near.dataplane.ensure(both.near, budget);
  }

  const echo = (destination: string, count = 20, from = client, timeoutMs = 2_000) =>
    ping({ namespace: from.url, destination, count, intervalMs: 5, timeoutMs });

  async function expectCarries(from: NetworkNamespace, to: NetworkNamespace, ip: string) {
    for (const destination of [ip, toIpv6(ip)]) {
      expect(await echo(destination, 20, from)).toMatchObject({ sent: 20, received: 20 });
      const transfer = { address: destination, bytes: transferBytes, timeoutMs: 20_000 };
      expect(await transferOverTcp({ from: from.url, to: to.url, ...transfer })).toBe(
        transferBytes,
      );
    }
  }

  async function linksIn({ url }: NetworkNamespace) {
    const netlink = createNetlink({ namespace: url });
    try {
      const request = { message: dumpLinks(), what: 'list links' };
      const outcome = await netlink.execute([{ protocol: 'route', requests: [request] }], budget);
      if (!outcome.ok) throw new Error(outcome.failure.found);
      const messages = outcome.answers[0]?.[0]?.messages ?? [];
      return messages.flatMap((message) => parseLink(message) ?? []);
    } finally {
      await netlink.close();
    }
  }

  /** Without what it has counted. */
  async function clientInterface() {
    const found = (await linksIn(client)).find(({ kind }) => kind === 'veth');
    const { counters: _, ...rest } = found ?? expect.fail('no interface');
    return rest;
  }

  test.each([
    { name: 'IPv4', ips: ['192.168.77.1', '192.168.77.2'], mtu: 1440 },
    { name: 'IPv6', ips: ['fd77::1', 'fd77::2'], mtu: 1420 },
  ])(
    'carries IPv4, IPv6 and TCP both ways over $name from the first packet on, counted, and leaves nothing behind',
    async ({ ips: [left = '', right = ''], mtu }) => {
      near = { ...near, ip: left };
      far = { ...far, ip: right };
      const before = (await linksIn(near.namespace)).length;
      await connect();
      await expectCarries(client, endpoint, endpointIp);
      await expectCarries(endpoint, client, clientIp);
      expect(await clientInterface()).toMatchObject({ mtu });
      const counted = (await near.dataplane.statistics([id], budget)).get(id);
      expect(counted?.endpoint?.rxPackets).toBeGreaterThanOrEqual(40n);
      expect(counted?.endpoint?.txPackets).toBeGreaterThanOrEqual(40n);
      expect(counted?.endpoint?.rxBytes).toBeGreaterThan(BigInt(2 * transferBytes));
      for (const { dataplane } of [near, far]) {
        expect(await dataplane.list(budget)).toMatchObject([{ id, complete: true, missing: [] }]);
        await dataplane.remove([id], budget);
        expect(await dataplane.list(budget)).toEqual([]);
      }
      expect(await linksIn(near.namespace)).toHaveLength(before);
    },
  );

  test('carries packets of the whole MTU, and says how much that is', async () => {
    await connect();
    const { mtu } = await clientInterface();
    // Less the headers of IP and ICMP.
    const size = ['-M', 'do', '-s', `${mtu - 28}`];
    const command = ['ping', '-c', '3', '-i', '0.2', '-W', '2', ...size, endpointIp] as const;
    const whole = await sandbox.run(client, command);
    expect(whole.stdout).toContain('3 received');
  });

  test('shows nothing between the nodes but WireGuard', async () => {
    await connect();
    const tap = openTap(near.namespace);
    try {
      expect(await echo(endpointIp)).toMatchObject({ received: 20 });
      // As they stand in a packet's header.
      const plain = Buffer.from([...parseIp(clientIp).bytes, ...parseIp(endpointIp).bytes]);
      const crossed = udpBetweenNodes(tap);
      expect(crossed.length).toBeGreaterThanOrEqual(40);
      for (const { ports, payload } of crossed) {
        expect(new Set(ports)).toEqual(new Set([near.port, far.port]));
        expect(messageTypes).toContain(payload[0]);
        expect(Buffer.from(payload).includes(plain)).toBe(false);
      }
    } finally {
      tap.close();
    }
  });

  test('carries nothing for a peer with another key than was agreed on, and carries once it has that', async () => {
    const stranger = near.keys.wireguardPublicKey('another tunnel');
    await near.dataplane.ensure(wires().near, budget);
    await far.dataplane.ensure(wires(stranger).far, budget);
    expect(await echo(endpointIp, 100)).toMatchObject({ received: 0 });
    await far.dataplane.ensure(wires().far, budget);
    // A side that was not answered asks again after five seconds.
    await eventually('the tunnel carries packets', 15_000, async () =>
      expect(await echo(endpointIp, 3, client, 100)).toMatchObject({ received: 3 }),
    );
  });

  test('loses nothing while a forwarder starts again, and is told whole by it', async () => {
    await connect();
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    const before = await clientInterface();
    const flood = echo(endpointIp, 400);
    for (const node of [near, far]) {
      const next = node.driver();
      expect(await next.list(budget)).toMatchObject([{ id, complete: true, missing: [] }]);
      await next.ensure(wires()[node === near ? 'near' : 'far'], budget);
      await next.ensure(wires()[node === near ? 'near' : 'far'], budget);
      expect(await next.inspect(id, budget)).toEqual([]);
    }
    expect(await flood).toMatchObject({ sent: 400, received: 400 });
    expect(await clientInterface()).toEqual(before);
  });

  test('turns between a local Endpoint and one behind the tunnel with the client end untouched', async () => {
    const { near: there } = wires();
    const here = { ...there, endpoint: endpointEnd(endpoint.url, 1), mtu: 1400 };
    const remote = { ...there, mtu: 1400 };
    const elsewhere = sandbox.namespace();
    await far.dataplane.ensure(
      { ...wires().far, mtu: 1400, endpoint: endpointEnd(elsewhere.url, 1) },
      budget,
    );
    await near.dataplane.ensure(here, budget);
    const { index, name, macAddress, mtu } = await clientInterface();
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    for (let turn = 0; turn < 2; turn++) {
      for (const wire of [remote, here]) {
        const flood = echo(endpointIp, 100);
        await near.dataplane.ensure(wire, budget);
        const { sent, received } = await flood;
        // Of what is under way while the workload's interface learns to ask for neighbours, or no longer to.
        expect(sent - received).toBeLessThanOrEqual(wire === here ? 3 : 0);
        expect(await echo(endpointIp)).toMatchObject({ received: 20 });
        expect(await clientInterface()).toMatchObject({ index, name, macAddress, mtu });
        expect(await near.dataplane.inspect(id, budget)).toEqual([]);
      }
    }
    expect(await near.dataplane.list(budget)).toMatchObject([{ complete: true }]);
  });

  test('turns from one tunnel to another and back without losing a packet', async () => {
    await connect();
    const elsewhere = sandbox.namespace();
    const [here, there] = [
      { ...near, port: 61_011 },
      { ...far, port: 61_012 },
    ];
    const second = 'second tunnel';
    const key = (node: Node) => node.keys.wireguardPublicKey(second);
    const other: Wire = {
      ...base,
      id: 'other',
      client: end(there, here, key(near), second),
      endpoint: endpointEnd(elsewhere.url, 1),
    };
    await far.dataplane.ensure(other, budget);
    const onward = { ...wires().near, endpoint: end(here, there, key(far), second) };
    for (const wire of [onward, wires().near, onward, wires().near]) {
      const flood = echo(endpointIp, 100);
      await near.dataplane.ensure(wire, budget);
      expect(await flood).toMatchObject({ sent: 100, received: 100 });
      expect(await near.dataplane.inspect(id, budget)).toEqual([]);
    }
    await far.dataplane.remove([other.id], budget);
    await expectCarries(client, endpoint, endpointIp);
  });

  test('is told to lack its peer where somebody put another in its place, and mended', async () => {
    await connect();
    const device = (await linksIn(near.namespace)).find(({ kind }) => kind === 'wireguard');
    const family = await findFamily(near.netlink, 'wireguard', budget);
    const stranger = decodeBase64(near.keys.wireguardPublicKey('stranger')) ?? new Uint8Array();
    const message = setWireguard(family ?? 0, device?.index ?? 0, {
      privateKey: near.keys.wireguardPrivateKey('tunnel'),
      listenPort: near.port,
      peer: { publicKey: stranger, ip: parseIp(far.ip), port: far.port },
      isOtherPeer: true,
    });
    const requests = [{ message, what: 'harm' }];
    await near.netlink.execute([{ protocol: 'generic', requests }], budget);
    expect(await near.dataplane.inspect(id, budget)).toEqual([
      expect.stringContaining('has lost its remote'),
    ]);
    await near.dataplane.ensure(wires().near, budget);
    expect(await near.dataplane.inspect(id, budget)).toEqual([]);
    expect(await echo(endpointIp, 20)).toMatchObject({ received: 20 });
  });

  test('refuses a port that somebody has, Ethernet frames, and an end that has them', async () => {
    const { near: wire, far: other } = wires();
    await near.dataplane.ensure(wire, budget);
    const samePort = {
      ...other,
      id: 'same-port',
      client: { ...other.client, localPort: near.port },
    };
    await expect(near.dataplane.ensure(samePort as Wire, budget)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      details: { rule: 'UDP port' },
    });
    const frames: Wire = { ...wire, payload: 'ETHERNET' };
    await expect(near.dataplane.ensure(frames, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { rule: 'payload' },
    });
    const place = { localIp: near.ip, remoteIp: far.ip, localPort: 4789, remotePort: 4789 };
    const through: Wire = { ...wire, client: tunnel({ ...place, vni: 7 }) };
    await expect(near.dataplane.ensure(through, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
      details: { rule: 'mechanism', found: 'vxlan' },
    });
    expect(await near.dataplane.list(budget)).toMatchObject([{ id, complete: true }]);
  });
});

interface SeenDatagram {
  readonly ports: readonly number[];
  readonly payload: Uint8Array;
}

function udpBetweenNodes(tap: Tap): SeenDatagram[] {
  return tap.take().flatMap(({ bytes }) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isUdp = bytes.length > 42 && view.getUint16(12) === 0x0800 && bytes[23] === 17;
    if (!isUdp || bytes[26] !== 192) return [];
    return [{ ports: [view.getUint16(34), view.getUint16(36)], payload: bytes.subarray(42) }];
  });
}
