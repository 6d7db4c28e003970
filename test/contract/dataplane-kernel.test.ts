// Protects the kernel data plane's promises in real namespaces, with redirect filters and with bridges.

import { describe, expect, test } from 'vitest';

import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import type { Dataplane, Wire } from '../../protocols/ports/dataplane.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import { openTunnelKeys } from '../../transports/tunnel-keys/tunnel-keys.ts';
import { createInFlightClock } from '../sandbox/in-flight-clock.ts';
import { createSandbox, whyNoNamespaces } from '../sandbox/namespaces.ts';
import { eventually } from '../sandbox/eventually.ts';
import { tablesIn } from '../sandbox/mesh-traces.ts';
import { harmWire, type KernelHarm } from '../sandbox/harm-wire.ts';
import { faultyNetlink } from '../sandbox/netlink-faults.ts';
import { createPlannedFaults } from '../sandbox/planned-faults.ts';
import { whyNoWireguard } from '../sandbox/wireguard.ts';
import { localWire, tunnel } from '../sandbox/wires.ts';
import { dataplaneContract } from './dataplane.ts';
import { dataplaneDamageContract } from './dataplane-damage.ts';
import { type CarryingFixture, dataplaneInFlightContract } from './dataplane-in-flight.ts';
import { dataplaneRemoteContract } from './dataplane-remote.ts';
import { dataplaneTakeOverContract } from './dataplane-take-over.ts';
import { nodeFixture } from './node-fixture.ts';

const budget = { timeoutMs: 10_000 };

interface KernelFixture extends CarryingFixture {
  /** What only a kernel's wire can suffer, at the side of the client. */
  harmKernel(harm: KernelHarm, wire: Wire): Promise<void>;
  filterTables(): Promise<readonly string[]>;
  /** The first forwarder's wire, joined by something else than the kernel. */
  joinOutside(wire: Wire): Promise<void>;
}

async function makeFixture(crossConnect: 'redirect' | 'bridge'): Promise<KernelFixture> {
  const sandbox = createSandbox();
  const node = sandbox.namespace();
  const real = createNetlink({ namespace: node.url });
  const faults = createPlannedFaults();
  const netlink = faultyNetlink(real, faults);
  const common = nodeFixture(sandbox, real);
  const clock = createInFlightClock();
  const drivers: Dataplane[] = [];
  const secrets = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: false });
  return {
    ...common,
    clock,
    tunnelKeys: secrets,
    driver({ installation = 'ours', forwarder = 'first', tagVersion = 1 } = {}) {
      const owner = { installation, forwarder, tagVersion };
      const driver = createKernelDataplane({ netlink, clock, ...owner, crossConnect, secrets });
      drivers.push(driver);
      return driver;
    },
    async objectCount() {
      // One more link per wire belongs to the way in which it is joined.
      return (await common.wireLinks()).filter(({ kind }) => kind !== 'bridge').length;
    },
    harmKernel: (harm: KernelHarm, wire: Wire) =>
      harmWire({ netlink: real, node: node.url }, harm, { wire, side: 'client' }),
    async joinOutside(wire) {
      const ends = createWireEnds({
        netlink,
        clock,
        installation: 'ours',
        forwarder: 'first',
      });
      const joined = { isReplacing: false, settle: async () => {}, undo: async () => {} };
      await ends.ensure(wire, budget, { needsChecksums: false, join: async () => joined });
      await ends.close();
    },
    filterTables: () => tablesIn(real, node.url),
    failAt: (position: number) => faults.failAt(position),
    crashAt: (position) => faults.crashAt(position),
    hasStruck: () => faults.hasStruck,
    heal: () => faults.heal(),
    harm: (harm, wire, side) => harmWire({ netlink: real, node: node.url }, harm, { wire, side }),
    tunnelIp: '127.0.0.1',
    async close() {
      for (const driver of drivers) await driver.close();
      await real.close();
      await sandbox.close();
    },
  };
}

