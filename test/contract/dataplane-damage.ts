// What every data plane does about harm from outside: it tells of it, finds it, and puts back what is its own, and of
// versions of its own format: it takes over earlier ones and leaves later ones alone.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import {
  type Dataplane,
  type DataplaneEvent,
  interfaceGoneRule,
  type Wire,
} from '../../protocols/ports/dataplane.ts';
import { eventually } from '../sandbox/eventually.ts';
import { endpointEnd, localWire, tunnel } from '../sandbox/wires.ts';
import { type DataplaneFixture, harms, type TestNamespace } from './dataplane-fixture.ts';

const budget = { timeoutMs: 20_000 };

export function dataplaneDamageContract(
  name: string,
  makeFixture: () => Promise<DataplaneFixture>,
): void {
  describe(`data plane harmed: ${name}`, () => {
    let fixture: DataplaneFixture;
    let client: TestNamespace;
    let endpoint: TestNamespace;
    let wire: Wire;

    beforeEach(async () => {
      fixture = await makeFixture();
      client = fixture.namespace();
      endpoint = fixture.namespace();
      wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
    });

    afterEach(() => fixture.close());

    const seen = () => fixture.interfaceIn(client, 'nsm-1');
    const toOther = (): Wire => ({
      ...wire,
      endpoint: endpointEnd(fixture.namespace().url, 1),
    });

    const remoteWire = (): Wire => {
      const { tunnelIp: localIp, remoteTunnelIp: remoteIp = localIp } = fixture;
      const ports = { localPort: 4788, remotePort: 4789 };
      return { ...wire, endpoint: tunnel({ localIp, remoteIp, ...ports, vni: 9 }) };
    };

    /** What the driver tells, but for what the workloads do to their own ends. */
    const listenTo = (driver: Dataplane): DataplaneEvent[] => {
      const heard: DataplaneEvent[] = [];
      driver.watch((event) => {
        if (event.kind === 'damaged' || event.kind === 'namespaceGone') heard.push(event);
      });
      return heard;
    };

    const isOver = (driver: Dataplane, id: string) =>
      eventually('it is told', 10_000, async () =>
        expect(await driver.inspect(id, budget)).not.toEqual([]),
      );

    describe.each(harms)('somebody harms a live wire: %s', (harm) => {
      const needsTunnel = harm === 'remoteless' || harm === 'unfiltered';
      const cases = needsTunnel ? (['endpoint'] as const) : (['client', 'endpoint'] as const);

      test.each(cases)('it is told, and put back, at the side of the %s', async (side) => {
        const driver = fixture.driver();
        const heard = listenTo(driver);
        const harmed = needsTunnel ? remoteWire() : wire;
        const untouched = localWire({ client: client.url, endpoint: endpoint.url }, 2);
        await driver.ensure(harmed, budget);
        await driver.ensure(untouched, budget);
        const before = await seen();
        const objects = await fixture.objectCount();
        await fixture.harm(harm, harmed, side);
        await eventually('it is told', 10_000, () => expect(heard).not.toEqual([]));
        expect(heard.every((event) => event.kind === 'damaged' && event.wireId === wire.id)).toBe(
          true,
        );
        expect(await driver.inspect(wire.id, budget)).not.toEqual([]);
        // It is put back from what the driver remembers as well as after a look over everything.
        if (side === 'client') {
          expect(await driver.list(budget)).toEqual(
            expect.arrayContaining([
              expect.objectContaining({ id: wire.id, complete: false }),
              expect.objectContaining({ id: untouched.id, complete: true, missing: [] }),
            ]),
          );
        }
        await driver.ensure(harmed, budget);
        expect(await driver.inspect(wire.id, budget)).toEqual([]);
        expect(await driver.list(budget)).toEqual(
          expect.arrayContaining([
            expect.objectContaining({ id: wire.id, complete: true, missing: [] }),
          ]),
        );
        expect(await fixture.objectCount()).toBe(objects);
        // A new interface has a new index; it is the same one where it did not go.
        const isNew = harm === 'deleted' && side === 'client';
        const index = isNew ? { index: expect.any(Number) } : {};
        expect(await seen()).toEqual({ ...before, ...index });
        await driver.remove([wire.id, untouched.id], budget);
        expect(await fixture.objectCount()).toBe(0);
      });
    });

    test.each(['live', 'restarted'] as const)(
      'a %s driver that may make no interface puts back the rest, and refuses where one is gone',
      async (which) => {
        const first = fixture.driver();
        await first.ensure(wire, budget);
        const before = await seen();
        await fixture.harm('unjoined', wire, 'client');
        const driver = which === 'live' ? first : fixture.driver();
        await driver.list(budget);
        const careful: Wire = { ...wire, makesInterfaces: false };
        await driver.ensure(careful, budget);
        expect(await driver.inspect(wire.id, budget)).toEqual([]);
        expect(await seen()).toEqual(before);

        await fixture.harm('deleted', wire, 'client');
        await isOver(driver, wire.id);
        const objects = await fixture.objectCount();
        await expect(driver.ensure(careful, budget)).rejects.toMatchObject({
          code: 'FAILED_PRECONDITION',
          details: { rule: interfaceGoneRule },
        });
        expect(await seen()).toBeUndefined();
        expect(await fixture.objectCount()).toBe(objects);
        await driver.remove([wire.id], budget);
        expect(await fixture.objectCount()).toBe(0);
      },
    );

    test.each(harms.filter((harm) => harm !== 'untagged'))(
      'a restarted driver finds and puts back what was harmed before: %s',
      async (harm) => {
        const needsTunnel = harm === 'remoteless' || harm === 'unfiltered';
        const harmed = needsTunnel ? remoteWire() : wire;
        await fixture.driver().ensure(harmed, budget);
        await fixture.harm(harm, harmed, 'endpoint');
        const restarted = fixture.driver();
        if (fixture.healedAlone?.includes(harm)) {
          await eventually('it is put back', 10_000, async () =>
            expect(await restarted.inspect(wire.id, budget)).toEqual([]),
          );
        } else {
          expect(await restarted.list(budget)).toMatchObject([{ id: wire.id, complete: false }]);
          expect(await restarted.inspect(wire.id, budget)).not.toEqual([]);
        }
        await restarted.ensure(harmed, budget);
        expect(await restarted.list(budget)).toMatchObject([
          { id: wire.id, complete: true, missing: [] },
        ]);
        await restarted.remove([wire.id], budget);
        expect(await fixture.objectCount()).toBe(0);
      },
    );

    test('tells nothing of what it does itself', async () => {
      const driver = fixture.driver();
      const heard = listenTo(driver);
      await driver.ensure(wire, budget);
      await driver.ensure(wire, budget);
      await driver.ensure({ ...toOther(), mtu: 1400 }, budget);
      await driver.ensure({ ...remoteWire(), mtu: 1400 }, budget);
      await driver.ensure({ ...wire, mtu: 1400 }, budget);
      await driver.list(budget);
      await driver.remove([wire.id], budget);
      // What is told of this one comes after all that could have been told of the other.
      const last = localWire({ client: client.url, endpoint: endpoint.url }, 2);
      await driver.ensure(last, budget);
      await fixture.harm('deleted', last, 'endpoint');
      await eventually('the last is told', 10_000, () => expect(heard).not.toEqual([]));
      expect(heard).toMatchObject([{ kind: 'damaged', wireId: last.id }]);
    });

    test('an interface that its workload deletes is damage while the namespace lives', async () => {
      const driver = fixture.driver();
      const heard = listenTo(driver);
      await driver.ensure(wire, budget);
      const before = await seen();
      await fixture.deleteInterface(client, 'nsm-1');
      await eventually('it is told', 10_000, () => expect(heard).not.toEqual([]));
      expect(heard).toMatchObject([{ kind: 'damaged', wireId: wire.id }]);
      await isOver(driver, wire.id);
      await driver.ensure(wire, budget);
      expect(await seen()).toEqual({ ...before, index: expect.any(Number) });
    });

    test('a later version takes a wire over without touching the client end', async () => {
      await fixture.driver({ tagVersion: 1 }).ensure(wire, budget);
      const before = await seen();
      const later = fixture.driver({ tagVersion: 2 });
      expect(await later.list(budget)).toMatchObject([
        { id: wire.id, version: 1, complete: true, readable: true },
      ]);
      await later.ensure(wire, budget);
      expect(await seen()).toEqual(before);
      expect(await later.list(budget)).toMatchObject([{ version: 2, complete: true }]);
    });

    test('an earlier version leaves alone what it cannot read', async () => {
      const later = fixture.driver({ tagVersion: 2 });
      await later.ensure(wire, budget);
      const before = await seen();
      const earlier = fixture.driver({ tagVersion: 1 });
      expect(await earlier.list(budget)).toMatchObject([
        { id: wire.id, version: 2, complete: false, readable: false },
      ]);
      await expect(earlier.ensure(wire, budget)).rejects.toMatchObject({
        code: 'FAILED_PRECONDITION',
        details: { rule: 'tag version' },
      });
      await earlier.remove([wire.id], budget);
      expect(await seen()).toEqual(before);
      expect(await later.inspect(wire.id, budget)).toEqual([]);
    });
  });
}
