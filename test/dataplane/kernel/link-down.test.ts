// Protects the quiet after a repair: a link that somebody set down, and that is up again, carries at once, although the
// workload has asked for its neighbour in vain meanwhile and would ask again only a second later.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { createKernelDataplane } from '../../../dataplane/kernel/kernel.ts';
import type { Dataplane, DataplaneEvent } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import { ping } from '../../../transports/icmp/ping.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { harmWire } from '../../sandbox/harm-wire.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { createSandbox, heldNamespaces, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { localWire, wireAddresses } from '../../sandbox/wires.ts';

const budget = { timeoutMs: 10_000 };
const reason = whyNoNamespaces();

describe.skipIf(reason !== undefined)(`a link set down by hand ${reason ?? ''}`, () => {
  let sandbox: Sandbox;
  let node: NetworkNamespace;
  let netlink: Netlink;
  let dataplane: Dataplane;
  let held: number;

  beforeEach(() => {
    held = heldNamespaces().length;
    sandbox = createSandbox();
    node = sandbox.namespace();
    netlink = createNetlink({ namespace: node.url });
    dataplane = createKernelDataplane({
      netlink,
      clock: systemClock,
      installation: 'link-down',
      forwarder: 'node',
    });
  });

  afterEach(async () => {
    await dataplane.close();
    await netlink.close();
    await sandbox.close();
    expect(heldNamespaces()).toHaveLength(held);
  });

  const received = async (from: NetworkNamespace, destination: string, timeoutMs: number) =>
    (await ping({ namespace: from.url, destination, count: 1, intervalMs: 1, timeoutMs })).received;

  test.each(['client', 'endpoint'] as const)("of the %s's end", async (side) => {
    const workloads = { client: sandbox.namespace(), endpoint: sandbox.namespace() };
    const wire = localWire({ client: workloads.client.url, endpoint: workloads.endpoint.url }, 1);
    const ips = wireAddresses(1);
    const [own, other] = [workloads[side], side === 'client' ? ips.endpoint : ips.client];
    const told: DataplaneEvent['kind'][] = [];
    dataplane.watch(({ kind }) => told.push(kind));
    await dataplane.ensure(wire, budget);
    expect(await received(own, other, 2_000)).toBe(1);
    await harmWire({ netlink, node: node.url }, 'down', { wire, side });
    expect(await received(own, other, 50)).toBe(0);
    await eventually('the damage is told', 5_000, () => expect(told).toContain('damaged'));
    await dataplane.ensure(wire, budget);
    expect(await received(own, other, 300)).toBe(1);
  });
});
