// Protects what the VPP driver says to VPP about VLANs, over a VPP in memory and real links: wires in one VLAN share what
// leads there, the last of them takes it along whenever its process was killed, what others have is left alone, and what
// cannot be is refused by its rule.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createVppDataplane } from '../../../dataplane/vpp/vpp.ts';
import { getLinkByName, parseLink } from '../../../protocols/netlink/link.ts';
import type { Wire } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import type { Vpp } from '../../../protocols/ports/vpp.ts';
import { allOnes } from '../../../protocols/vpp/messages/enums.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { createFakeVpp, type FakeVpp, noStatistics } from '../../sandbox/fake-vpp.ts';
import { createSandbox, type Sandbox, whyNoNamespaces } from '../../sandbox/namespaces.ts';
import { createPlannedFaults, faultyVpp } from '../../sandbox/planned-faults.ts';
import { localWire } from '../../sandbox/wires.ts';
import { createFakeEnds, type FakeEnds } from './fake-ends.ts';

const budget = { timeoutMs: 5_000 };
const reason = whyNoNamespaces();
if (reason !== undefined) console.warn(`skipped, needs network namespaces: ${reason}`);
const stepsMax = 100;

describe.skipIf(reason !== undefined)('VLANs of the VPP driver', () => {
  let sandbox: Sandbox;
  let netlink: Netlink;
  let vpp: FakeVpp;
  let ends: FakeEnds;

  beforeEach(async () => {
    sandbox = createSandbox();
    const [node, outside] = [sandbox.namespace(), sandbox.namespace()];
    await sandbox.underlay([
      { namespace: node, addresses: [] },
      { namespace: outside, addresses: [] },
    ]);
    netlink = createNetlink({ namespace: node.url });
    vpp = createFakeVpp();
    ends = createFakeEnds();
  });

  afterEach(async () => {
    await netlink.close();
    await sandbox.close();
  });

  const driver = (through: Vpp = vpp) =>
    createVppDataplane({
      installation: 'ours',
      forwarder: 'first',
      vpp: through,
      netlink,
      ends,
      statistics: noStatistics,
      clock: systemClock,
      networks: new Map([
        ['gw0', { interfaceName: 'underlay' }],
        ['gw1', { interfaceName: 'eth9' }],
      ]),
    });

  const wireIn = (number: number, vlanId: number, via = 'gw0'): Wire => ({
    ...localWire({ client: `${number}`, endpoint: 'none' }, number),
    payload: 'ETHERNET',
    endpoint: { kind: 'vlan', vlanId, via },
  });

  const interfaces = async (): Promise<string[]> => {
    const all = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    return all.map(({ interface_name: name }) => name);
  };
  const domains = () => vpp.dump('bridge_domain_dump', {}, budget);
  const isPromiscuous = async (): Promise<boolean | undefined> => {
    const requests = [{ message: getLinkByName('underlay'), what: 'find the link' }];
    const outcome = await netlink.execute([{ protocol: 'route', requests }], budget);
    const message = outcome.ok ? outcome.answers[0]?.[0]?.messages[0] : undefined;
    return message && parseLink(message)?.isPromiscuous;
  };
  const expectNothing = async (step = 0): Promise<void> => {
    expect(await interfaces(), `step ${step}`).toEqual([]);
    expect(await domains(), `step ${step}`).toEqual([]);
    expect(await isPromiscuous(), `step ${step}`).toBe(false);
  };

  test('wires in one VLAN share it, and the last one takes it along', async () => {
    const dataplane = driver();
    for (const wire of [wireIn(1, 100), wireIn(2, 100), wireIn(3, 200)]) {
      await dataplane.ensure(wire, budget);
      expect(await dataplane.inspect(wire.id, budget)).toEqual([]);
    }
    const shared = (await interfaces()).filter((name) => name.startsWith('host-underlay'));
    expect(shared).toHaveLength(3);
    // Two pipes and the sub-interface; one pipe and the sub-interface.
    expect((await domains()).map(({ sw_if_details: all }) => all.length)).toEqual([3, 2]);
    expect(await isPromiscuous()).toBe(true);

    const before = vpp.log.length;
    await dataplane.ensure(wireIn(1, 100), budget);
    const restarted = driver();
    expect(await restarted.list(budget)).toMatchObject([{}, {}, {}]);
    await restarted.ensure(wireIn(1, 100), budget);
    expect(vpp.log.slice(before).filter((line) => !line.startsWith('join'))).toEqual([]);

    await restarted.remove(['wire-1', 'wire-3'], budget);
    expect((await domains()).map(({ sw_if_details: all }) => all.length)).toEqual([2]);
    expect(await restarted.inspect('wire-2', budget)).toEqual([]);
    await restarted.remove(['wire-2'], budget);
    await expectNothing();
  });

  test('a wire changes over to another VLAN by one message, and the old one goes', async () => {
    const dataplane = driver();
    await dataplane.ensure(wireIn(1, 100), budget);
    const before = vpp.log.length;
    await dataplane.ensure(wireIn(1, 200), budget);
    const said = vpp.log.slice(before);
    const joins = said.flatMap((line, at) => (line.startsWith('join host-vw') ? [at] : []));
    expect(joins).toHaveLength(1);
    const deletions = said.flatMap((line, at) => (line.startsWith('delete') ? [at] : []));
    expect(Math.min(...deletions)).toBeGreaterThan(joins[0] ?? Infinity);
    expect(await domains()).toHaveLength(1);
    await dataplane.remove(['wire-1'], budget);
    await expectNothing();
  });

  test('whenever its process is killed the next one makes it whole, and leaves nothing', async () => {
    const faults = createPlannedFaults();
    for (let step = 0; step < stepsMax; step++) {
      faults.crashAt(step);
      await driver(faultyVpp(vpp, faults))
        .ensure(wireIn(1, 100), budget)
        .catch(() => {});
      const { hasStruck } = faults;
      faults.heal();
      const next = driver();
      if (step % 2 === 0) {
        await next.ensure(wireIn(1, 100), budget);
        expect(await next.inspect('wire-1', budget), `step ${step}`).toEqual([]);
      }
      await next.remove(['wire-1'], budget);
      await expectNothing(step);
      if (!hasStruck) return;
    }
    expect.fail('too many steps');
  });

  test('what fails is taken back, and is removed whenever its process is killed', async () => {
    const faults = createPlannedFaults();
    for (let step = 0; step < stepsMax; step++) {
      const dataplane = driver(faultyVpp(vpp, faults));
      faults.failAt(step);
      const isMade = await dataplane.ensure(wireIn(1, 100), budget).then(
        () => true,
        () => false,
      );
      const { hasStruck } = faults;
      faults.heal();
      if (!isMade) await expectNothing(step);
      await dataplane.ensure(wireIn(1, 100), budget);
      faults.crashAt(step);
      await dataplane.remove(['wire-1'], budget).catch(() => {});
      faults.heal();
      const next = driver();
      await next.remove(['wire-1'], budget);
      await expectNothing(step);
      if (!hasStruck) return;
    }
    expect.fail('too many steps');
  });

  test('a VPP that ended gets everything back', async () => {
    const dataplane = driver();
    for (const number of [1, 2]) await dataplane.ensure(wireIn(number, 100), budget);
    vpp.kill();
    vpp.start();
    await eventually('all are whole', 5_000, async () =>
      expect(await dataplane.list(budget)).toMatchObject([{ complete: true }, { complete: true }]),
    );
    expect((await domains()).map(({ sw_if_details: all }) => all.length)).toEqual([3]);
    await dataplane.close();
  });

  test('what somebody takes away of a VLAN is said, and put back', async () => {
    const dataplane = driver();
    await dataplane.ensure(wireIn(1, 100), budget);
    const all = await vpp.dump('sw_interface_dump', { sw_if_index: allOnes }, budget);
    const access = all.find(({ sub_outer_vlan_id: id }) => id === 100);
    const host = all.find(({ interface_name: name }) => name === 'host-underlay');
    const far = all.find(({ interface_name: name }) => /^pipe\d+\.1$/.test(name));
    const [domain] = await domains();
    const bridging = { bd_id: domain?.bd_id ?? 0, enable: false };
    const harms = [
      () =>
        vpp.change('sw_interface_set_l2_bridge', {
          ...bridging,
          rx_sw_if_index: far?.sw_if_index ?? 0,
        }),
      () => vpp.change('delete_subif', { sw_if_index: access?.sw_if_index ?? 0 }),
      () => vpp.change('af_packet_delete', { host_if_name: host?.interface_name.slice(5) ?? '' }),
    ];
    for (const harm of harms) {
      harm();
      expect(await driver().inspect('wire-1', budget)).toEqual([
        expect.stringContaining('does not lead into its VLAN'),
      ]);
      expect(await dataplane.list(budget)).toMatchObject([{ complete: true }]);
      expect(await driver().inspect('wire-1', budget)).toEqual([]);
    }
  });

  test("others' host interface is used and stays, with their VLANs", async () => {
    const theirs = vpp.change('af_packet_create_v3', { host_if_name: 'underlay' });
    const sub = { sub_id: 7, sub_if_flags: 2, outer_vlan_id: 7, inner_vlan_id: 0 };
    vpp.change('create_subif', { ...theirs, ...sub });
    const dataplane = driver();
    await dataplane.ensure(wireIn(1, 100), budget);
    await expect(dataplane.ensure(wireIn(2, 7), budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'VLAN id', found: 'host-underlay.7' },
    });
    await dataplane.remove(['wire-1', 'wire-2'], budget);
    expect(await interfaces()).toEqual(['host-underlay', 'host-underlay.7']);
    expect(await domains()).toEqual([]);
  });

  test('refuses a network that nobody has named, a link that is not there, and an id that is none', async () => {
    const dataplane = driver();
    await expect(dataplane.ensure(wireIn(1, 100, 'gw7'), budget)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { rule: 'via', expected: 'gw0, gw1', found: 'gw7' },
    });
    await expect(dataplane.ensure(wireIn(1, 100, 'gw1'), budget)).rejects.toMatchObject({
      code: 'FAILED_PRECONDITION',
      details: { rule: 'via', expected: expect.stringContaining('eth9') },
    });
    await expect(dataplane.ensure(wireIn(1, 4095), budget)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: 'VLAN id' },
    });
    await expectNothing();
  });
});
