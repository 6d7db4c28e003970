// Protects what wires over VPP do with VLANs: an end in a VLAN of a network outside reaches everybody in that VLAN, on this
// node and over the link, where its frames carry the tag, and nobody in another one; a VPP that was killed has all of it
// back, and the last wire leaves nothing.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Wire } from '../../../protocols/ports/dataplane.ts';
import { allOnes } from '../../../protocols/vpp/messages/enums.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { transferOverTcp } from '../../../transports/netlink/tcp-transfer.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox } from '../../sandbox/namespaces.ts';
import { whyNoVppNode } from '../../sandbox/vpp.ts';
import { clientEnd, endpointEnd, tunnel, wireAddresses } from '../../sandbox/wires.ts';
import { joinNodes } from '../../interop/chain-underlay.ts';
import { taggingRequests } from './tagging.ts';
import { type VppNode, vppNode } from './vpp-node.ts';

const budget = { timeoutMs: 20_000 };
const reason = whyNoVppNode();
const networks = new Map([['gw0', { interfaceName: 'underlay' }]]);
const transferBytes = 1 << 20;
const hostNumber = 9;

describe.skipIf(reason !== undefined)(`VLANs over VPP ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let nodes: VppNode[];

  beforeEach(() => {
    sandbox = createSandbox();
    nodes = [];
  });

  afterEach(async () => {
    for (const node of nodes) await node.close();
    await sandbox.close();
  });

  async function node(): Promise<VppNode> {
    const made = await vppNode(sandbox, { networks });
    nodes.push(made);
    return made;
  }

  /** A client with this address in a VLAN of the network outside. */
  const vlanWire = (client: NetworkNamespace, number: number, vlanId: number): Wire => ({
    id: `vlan-${number}`,
    payload: 'ETHERNET',
    mtu: 0,
    client: { ...clientEnd(client.url, number), addresses: [`10.77.0.${number}/24`], routes: [] },
    endpoint: { kind: 'vlan', vlanId, via: 'gw0' },
  });

  /** At the other end of the node's link: what it sends is tagged, and what is not tagged so it does not hear. */
  async function hostBehind({ namespace }: VppNode, vlanId: number): Promise<NetworkNamespace> {
    const host = sandbox.namespace();
    const netlink = createNetlink({ namespace: host.url });
    await joinNodes(sandbox, netlink, [
      { namespace, addresses: [] },
      { namespace: host, addresses: [`10.77.0.${hostNumber}/24`] },
    ]);
    await netlink.close();
    await sandbox.program(host, taggingRequests('underlay', vlanId));
    return host;
  }

  const echo = (from: NetworkNamespace, number: number) =>
    ping({
      namespace: from.url,
      destination: `10.77.0.${number}`,
      count: 5,
      intervalMs: 5,
      timeoutMs: 500,
    }).catch(() => ({ received: 0 }));

  const reaches = (from: NetworkNamespace, number: number) =>
    eventually(`10.77.0.${number} is reached`, 10_000, async () =>
      expect(await echo(from, number)).toMatchObject({ received: 5 }),
    );

  async function carries(from: NetworkNamespace, to: NetworkNamespace, number: number) {
    const address = `10.77.0.${number}`;
    const transfer = { to: to.url, address, bytes: transferBytes, timeoutMs: 20_000 };
    expect(await transferOverTcp({ from: from.url, ...transfer })).toBe(transferBytes);
  }

  /** What VPP has, but for what it has of itself and trunks of ends. */
  async function leftOver({ vpp }: VppNode) {
    const client = createVppClient({ socketPath: vpp.apiSocket, host: unixHost });
    const interfaces = await client.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    const domains = await client.dump('bridge_domain_dump', { bd_id: allOnes }, budget);
    await client.close();
    const names = interfaces.map(({ interface_name: name }) => name);
    const own = names.filter((name) => !name.startsWith('local'));
    // Of a VPP that was never used: domain 0 is everybody's, and has nobody.
    return [...own, ...domains.filter(({ bd_tag }) => bd_tag !== '').map(({ bd_id }) => bd_id)];
  }

  test('one VLAN joins clients with each other and a host behind the link, and keeps another apart', async () => {
    const first = await node();
    const host = await hostBehind(first, 100);
    const { dataplane } = first;
    const [one, two, three] = [1, 2, 3].map(() => sandbox.namespace());
    if (!one || !two || !three) throw new Error('unreachable');
    const wire = vlanWire(one, 1, 100);
    await dataplane.ensure(wire, budget);
    await dataplane.ensure(vlanWire(two, 2, 100), budget);
    await dataplane.ensure(vlanWire(three, 3, 200), budget);
    await reaches(one, hostNumber);
    await carries(one, host, hostNumber);
    await carries(host, one, 1);
    await reaches(host, 2);
    await reaches(one, 2);
    await carries(one, two, 2);
    for (const from of [one, host]) expect(await echo(from, 3)).toMatchObject({ received: 0 });
    const counted = (await dataplane.statistics([wire.id], budget)).get(wire.id);
    expect(counted?.endpoint?.rxBytes).toBeGreaterThan(BigInt(transferBytes));
    expect(counted?.endpoint?.txBytes).toBeGreaterThan(BigInt(transferBytes));

    // Into the other VLAN, with the client's end as it is.
    await dataplane.ensure(
      { ...wire, endpoint: { ...wire.endpoint, vlanId: 200 } as never },
      budget,
    );
    await reaches(one, 3);
    expect(await echo(one, hostNumber)).toMatchObject({ received: 0 });

    const whole = { complete: true };
    const flood = ping({
      namespace: three.url,
      destination: '10.77.0.1',
      count: 300,
      intervalMs: 2,
      timeoutMs: 2000,
    });
    const restarted = first.driver();
    expect(await restarted.list(budget)).toMatchObject([whole, whole, whole]);
    await restarted.ensure(vlanWire(three, 3, 200), budget);
    expect(await flood).toMatchObject({ sent: 300, received: 300 });
    await restarted.remove([wire.id, 'vlan-2', 'vlan-3'], budget);
    expect(await restarted.list(budget)).toEqual([]);
    expect(await leftOver(first)).toEqual([]);
  }, 60_000);

  test('a VPP that was killed has its VLANs back when it runs again', async () => {
    const first = await node();
    const host = await hostBehind(first, 100);
    const { dataplane, vpp } = first;
    const [one, two] = [sandbox.namespace(), sandbox.namespace()];
    await dataplane.ensure(vlanWire(one, 1, 100), budget);
    await dataplane.ensure(vlanWire(two, 2, 100), budget);
    await reaches(one, hostNumber);
    await vpp.signal('SIGKILL');
    expect(await echo(one, hostNumber)).toMatchObject({ received: 0 });
    await vpp.start();
    await reaches(one, hostNumber);
    await reaches(one, 2);
    await carries(one, host, hostNumber);
    await dataplane.remove(['vlan-1', 'vlan-2'], budget);
    expect(await leftOver(first)).toEqual([]);
  }, 60_000);

  test('what somebody takes away in VPP is put back', async () => {
    const first = await node();
    await hostBehind(first, 100);
    const { dataplane, vpp } = first;
    const client = sandbox.namespace();
    await dataplane.ensure(vlanWire(client, 1, 100), budget);
    dataplane.watch(() => {});
    expect(await dataplane.list(budget)).toMatchObject([{ complete: true }]);
    await reaches(client, hostNumber);
    const person = createVppClient({ socketPath: vpp.apiSocket, host: unixHost });
    const found = await person.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    const access = found.find(({ sub_outer_vlan_id: id }) => id === 100);
    await person.request('delete_subif', { sw_if_index: access?.sw_if_index ?? 0 }, budget);
    await person.close();
    await reaches(client, hostNumber);
    await dataplane.remove(['vlan-1'], budget);
    expect(await leftOver(first)).toEqual([]);
  }, 60_000);

  test('a link that leads to other nodes as well carries both', async () => {
    const [first, second] = [await node(), await node()];
    await sandbox.underlay([
      { namespace: first.namespace, addresses: ['192.168.77.1/24'] },
      { namespace: second.namespace, addresses: ['192.168.77.2/24'] },
    ]);
    const [one, two, client, endpoint] = [1, 2, 3, 4].map(() => sandbox.namespace());
    if (!one || !two || !client || !endpoint) throw new Error('unreachable');
    await first.dataplane.ensure(vlanWire(one, 1, 100), budget);
    const base = { id: 'remote', payload: 'IP', mtu: 1400 } as const;
    const ports = { localPort: 4789, remotePort: 4789, vni: 7 };
    const [left, right] = ['192.168.77.1', '192.168.77.2'];
    const there = tunnel({ ...ports, localIp: left, remoteIp: right });
    const back = tunnel({ ...ports, localIp: right, remoteIp: left });
    await first.dataplane.ensure(
      { ...base, client: clientEnd(client.url, 5), endpoint: there },
      budget,
    );
    await second.dataplane.ensure(
      { ...base, client: back, endpoint: endpointEnd(endpoint.url, 5) },
      budget,
    );
    await second.dataplane.ensure(vlanWire(two, 2, 100), budget);
    await reaches(one, 2);
    await carries(one, two, 2);
    const through = { namespace: client.url, count: 5, intervalMs: 5, timeoutMs: 500 };
    await eventually('the other node is reached', 10_000, async () =>
      expect(await ping({ ...through, destination: wireAddresses(5).endpoint })).toMatchObject({
        received: 5,
      }),
    );
    for (const { dataplane } of [first, second]) {
      const ids = (await dataplane.list(budget)).map(({ id }) => id);
      await dataplane.remove(ids, budget);
      expect(await dataplane.list(budget)).toEqual([]);
    }
    // The way to other nodes stays as long as VPP runs.
    expect(await leftOver(first)).toEqual(['host-underlay']);
  }, 60_000);
});
