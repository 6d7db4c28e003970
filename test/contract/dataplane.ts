// What every data plane promises, whatever it is made of: one suite, run over the simulated one and the kernel.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { NsmError } from '../../protocols/errors.ts';
import type { DataplaneEvent, Wire } from '../../protocols/ports/dataplane.ts';
import { eventually } from '../sandbox/eventually.ts';
import { endpointEnd, localWire, tunnel } from '../sandbox/wires.ts';
import type { DataplaneFixture, TestNamespace } from './dataplane-fixture.ts';

const budget = { timeoutMs: 20_000 };

/** More steps than any operation of any driver has. */
const stepsMax = 80;

export function dataplaneContract(
  name: string,
  makeFixture: () => Promise<DataplaneFixture>,
  options: {
    /** Made at once; VWIRE_CONTRACT_WIRES=1000 stands for more. */
    readonly wireCount: number;
  },
): void {
  const wireCount = Number(process.env['VWIRE_CONTRACT_WIRES'] ?? options.wireCount);
  /** Of one wire among so many: on a machine with more work than processors each costs up to a fifth of a second. */
  const crowdBudget = { timeoutMs: 20_000 + wireCount * 200 };
  /** Made, found, taken over and removed. */
  const crowdTimeoutMs = 4 * crowdBudget.timeoutMs;
  describe(`data plane contract: ${name}`, () => {
    let fixture: DataplaneFixture;
    let client: TestNamespace;
    let endpoint: TestNamespace;
    let other: TestNamespace;
    let wire: Wire;

    beforeEach(async () => {
      fixture = await makeFixture();
      client = fixture.namespace();
      endpoint = fixture.namespace();
      other = fixture.namespace();
      wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
    });

    afterEach(() => fixture.close());

    const seen = () => fixture.interfaceIn(client, 'nsm-1');
    const tunnelOver = (localPort: number, remotePort: number, vni: number) => {
      const { tunnelIp: localIp, remoteTunnelIp: remoteIp = localIp } = fixture;
      return tunnel({ localIp, remoteIp, localPort, remotePort, vni });
    };
    const toOther = (): Wire => ({ ...wire, endpoint: endpointEnd(other.url, 1) });

    test('makes a wire, finds it, and takes it away, each as often as asked', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      const first = await seen();
      expect(first?.macAddress).toBe(wire.client.kind === 'kernel' && wire.client.macAddress);
      expect(first?.addresses).toEqual(expect.arrayContaining(['10.0.0.2/32', 'fd00::a00:2/128']));
      await driver.ensure(wire, budget);
      expect(await seen()).toEqual(first);
      expect(await driver.list(budget)).toMatchObject([
        { id: wire.id, version: 1, complete: true },
      ]);
      await driver.remove([wire.id, 'unknown'], budget);
      await driver.remove([wire.id], budget);
      expect(await driver.list(budget)).toEqual([]);
      expect(await seen()).toBeUndefined();
      expect(await fixture.objectCount()).toBe(0);
    });

    test('a restarted driver adopts a wire without touching the client end', async () => {
      await fixture.driver().ensure(wire, budget);
      const before = await seen();
      const restarted = fixture.driver();
      await restarted.ensure(wire, budget);
      expect(await seen()).toEqual(before);
      expect(await restarted.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      const again = fixture.driver();
      await again.remove([wire.id], budget);
      expect(await fixture.objectCount()).toBe(0);
    });

    test.each(['the same driver', 'a restarted driver'])(
      'retargets with the client end untouched, by %s',
      async (who) => {
        const driver = fixture.driver();
        await driver.ensure(wire, budget);
        const before = await seen();
        const next = who === 'the same driver' ? driver : fixture.driver();
        await next.ensure(toOther(), budget);
        expect(await seen()).toEqual(before);
        expect(await fixture.interfaceIn(other, 'nse-1')).toBeDefined();
        expect(await fixture.interfaceIn(endpoint, 'nse-1')).toBeUndefined();
        expect(await fixture.objectCount()).toBe(2);
        await next.ensure(wire, budget);
        expect(await seen()).toEqual(before);
        expect(await next.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      },
    );

    test('moves between local and remote with the client end untouched', async () => {
      const driver = fixture.driver();
      const remote = { ...wire, endpoint: tunnelOver(4788, 4789, 9) };
      await driver.ensure({ ...wire, mtu: 1400 }, budget);
      const before = await seen();
      await driver.ensure({ ...remote, mtu: 1400 }, budget);
      expect(await seen()).toEqual(before);
      expect(await fixture.interfaceIn(endpoint, 'nse-1')).toBeUndefined();
      await driver.ensure({ ...wire, mtu: 1400 }, budget);
      expect(await seen()).toEqual(before);
      await driver.remove([wire.id], budget);
      expect(await fixture.objectCount()).toBe(0);
    });

    test('changes addresses and MTU in place', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      const before = await seen();
      const changed = {
        ...wire,
        mtu: 1400,
        client: { ...wire.client, addresses: ['10.9.9.9/32'], routes: [] },
      } as Wire;
      await driver.ensure(changed, budget);
      const after = await seen();
      expect(after).toMatchObject({
        index: before?.index,
        macAddress: before?.macAddress,
        mtu: 1400,
      });
      expect(after?.addresses).toContain('10.9.9.9/32');
      expect(after?.addresses).not.toContain('10.0.0.2/32');
      await fixture.driver().ensure(wire, budget);
      expect((await seen())?.addresses).toContain('10.0.0.2/32');
      expect((await seen())?.addresses).not.toContain('10.9.9.9/32');
    });

    test('a failure at any step of a set-up leaves nothing', async () => {
      const driver = fixture.driver();
      await driver.probe(budget);
      for (let step = 0; step < stepsMax; step++) {
        fixture.failAt(step);
        const failure = await driver.ensure(wire, budget).catch((error: unknown) => error);
        const hasStruck = fixture.hasStruck();
        fixture.heal();
        if (!hasStruck) {
          expect(failure).toBeUndefined();
          return;
        }
        // A driver may also have worked around it.
        if (failure === undefined) await driver.remove([wire.id], budget);
        else expect(failure).toBeInstanceOf(NsmError);
        expect(await fixture.objectCount(), `after failing at step ${step}`).toBe(0);
        expect(await seen()).toBeUndefined();
      }
      expect.fail('the set-up never succeeded');
    });

    test('a failure at any step of a retarget leaves the old wire', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      const before = await seen();
      for (let step = 0; step < stepsMax; step++) {
        fixture.failAt(step);
        const failure = await driver.ensure(toOther(), budget).catch((error: unknown) => error);
        const hasStruck = fixture.hasStruck();
        fixture.heal();
        expect(await seen(), `after failing at step ${step}`).toEqual(before);
        if (!hasStruck) {
          expect(failure).toBeUndefined();
          return;
        }
        await driver.ensure(wire, budget);
        expect(await driver.list(budget)).toMatchObject([{ complete: true }]);
        expect(await fixture.objectCount(), `after failing at step ${step}`).toBe(2);
      }
      expect.fail('the retarget never succeeded');
    });

    test('a crash at any step of a set-up or retarget converges after a restart', async () => {
      for (const isRetarget of [false, true]) {
        for (let step = 0; step < stepsMax; step++) {
          const driver = fixture.driver();
          await driver.probe(budget);
          if (isRetarget) await driver.ensure(wire, budget);
          const before = await seen();
          fixture.crashAt(step);
          const failure = await driver.ensure(toOther(), budget).catch((error: unknown) => error);
          const hasStruck = fixture.hasStruck();
          fixture.heal();
          const restarted = fixture.driver();
          const found = await restarted.list(budget);
          expect(found.every(({ id }) => id === wire.id)).toBe(true);
          if (step % 2 === 0 || isRetarget) {
            await restarted.ensure(wire, budget);
            expect(await restarted.list(budget), `step ${step}`).toMatchObject([
              { complete: true },
            ]);
            if (isRetarget) expect(await seen()).toEqual(before);
            expect(await fixture.objectCount(), `step ${step}`).toBe(2);
          }
          await restarted.remove([wire.id], budget);
          expect(await fixture.objectCount(), `step ${step}`).toBe(0);
          if (!hasStruck) {
            expect(failure).toBeUndefined();
            break;
          }
        }
      }
    }, 240_000);

    test('never touches what others made, nor another installation', async () => {
      await fixture.addForeign(client);
      const foreign = await fixture.foreignCount();
      const mine = fixture.driver();
      const theirs = fixture.driver({ installation: 'another' });
      const sibling = fixture.driver({ forwarder: 'second' });
      const second = localWire({ client: client.url, endpoint: endpoint.url }, 2, wire.id);
      const third = localWire({ client: client.url, endpoint: endpoint.url }, 3, wire.id);
      await mine.ensure(wire, budget);
      await theirs.ensure(second, budget);
      await sibling.ensure(third, budget);
      expect(await fixture.driver().list(budget)).toHaveLength(1);
      await fixture.driver().remove([wire.id], budget);
      expect(await fixture.driver().list(budget)).toEqual([]);
      expect(await theirs.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      expect(await sibling.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      expect(await fixture.foreignCount()).toBe(foreign);
      await theirs.remove([wire.id], budget);
      await sibling.remove([wire.id], budget);
      expect(await fixture.foreignCount()).toBe(foreign);
      expect(await fixture.objectCount()).toBe(0);
    });

    test('refuses a taken interface name and a taken VNI, each by its rule', async () => {
      const driver = fixture.driver();
      const remote = tunnelOver(4788, 4789, 5);
      await driver.ensure({ ...wire, endpoint: remote }, budget);
      const sameName = { ...wire, id: 'same-name', endpoint: endpointEnd(other.url, 1) };
      await expect(driver.ensure(sameName, budget)).rejects.toMatchObject({
        code: 'ALREADY_EXISTS',
        details: { rule: 'interface name' },
      });
      const second = localWire({ client: client.url, endpoint: endpoint.url }, 2);
      await expect(
        fixture.driver({ installation: 'another' }).ensure({ ...second, endpoint: remote }, budget),
      ).rejects.toMatchObject({ code: 'ALREADY_EXISTS', details: { rule: 'vni' } });
      expect(await fixture.objectCount()).toBe(2);
    });

    test('refuses what is no wire with one clear error and touches nothing', async () => {
      const driver = fixture.driver();
      const bad: readonly [Wire, string][] = [
        [
          { ...wire, client: { ...wire.client, interfaceName: 'far-too-long-name' } as never },
          'INVALID_ARGUMENT',
        ],
        [
          { ...wire, client: { ...wire.client, addresses: ['10.0.0.999/32'] } as never },
          'INVALID_ARGUMENT',
        ],
        [
          { ...wire, client: { ...wire.client, macAddress: '01:00:00:00:00:00' } as never },
          'INVALID_ARGUMENT',
        ],
        [{ ...wire, mtu: 10 }, 'INVALID_ARGUMENT'],
        [{ ...wire, client: { kind: 'memif' } as never }, 'UNIMPLEMENTED'],
      ];
      for (const [refused, code] of bad) {
        await expect(driver.ensure(refused, budget)).rejects.toMatchObject({ code });
      }
      expect(await fixture.objectCount()).toBe(0);
    });

    test('a namespace that is gone is reported, and what is left is removed', async () => {
      const driver = fixture.driver();
      let notify: (event: DataplaneEvent) => void = () => {};
      driver.watch((event) => {
        // Linux says first that the link is down.
        if (event.kind !== 'linkDown') notify(event);
      });
      await driver.ensure(wire, budget);
      const heard = new Promise<DataplaneEvent>((resolve) => {
        notify = resolve;
      });
      client.close();
      expect(await heard).toEqual({ kind: 'namespaceGone', wireId: wire.id, side: 'client' });
      // The news comes before the kernel has taken the interface away.
      await eventually('the end is gone', 10_000, async () =>
        expect(await driver.list(budget)).toMatchObject([{ id: wire.id, complete: false }]),
      );
      await expect(driver.ensure(wire, budget)).rejects.toMatchObject({
        code: 'NOT_FOUND',
        details: { rule: 'namespace of the client' },
      });
      await driver.remove([wire.id], budget);
      expect(await fixture.objectCount()).toBe(0);
    });

    test('tells when the workload takes its end down and up, and does not undo it', async () => {
      const driver = fixture.driver();
      const heard: string[] = [];
      let wanted: { count: number; resolve: () => void } | undefined;
      driver.watch((event) => {
        if (event.kind !== 'linkDown' && event.kind !== 'linkUp') return;
        heard.push(`${event.side} ${event.kind}`);
        if (wanted !== undefined && heard.length >= wanted.count) wanted.resolve();
      });
      await driver.ensure(wire, budget);
      const until = (count: number) =>
        new Promise<void>((resolve) => {
          wanted = { count, resolve };
          if (heard.length >= count) resolve();
        });
      await fixture.setInterfaceUp(client, 'nsm-1', false);
      await until(1);
      await driver.ensure(wire, budget);
      await fixture.setInterfaceUp(client, 'nsm-1', true);
      await until(2);
      expect(heard).toEqual(['client linkDown', 'client linkUp']);
    });

    test(
      `makes and removes ${wireCount} wires at once`,
      async () => {
        const driver = fixture.driver();
        const wires = Array.from({ length: wireCount }, (_, number) =>
          localWire({ client: client.url, endpoint: endpoint.url }, number),
        );
        await Promise.all(wires.map((each) => driver.ensure(each, crowdBudget)));
        const found = await driver.list(crowdBudget);
        expect(found).toHaveLength(wires.length);
        expect(found.every(({ complete }) => complete)).toBe(true);
        const ids = wires.map(({ id }) => id);
        expect((await driver.statistics(ids, crowdBudget)).size).toBe(wires.length);
        // A restarted one finds them all as they are, and changes nothing.
        const restarted = fixture.driver();
        await Promise.all(wires.map((each) => restarted.ensure(each, crowdBudget)));
        expect((await restarted.list(crowdBudget)).every(({ complete }) => complete)).toBe(true);
        await Promise.all(ids.map((id) => restarted.remove([id], crowdBudget)));
        expect(await fixture.objectCount()).toBe(0);
      },
      crowdTimeoutMs,
    );

    test('counts for both ends, also after a restart and a retarget, and knows nothing of others', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      const ids = [wire.id, 'unknown'];
      for (const each of [driver, fixture.driver()]) {
        const found = await each.statistics(ids, budget);
        expect([...found.keys()]).toEqual([wire.id]);
        expect(Object.keys(found.get(wire.id) ?? {}).toSorted()).toEqual(['client', 'endpoint']);
      }
      const remote = tunnelOver(4788, 4789, 9);
      await driver.ensure({ ...wire, endpoint: remote }, budget);
      const moved = (await driver.statistics(ids, budget)).get(wire.id);
      expect(Object.keys(moved ?? {}).toSorted()).toEqual(['client', 'endpoint']);
      await driver.remove([wire.id], budget);
      expect((await driver.statistics(ids, budget)).size).toBe(0);
    });

    test('says what it can do', async () => {
      const { mechanisms } = await fixture.driver().probe(budget);
      expect(mechanisms).toEqual(expect.arrayContaining(['KERNEL', 'VXLAN']));
      expect(await fixture.objectCount()).toBe(0);
    });
  });
}