/** Filters that somebody puts in the place of ours, or in their way. */
function redirectsHarmed(): void {
  describe('kernel redirects', () => {
    test.each(['filterless', 'redirected', 'blocked', 'rehooked'] as const)(
      'are put back where they are %s',
      async (harm) => {
        const fixture = await makeFixture('redirect');
        const [client, endpoint] = [fixture.namespace(), fixture.namespace()];
        const wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
        const driver = fixture.driver();
        const heard: string[] = [];
        driver.watch(({ kind }) => heard.push(kind));
        await driver.ensure(wire, budget);
        const before = await fixture.interfaceIn(client, 'nsm-1');
        await fixture.harmKernel(harm, wire);
        await eventually('it is told', 10_000, () => expect(heard).toContain('damaged'));
        await driver.ensure(wire, budget);
        expect(await driver.inspect(wire.id, budget)).toEqual([]);
        expect(await fixture.interfaceIn(client, 'nsm-1')).toEqual(before);
        await driver.remove([wire.id], budget);
        await fixture.close();
      },
    );
  });
}

/** Links that a switch joins are of no use to another forwarder, which does not know the switch. */
function takenFromSwitch(): void {
  test('a wire that a switch joined is made anew by who takes it over, under the same name, MAC and addresses', async () => {
    const fixture = await makeFixture('redirect');
    const [client, endpoint] = [fixture.namespace(), fixture.namespace()];
    const wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
    await fixture.joinOutside(wire);
    const before = await fixture.interfaceIn(client, 'nsm-1');
    const driver = fixture.driver({ forwarder: 'second' });
    await driver.ensure(
      { ...wire, id: 'next', replaces: { forwarder: 'first', id: wire.id } },
      budget,
    );
    expect(before).toBeDefined();
    expect(await fixture.interfaceIn(client, 'nsm-1')).toEqual({
      ...before,
      index: expect.any(Number),
    });
    expect(await driver.list(budget)).toMatchObject([{ id: 'next', complete: true }]);
    expect(await fixture.objectCount()).toBe(2);
    await driver.remove(['next'], budget);
    expect(await fixture.objectCount()).toBe(0);
    await fixture.close();
  });
}

/** What a tunnel has beside its device. */
function filterAfterHarm(): void {
  test('a tunnel that somebody deleted leaves nothing in the filter when its wire ends', async () => {
    const fixture = await makeFixture('redirect');
    const { url } = fixture.namespace();
    const ports = { localPort: 4788, remotePort: 4789 };
    const localIp = fixture.tunnelIp;
    const remote = tunnel({ localIp, remoteIp: localIp, ...ports, vni: 9 });
    const wire = { ...localWire({ client: url, endpoint: url }, 1), endpoint: remote };
    const driver = fixture.driver();
    const heard: string[] = [];
    driver.watch(({ kind }) => heard.push(kind));
    await driver.list(budget);
    await driver.ensure(wire, budget);
    expect(await fixture.filterTables()).toHaveLength(1);
    await fixture.harm('deleted', wire, 'endpoint');
    await eventually('it is told', 10_000, () => expect(heard).toContain('damaged'));
    await driver.remove([wire.id], budget);
    expect(await fixture.filterTables()).toEqual([]);
    expect(await fixture.objectCount()).toBe(0);
    await fixture.close();
  });
}

const reason = whyNoNamespaces();
if (reason !== undefined) console.warn(`skipped, needs network namespaces: ${reason}`);
const noWireguard = await whyNoWireguard();
if (noWireguard !== undefined) console.warn(`skipped, needs WireGuard: ${noWireguard}`);
describe.skipIf(reason !== undefined)('the kernel', () => {
  dataplaneContract('kernel, redirect', () => makeFixture('redirect'), { wireCount: 60 });
  dataplaneContract('kernel, bridge', () => makeFixture('bridge'), { wireCount: 30 });
  dataplaneDamageContract('kernel, redirect', () => makeFixture('redirect'));
  dataplaneDamageContract('kernel, bridge', () => makeFixture('bridge'));
  dataplaneInFlightContract('kernel, redirect', () => makeFixture('redirect'));
  dataplaneInFlightContract('kernel, bridge', () => makeFixture('bridge'));
  dataplaneTakeOverContract('kernel, redirect', () => makeFixture('redirect'));
  dataplaneTakeOverContract('kernel, bridge', () => makeFixture('bridge'));
  dataplaneRemoteContract('kernel, redirect', () => makeFixture('redirect'), 'vxlan');
  describe.skipIf(noWireguard !== undefined)(
    noWireguard === undefined ? 'encrypted' : `encrypted, skipped: ${noWireguard}`,
    () => dataplaneRemoteContract('kernel, redirect', () => makeFixture('redirect'), 'wireguard'),
  );
  redirectsHarmed();
  filterAfterHarm();
  takenFromSwitch();
});
