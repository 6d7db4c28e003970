// Protects wires that WireGuard carries between the VPPs of two nodes: packets and streams of both families cross them,
// nothing of it is to be read between the nodes, only the peer that was agreed on is heard, nothing is lost when a
// forwarder starts again, and a VPP that was killed has them back.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Wire, WireguardEnd } from '../../../protocols/ports/dataplane.ts';
import { parseIp } from '../../../protocols/netlink/ip-address.ts';
import { allOnes } from '../../../protocols/vpp/messages/enums.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { transferOverTcp } from '../../../transports/netlink/tcp-transfer.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { openTap } from '../../sandbox/mesh-tap.ts';
import { createSandbox, type Sandbox } from '../../sandbox/namespaces.ts';
import { whyNoVppNode } from '../../sandbox/vpp.ts';
import { clientEnd, endpointEnd, toIpv6, tunnel, wireAddresses } from '../../sandbox/wires.ts';
import { udpBetweenNodes } from './udp-between-nodes.ts';
import { type VppNode, vppNode } from './vpp-node.ts';

const budget = { timeoutMs: 20_000 };
const reason = whyNoVppNode();
const transferBytes = 4 << 20;
const id = 'remote';
/** The driver's choice: what fits through. */
const base = { id, payload: 'IP', mtu: 0 } as const;
const { client: clientIp, endpoint: endpointIp } = wireAddresses(1);
/** Types of WireGuard's messages: initiation, response, cookie, data. */
const messageTypes = [1, 2, 3, 4];

interface Node extends VppNode {
  readonly ip: string;
  readonly port: number;
}

