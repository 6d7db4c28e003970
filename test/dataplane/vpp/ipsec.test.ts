// Protects wires that IPsec carries between the VPPs of two nodes: packets and streams of both families cross them, nothing
// of it is to be read between the nodes, only who has the certificate that was agreed on is heard, nothing is lost when a
// forwarder starts again or keys are renewed, and a VPP that was killed has them back.

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseIp } from '../../../protocols/netlink/ip-address.ts';
import { ipsecIdentity } from '../../../protocols/nsm/ipsec-mechanism.ts';
import type { IpsecEnd, Wire } from '../../../protocols/ports/dataplane.ts';
import type { Vpp } from '../../../protocols/ports/vpp.ts';
import type { VppFields } from '../../../protocols/vpp/values.ts';
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
import { clientEnd, endpointEnd, toIpv6, wireAddresses } from '../../sandbox/wires.ts';
import { udpBetweenNodes } from './udp-between-nodes.ts';
import { type VppNode, vppNode } from './vpp-node.ts';

const budget = { timeoutMs: 20_000 };
const reason = whyNoVppNode();
const transferBytes = 4 << 20;
const ports = { ike: 500, esp: 4500 } as const;

interface Node extends VppNode {
  readonly ip: string;
}

describe.skipIf(reason !== undefined)(`IPsec over VPP ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let near: Node;
  let far: Node;
  let client: NetworkNamespace;
  let endpoint: NetworkNamespace;

  beforeEach(async () => {
    sandbox = createSandbox();
    near = { ...(await vppNode(sandbox)), ip: '192.168.77.1' };
    far = { ...(await vppNode(sandbox)), ip: '192.168.77.2' };
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

  interface Tunnel {
    /** Of the wire, and of its certificates. */
    readonly id: string;
    readonly subnet: number;
  }
  const first: Tunnel = { id: 'remote', subnet: 1 };

  function end(own: Node, other: Node, { id, subnet }: Tunnel, peerName = id): IpsecEnd {
    const addresses = wireAddresses(subnet);
    const isNear = own === near;
    const [certificate = '', peerCertificate = ''] = [
      own.keys.ipsecCertificate?.(id),
      other.keys.ipsecCertificate?.(peerName),
    ];
    return {
      kind: 'ipsec',
      localIp: own.ip,
      localPort: ports.esp,
      remoteIp: other.ip,
      remotePort: ports.esp,
      certificate,
      peerCertificate,
      identity: ipsecIdentity(certificate),
      peerIdentity: ipsecIdentity(peerCertificate),
      nearAddress: isNear ? addresses.client : addresses.endpoint,
      farAddress: isNear ? addresses.endpoint : addresses.client,
      initiates: isNear,
    };
  }

  const base = { payload: 'IP', mtu: 0 } as const;
  const nearWire = (tunnel = first, from = client, peerName = tunnel.id): Wire => ({
    ...base,
    id: tunnel.id,
    client: clientEnd(from.url, tunnel.subnet),
    endpoint: end(near, far, tunnel, peerName),
  });
  const farWire = (tunnel = first, to = endpoint, peerName = tunnel.id): Wire => ({
    ...base,
    id: tunnel.id,
    client: end(far, near, tunnel, peerName),
    endpoint: endpointEnd(to.url, tunnel.subnet),
  });

  /** As a Request does it: the answer comes when the farther end is there. */
  async function connect(): Promise<void> {
    await far.dataplane.ensure(farWire(), budget);
    await near.dataplane.ensure(nearWire(), budget);
  }

  const { client: clientIp, endpoint: endpointIp } = wireAddresses(first.subnet);
  const echo = (destination: string, count = 20, from = client, timeoutMs = 2_000) =>
    ping({ namespace: from.url, destination, count, intervalMs: 5, timeoutMs });

  const carries = (from = client, to = endpointIp) =>
    eventually('the tunnel carries packets', 15_000, async () =>
      expect(await echo(to, 3, from, 100)).toMatchObject({ received: 3 }),
    );

  async function expectCarries(from: NetworkNamespace, to: NetworkNamespace, ip: string) {
    for (const destination of [ip, toIpv6(ip)]) {
      expect(await echo(destination, 20, from)).toMatchObject({ sent: 20, received: 20 });
      const transfer = { address: destination, bytes: transferBytes, timeoutMs: 20_000 };
      expect(await transferOverTcp({ from: from.url, to: to.url, ...transfer })).toBe(
        transferBytes,
      );
    }
  }

  async function asPerson<Result>(node: Node, act: (vpp: Vpp) => Promise<Result>) {
    const vpp = createVppClient({ socketPath: node.vpp.apiSocket, host: unixHost });
    try {
      return await act(vpp);
    } finally {
      await vpp.close();
    }
  }

  test('carries IPv4, IPv6 and TCP both ways at once, counted, and leaves nothing behind', async () => {
    await connect();
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    await expectCarries(client, endpoint, endpointIp);
    await expectCarries(endpoint, client, clientIp);
    const counted = (await near.dataplane.statistics([first.id], budget)).get(first.id);
    expect(counted?.endpoint?.rxPackets).toBeGreaterThanOrEqual(40n);
    expect(counted?.endpoint?.txPackets).toBeGreaterThanOrEqual(40n);
    expect(counted?.endpoint?.rxBytes).toBeGreaterThan(BigInt(2 * transferBytes));
    for (const node of [near, far]) {
      expect(await node.dataplane.list(budget)).toMatchObject([{ complete: true, missing: [] }]);
      await node.dataplane.remove([first.id], budget);
      expect(await node.dataplane.list(budget)).toEqual([]);
      expect(existsSync(join(dirname(node.vpp.apiSocket), 'keys'))).toBe(false);
      const left = await asPerson(node, async (vpp) => [
        await vpp.dump('ikev2_profile_dump', {}, budget),
        await vpp.dump('ipsec_itf_dump', { sw_if_index: allOnes }, budget),
        await vpp.dump('ipsec_sa_v5_dump', { sa_id: allOnes }, budget),
      ]);
      expect(left).toEqual([[], [], []]);
    }
  });

  test('shows nothing between the nodes but ESP in UDP, and the agreement on its keys', async () => {
    const tap = openTap(near.namespace);
    try {
      await connect();
      expect(await echo(endpointIp)).toMatchObject({ received: 20 });
      // As they stand in a packet's header.
      const plain = Buffer.from([...parseIp(clientIp).bytes, ...parseIp(endpointIp).bytes]);
      const crossed = udpBetweenNodes(tap);
      const of = (port: number) => crossed.filter((each) => each.ports.includes(port));
      expect(of(ports.esp).length).toBeGreaterThanOrEqual(40);
      // Two exchanges, of a question and an answer each.
      expect(of(ports.ike).length).toBeGreaterThanOrEqual(4);
      expect(of(ports.esp).length + of(ports.ike).length).toBe(crossed.length);
      for (const { payload } of crossed) expect(Buffer.from(payload).includes(plain)).toBe(false);
      // A number of zero would be IKE's (RFC 3948).
      for (const { payload } of of(ports.esp)) {
        expect(Buffer.from(payload).readUInt32BE(0)).not.toBe(0);
      }
    } finally {
      tap.close();
    }
  });

  test('carries nothing for who has another certificate than was agreed on, and carries once that is it', async () => {
    await far.dataplane.ensure(farWire(first, endpoint, 'a stranger'), budget);
    await near.dataplane.ensure(nearWire(), budget);
    expect(await echo(endpointIp, 100)).toMatchObject({ received: 0 });
    expect(await near.dataplane.inspect(first.id, budget)).toEqual([
      expect.stringMatching(/^ipsec\d+ towards the Endpoint has not agreed with the other node$/),
    ]);
    await far.dataplane.ensure(farWire(), budget);
    await near.dataplane.ensure(nearWire(), budget);
    await carries();
    expect(await near.dataplane.inspect(first.id, budget)).toEqual([]);
  });

  test('keeps several wires between the same two nodes apart', async () => {
    const second: Tunnel = { id: 'second', subnet: 2 };
    const [other, otherEndpoint] = [sandbox.namespace(), sandbox.namespace()];
    await connect();
    await far.dataplane.ensure(farWire(second, otherEndpoint), budget);
    await near.dataplane.ensure(nearWire(second, other), budget);
    const { endpoint: secondIp } = wireAddresses(second.subnet);
    await expectCarries(client, endpoint, endpointIp);
    await expectCarries(other, otherEndpoint, secondIp);
    const flood = echo(endpointIp, 200);
    await near.dataplane.remove([second.id], budget);
    await far.dataplane.remove([second.id], budget);
    expect(await flood).toMatchObject({ sent: 200, received: 200 });
  });

  test('loses nothing while a forwarder starts again, and is told whole by it', async () => {
    await connect();
    const flood = echo(endpointIp, 400);
    for (const [node, wire] of [
      [near, nearWire()],
      [far, farWire()],
    ] as const) {
      const next = node.driver();
      expect(await next.list(budget)).toMatchObject([
        { id: first.id, complete: true, missing: [] },
      ]);
      await next.ensure(wire, budget);
    }
    expect(await flood).toMatchObject({ sent: 400, received: 400 });
  });

  test('loses next to nothing while its keys are renewed', async () => {
    await connect();
    const flood = echo(endpointIp, 600);
    await asPerson(near, async (vpp) => {
      for (let turn = 0; turn < 2; turn++) {
        const [child] = await vpp.dump('ikev2_child_sa_v2_dump', { sa_index: 0 }, budget);
        const sa = child?.['child_sa'] as VppFields | undefined;
        // VPP 26.10 takes the number as it stands in its own memory.
        const ispi = swapped(Number(sa?.['i_spi']));
        await vpp.request('ikev2_initiate_rekey_child_sa', { ispi }, budget);
        await echo(endpointIp, 100);
      }
    });
    const { sent, received } = await flood;
    process.stdout.write(`${sent - received} of ${sent} lost while keys were renewed twice\n`);
    expect(sent - received).toBeLessThanOrEqual(10);
    await expectCarries(client, endpoint, endpointIp);
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
      const which = node === near ? 'nearer' : 'farther';
      process.stdout.write(
        `an IPsec wire was back ${tookMs.toFixed(0)} ms after the ${which} VPP\n`,
      );
      await eventually('the wire is whole', 10_000, async () =>
        expect(await node.dataplane.list(budget)).toMatchObject([{ complete: true }]),
      );
    }
  });

  test('takes over from a local Endpoint and gives back to it, and the client notices nothing but where it ends', async () => {
    const here = { ...nearWire(), endpoint: endpointEnd(endpoint.url, first.subnet) };
    await far.dataplane.ensure(farWire(first, sandbox.namespace()), budget);
    await near.dataplane.ensure(here, budget);
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    for (let turn = 0; turn < 2; turn++) {
      await near.dataplane.ensure(nearWire(), budget);
      await carries();
      await near.dataplane.ensure(here, budget);
      expect(await echo(endpointIp, 50)).toMatchObject({ received: 50 });
    }
    expect(await near.dataplane.inspect(first.id, budget)).toEqual([]);
  });

  test('turns from one tunnel to another and back, and each outlives the other', async () => {
    await connect();
    const other: Tunnel = { id: 'other', subnet: first.subnet };
    await far.dataplane.ensure(farWire(other, sandbox.namespace()), budget);
    const there = { ...nearWire(), endpoint: end(near, far, other) };
    for (const wire of [there, nearWire(), there, nearWire()]) {
      await near.dataplane.ensure(wire, budget);
      await carries();
      expect(await near.dataplane.inspect(first.id, budget)).toEqual([]);
    }
    await far.dataplane.remove([other.id], budget);
    expect(await echo(endpointIp)).toMatchObject({ received: 20 });
    await expectCarries(client, endpoint, endpointIp);
  });

  test('is told to be damaged where somebody takes its profile, at either end, and mended', async () => {
    await connect();
    const seen: string[] = [];
    const stop = near.dataplane.watch((event) => {
      if (event.kind === 'damaged') seen.push(...event.found);
    });
    const takeProfile = (node: Node) =>
      asPerson(node, async (vpp) => {
        const [found] = await vpp.dump('ikev2_profile_dump', {}, budget);
        const name = found?.profile.name ?? '';
        await vpp.request('ikev2_profile_add_del', { name, is_add: false }, budget);
      });
    try {
      await takeProfile(far);
      // The other end hears of it, and can do nothing alone.
      await eventually('the nearer end is told', 10_000, () =>
        expect(seen).toEqual([
          expect.stringMatching(/^ipsec\d+ towards the Endpoint has not agreed/),
        ]),
      );
      expect(await far.dataplane.inspect(first.id, budget)).toEqual([
        expect.stringMatching(/^the IKEv2 profile of ipsec\d+ towards the client is gone$/),
      ]);
    } finally {
      stop();
    }
    await far.dataplane.ensure(farWire(), budget);
    await near.dataplane.ensure(nearWire(), budget);
    await carries();
    await takeProfile(near);
    expect(await near.dataplane.inspect(first.id, budget)).toEqual([
      expect.stringMatching(/^the IKEv2 profile of ipsec\d+ towards the Endpoint is gone$/),
    ]);
    await near.dataplane.ensure(nearWire(), budget);
    await carries();
    await expectCarries(client, endpoint, endpointIp);
  });
});

function swapped(number: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes.readUInt32LE();
}
