// Protects what wires over Open vSwitch do with VLANs: an end in a VLAN of a network outside reaches everybody in that
// VLAN, on this node and over the uplink, and nobody in another one; a workload that tags its frames gets and sends
// them tagged; what is not configured is refused by its rule.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { changeLink, createBridge, getLinkByName } from '../../../protocols/netlink/link.ts';
import type { Wire } from '../../../protocols/ports/dataplane.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { transferOverTcp } from '../../../transports/netlink/tcp-transfer.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox } from '../../sandbox/namespaces.ts';
import { whyNoOvs } from '../../sandbox/ovs.ts';
import { clientEnd, endpointEnd } from '../../sandbox/wires.ts';
import { type OvsNode, ovsNode } from './ovs-node.ts';

const budget = { timeoutMs: 20_000 };
const reason = whyNoOvs();
const outside = new Map([['gw0', { bridge: 'br-ex', interfaceName: 'underlay' }]]);
const transferBytes = 1 << 20;

describe.skipIf(reason !== undefined)(`VLANs over Open vSwitch ${reason ?? ''}`, () => {
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
    const made = await ovsNode(sandbox, outside);
    nodes.push(made);
    return made;
  }

  /** A client with this address in a VLAN of the network outside. */
  function vlanWire(client: NetworkNamespace, number: number, vlanId: number): Wire {
    const end = clientEnd(client.url, number);
    return {
      id: `vlan-${number}`,
      payload: 'ETHERNET',
      mtu: 0,
      client: { ...end, addresses: [`10.77.0.${number}/24`], routes: [] },
      endpoint: { kind: 'vlan', vlanId, via: 'gw0' },
    };
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

  test('one VLAN joins clients of two nodes over the uplink, and keeps another apart', async () => {
    const [first, second] = [await node(), await node()];
    await sandbox.underlay([
      { namespace: first.namespace, addresses: [] },
      { namespace: second.namespace, addresses: [] },
    ]);
    const [one, two, three, four] = [1, 2, 3, 4].map(() => sandbox.namespace());
    if (!one || !two || !three || !four) throw new Error('unreachable');
    const wire = vlanWire(one, 1, 100);
    await first.dataplane.ensure(wire, budget);
    await first.dataplane.ensure(vlanWire(two, 2, 100), budget);
    await second.dataplane.ensure(vlanWire(three, 3, 100), budget);
    await second.dataplane.ensure(vlanWire(four, 4, 200), budget);
    await reaches(one, 2);
    await reaches(one, 3);
    const to = { to: three.url, address: '10.77.0.3', bytes: transferBytes, timeoutMs: 20_000 };
    expect(await transferOverTcp({ from: one.url, ...to })).toBe(transferBytes);
    expect(await echo(one, 4)).toMatchObject({ received: 0 });
    const counted = (await first.dataplane.statistics([wire.id], budget)).get(wire.id);
    expect(counted?.endpoint?.rxBytes).toBeGreaterThan(BigInt(transferBytes));

    // Into the other VLAN, with the client's end as it is.
    await first.dataplane.ensure(
      { ...wire, endpoint: { ...wire.endpoint, vlanId: 200 } as never },
      budget,
    );
    await reaches(one, 4);
    expect(await echo(one, 3)).toMatchObject({ received: 0 });
    const restarted = first.driver();
    expect(await restarted.list(budget)).toMatchObject([{ complete: true }, { complete: true }]);
    await restarted.remove([wire.id, 'vlan-2'], budget);
    expect(await restarted.list(budget)).toEqual([]);
    expect(await echo(one, 4)).toMatchObject({ received: 0 });
  }, 60_000);

  test('a workload that tags its frames gets and sends them tagged', async () => {
    const { dataplane } = await node();
    const [left, right, middle] = [sandbox.namespace(), sandbox.namespace(), sandbox.namespace()];
    // Between the two tagged ends stands a bridge that hands on frames as they are.
    const tagged = (number: number) => ({
      ...endpointEnd(middle.url, number),
      addresses: [],
      routes: [],
      vlanId: 7,
    });
    const plain = (client: NetworkNamespace, number: number) => ({
      ...clientEnd(client.url, number),
      addresses: [`10.77.0.${number}/24`],
      routes: [],
    });
    const base = { payload: 'ETHERNET', mtu: 0 } as const;
    const wires: Wire[] = [
      { ...base, id: 'left', client: plain(left, 1), endpoint: tagged(1) },
      { ...base, id: 'right', client: plain(right, 2), endpoint: tagged(2) },
    ];
    for (const wire of wires) await dataplane.ensure(wire, budget);
    const register = (name: string) => ({ register: name, offset: 4 });
    const on = { register: 'bridge' };
    await sandbox.program(middle, [
      { message: createBridge({ name: 'middle', group: 0 }), what: 'create a bridge' },
      { message: getLinkByName('middle'), what: 'find it', store: register('bridge') },
      { message: changeLink({ index: on, isUp: true }), what: 'set it up' },
      ...['nse-1', 'nse-2'].flatMap((name) => [
        { message: getLinkByName(name), what: `find ${name}`, store: register(name) },
        { message: changeLink({ index: { register: name }, master: on }), what: `join ${name}` },
      ]),
    ]);
    await reaches(left, 2);
    // One of them no longer tags: the other's frames are foreign to it.
    const { vlanId: _, ...untagged } = tagged(2);
    await dataplane.ensure({ ...wires[1], endpoint: untagged } as Wire, budget);
    await eventually('the switch has turned to it', 10_000, async () =>
      expect(await echo(left, 2)).toMatchObject({ received: 0 }),
    );
    expect(await dataplane.inspect('right', budget)).toEqual([]);
  }, 60_000);

  test('refuses a network that nobody has named, and an id that is none', async () => {
    const { dataplane } = await node();
    const client = sandbox.namespace();
    const wire = vlanWire(client, 1, 100);
    const elsewhere = { ...wire, endpoint: { ...wire.endpoint, via: 'gw9' } } as Wire;
    await expect(dataplane.ensure(elsewhere, budget)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { rule: 'via', expected: 'gw0', found: 'gw9' },
    });
    const reserved = { ...wire, endpoint: { ...wire.endpoint, vlanId: 4095 } } as Wire;
    await expect(dataplane.ensure(reserved, budget)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: 'VLAN id' },
    });
    expect(await dataplane.list(budget)).toEqual([]);
  });
});