describe.skipIf(reason !== undefined)(`WireGuard over VPP ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let near: Node;
  let far: Node;
  let client: NetworkNamespace;
  let endpoint: NetworkNamespace;

  beforeEach(async () => {
    sandbox = createSandbox();
    near = { ...(await vppNode(sandbox)), ip: '192.168.77.1', port: 51_820 };
    far = { ...(await vppNode(sandbox)), ip: '192.168.77.2', port: 51_830 };
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
  });

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
    await near.dataplane.ensure(both.near, budget);
    await far.dataplane.ensure(both.far, budget);
  }

  const echo = (destination: string, count = 20, from = client, timeoutMs = 2_000) =>
    ping({ namespace: from.url, destination, count, intervalMs: 5, timeoutMs });

  const carries = () =>
    eventually('the tunnel carries packets', 15_000, async () =>
      expect(await echo(endpointIp, 3, client, 100)).toMatchObject({ received: 3 }),
    );

  async function expectCarries(from: NetworkNamespace, to: NetworkNamespace, ip: string) {
    for (const destination of [ip, toIpv6(ip)]) {
      // Both ends may begin a session at once; what was sent with the one that is given up is lost.
      await eventually(`pings to ${destination} cross`, 10_000, async () =>
        expect(await echo(destination, 20, from)).toMatchObject({ sent: 20, received: 20 }),
      );
      const transfer = { address: destination, bytes: transferBytes, timeoutMs: 20_000 };
      expect(await transferOverTcp({ from: from.url, to: to.url, ...transfer })).toBe(
        transferBytes,
      );
    }
  }

  test.each([
    { name: 'IPv4', ips: ['192.168.77.1', '192.168.77.2'] },
    { name: 'IPv6', ips: ['fd77::1', 'fd77::2'] },
  ])(
    'carries IPv4, IPv6 and TCP both ways over $name, counted, and leaves nothing behind',
    async ({ ips: [left = '', right = ''] }) => {
      near = { ...near, ip: left };
      far = { ...far, ip: right };
      await connect();
      await carries();
      await expectCarries(client, endpoint, endpointIp);
      await expectCarries(endpoint, client, clientIp);
      const counted = (await near.dataplane.statistics([id], budget)).get(id);
      expect(counted?.endpoint?.rxPackets).toBeGreaterThanOrEqual(40n);
      expect(counted?.endpoint?.txPackets).toBeGreaterThanOrEqual(40n);
      expect(counted?.endpoint?.rxBytes).toBeGreaterThan(BigInt(2 * transferBytes));
      for (const { dataplane } of [near, far]) {
        expect(await dataplane.list(budget)).toMatchObject([{ id, complete: true, missing: [] }]);
        await dataplane.remove([id], budget);
        expect(await dataplane.list(budget)).toEqual([]);
      }
    },
  );

  test('shows nothing between the nodes but WireGuard', async () => {
    await connect();
    await carries();
    const tap = openTap(near.namespace);
    try {
      const sent = await ping({
        namespace: client.url,
        destination: endpointIp,
        count: 20,
        intervalMs: 5,
        timeoutMs: 2000,
      });
      expect(sent).toMatchObject({ received: 20 });
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
    await carries();
  });

  test('loses nothing while a forwarder starts again, and is told whole by it', async () => {
    await connect();
    await carries();
    const flood = echo(endpointIp, 400);
    for (const node of [near, far]) {
      const next = node.driver();
      expect(await next.list(budget)).toMatchObject([{ id, complete: true, missing: [] }]);
      await next.ensure(wires()[node === near ? 'near' : 'far'], budget);
    }
    expect(await flood).toMatchObject({ sent: 400, received: 400 });
  });

  test('is back when a VPP that was killed runs again, at either end', async () => {
    await connect();
    await carries();
    for (const node of [near, far]) {
      await node.vpp.signal('SIGKILL');
      await node.vpp.start();
      const startedMs = performance.now();
      await carries();
      const tookMs = performance.now() - startedMs;
      process.stdout.write(`a WireGuard wire was back after ${tookMs.toFixed(0)} ms\n`);
      expect(await node.dataplane.list(budget)).toMatchObject([{ complete: true }]);
    }
  });

  test('takes over from a local Endpoint and gives back to it, and the client notices nothing but where it ends', async () => {
    const { near: there } = wires();
    const here = { ...there, endpoint: endpointEnd(endpoint.url, 1) };
    const elsewhere = sandbox.namespace();
    await far.dataplane.ensure({ ...wires().far, endpoint: endpointEnd(elsewhere.url, 1) }, budget);
    await near.dataplane.ensure(here, budget);
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    for (let turn = 0; turn < 2; turn++) {
      await near.dataplane.ensure(there, budget);
      await carries();
      await near.dataplane.ensure(here, budget);
      expect(await echo(endpointIp, 50)).toMatchObject({ received: 50 });
    }
    expect(await near.dataplane.inspect(id, budget)).toEqual([]);
  });

  test('turns from one tunnel to another and back, and each outlives the other', async () => {
    await connect();
    const elsewhere = sandbox.namespace();
    const [here, there] = [
      { ...near, port: 51_821 },
      { ...far, port: 51_831 },
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
    await carries();
    const onward = { ...wires().near, endpoint: end(here, there, key(far), second) };
    for (const wire of [onward, wires().near, onward, wires().near]) {
      await near.dataplane.ensure(wire, budget);
      await carries();
      expect(await near.dataplane.inspect(id, budget)).toEqual([]);
    }
    await far.dataplane.remove([other.id], budget);
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    await expectCarries(client, endpoint, endpointIp);
  });

  test('is told to be damaged where somebody takes its peer, or its way, and mended', async () => {
    await connect();
    await carries();
    const vpp = createVppClient({ socketPath: near.vpp.apiSocket, host: unixHost });
    try {
      const [known] = await vpp.dump('wireguard_peers_dump', { peer_index: allOnes }, budget);
      await vpp.request(
        'wireguard_peer_remove',
        { peer_index: known?.peer.peer_index ?? allOnes },
        budget,
      );
      const [way] = await vpp.dump('l3xc_dump', { sw_if_index: allOnes }, budget);
      const { sw_if_index = allOnes, is_ip6 = false } = way?.l3xc ?? {};
      await vpp.request('l3xc_del', { sw_if_index, is_ip6 }, budget);
    } finally {
      await vpp.close();
    }
    expect(await near.dataplane.inspect(id, budget)).toEqual([
      expect.stringMatching(/^the peer of wg\d+ towards the Endpoint is gone$/),
      expect.stringMatching(/^the cross connect from the (client|Endpoint) leads elsewhere$/),
    ]);
    await near.dataplane.ensure(wires().near, budget);
    expect(await near.dataplane.inspect(id, budget)).toEqual([]);
    await carries();
    await expectCarries(client, endpoint, endpointIp);
  });

  test('refuses Ethernet frames, and an end that has them', async () => {
    const { near: wire } = wires();
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
  });
});
