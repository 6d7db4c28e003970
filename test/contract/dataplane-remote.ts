// What a data plane promises of a wire to another node, for each kind of tunnel that it makes: made and removed as
// often as asked, undone or found again wherever it fails or its process ends, put back, and nobody else's touched.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { NsmError } from '../../protocols/errors.ts';
import type { DataplaneEvent, Wire } from '../../protocols/ports/dataplane.ts';
import { eventually } from '../sandbox/eventually.ts';
import { clientEnd, localWire } from '../sandbox/wires.ts';
import {
  type DataplaneFixture,
  type SeenInterface,
  type TestNamespace,
  type TunnelKind,
  tunnelFrom,
} from './dataplane-fixture.ts';

const budget = { timeoutMs: 20_000 };
/** More steps than any operation of any driver has. */
const stepsMax = 80;
/** Of an operation for each of its steps, in turn, on a machine that is emulated. */
const everyStepTimeoutMs = 480_000;
const wireCount = 12;

export function dataplaneRemoteContract(
  name: string,
  makeFixture: () => Promise<DataplaneFixture>,
  kind: TunnelKind,
): void {
  describe(`wires to other nodes: ${name}, ${kind}`, () => {
    let fixture: DataplaneFixture;
    let client: TestNamespace;
    let local: Wire;
    let wire: Wire;
    let elsewhere: Wire;

    beforeEach(async () => {
      fixture = await makeFixture();
      client = fixture.namespace();
      const places = { client: client.url, endpoint: fixture.namespace().url };
      // One MTU for all: a turn changes nothing of the client's end.
      local = { ...localWire(places, 1), payload: 'IP', mtu: 1400 };
      wire = remoteWire(1, local.id);
      elsewhere = { ...wire, endpoint: tunnelFrom(fixture, kind, 2) };
    });

    afterEach(() => fixture.close());

    const remoteWire = (number: number, id = `wire-${number}`): Wire => ({
      id,
      payload: 'IP',
      mtu: 1400,
      client: clientEnd(client.url, number),
      endpoint: tunnelFrom(fixture, kind, number),
    });

    const seen = (): Promise<SeenInterface | undefined> => fixture.interfaceIn(client, 'nsm-1');
    /** While it turns it may ask for neighbours already, or still. */
    const withoutAsking = (found: SeenInterface | undefined) =>
      found && { ...found, asksNeighbors: undefined };

    test('is made, found, and taken away, each as often as asked, by whichever driver', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      const first = await seen();
      expect(first?.mtu).toBe(1400);
      expect(first?.addresses).toEqual(expect.arrayContaining(['10.0.0.2/32', 'fd00::a00:2/128']));
      for (const each of [driver, fixture.driver()]) {
        await each.ensure(wire, budget);
        await each.ensure(wire, budget);
        expect(await seen()).toEqual(first);
        expect(await each.list(budget)).toMatchObject([
          { id: wire.id, version: 1, complete: true, missing: [] },
        ]);
        expect(await each.inspect(wire.id, budget)).toEqual([]);
        const counted = (await each.statistics([wire.id, 'unknown'], budget)).get(wire.id);
        expect(Object.keys(counted ?? {}).toSorted()).toEqual(['client', 'endpoint']);
      }
      expect(await fixture.objectCount()).toBe(2);
      await driver.remove([wire.id, 'unknown'], budget);
      await fixture.driver().remove([wire.id], budget);
      expect(await driver.list(budget)).toEqual([]);
      expect(await seen()).toBeUndefined();
      expect(await fixture.objectCount()).toBe(0);
    });

    test(
      'a failure at any step of a set-up leaves nothing',
      async () => {
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
      },
      everyStepTimeoutMs,
    );

    /** Made when the test runs. */
    const turns: readonly (readonly [string, () => readonly [Wire, Wire]])[] = [
      ['from a local Endpoint to the tunnel', () => [local, wire]],
      ['from the tunnel to a local Endpoint', () => [wire, local]],
      ['from one tunnel to another', () => [wire, elsewhere]],
    ];

    test.each(turns)(
      'a failure at any step of a turn %s leaves what was before',
      async (_, wires) => {
        const [before, after] = wires();
        const driver = fixture.driver();
        await driver.ensure(before, budget);
        const was = await seen();
        for (let step = 0; step < stepsMax; step++) {
          fixture.failAt(step);
          const failure = await driver.ensure(after, budget).catch((error: unknown) => error);
          const hasStruck = fixture.hasStruck();
          fixture.heal();
          expect(withoutAsking(await seen()), `step ${step}`).toEqual(withoutAsking(was));
          if (!hasStruck) {
            expect(failure).toBeUndefined();
            expect(await driver.inspect(wire.id, budget)).toEqual([]);
            expect(await fixture.objectCount()).toBe(2);
            return;
          }
          await driver.ensure(before, budget);
          expect(await seen(), `after failing at step ${step}`).toEqual(was);
          expect(await driver.list(budget), `step ${step}`).toMatchObject([
            { complete: true, missing: [] },
          ]);
          expect(await fixture.objectCount(), `after failing at step ${step}`).toBe(2);
        }
        expect.fail('the turn never succeeded');
      },
      everyStepTimeoutMs,
    );

    test.each([['of a set-up', () => [undefined, wire] as const] as const, ...turns])(
      'a crash at any step %s converges after a restart',
      async (_, wires) => {
        const [before, after] = wires();
        for (let step = 0; step < stepsMax; step++) {
          const driver = fixture.driver();
          await driver.probe(budget);
          if (before !== undefined) await driver.ensure(before, budget);
          const was = await seen();
          fixture.crashAt(step);
          const failure = await driver.ensure(after, budget).catch((error: unknown) => error);
          const hasStruck = fixture.hasStruck();
          fixture.heal();
          const restarted = fixture.driver();
          const found = await restarted.list(budget);
          expect(found.every(({ id }) => id === wire.id)).toBe(true);
          // The intent may be the one before or the one after, or none.
          if (before !== undefined || step % 2 === 0) {
            await restarted.ensure(before ?? after, budget);
            if (before !== undefined) expect(await seen(), `step ${step}`).toEqual(was);
            await restarted.ensure(after, budget);
            if (before !== undefined) {
              expect(withoutAsking(await seen())).toEqual(withoutAsking(was));
            }
            expect(await restarted.list(budget), `step ${step}`).toMatchObject([
              { complete: true, missing: [] },
            ]);
            expect(await fixture.objectCount(), `step ${step}`).toBe(2);
          }
          await restarted.remove([wire.id], budget);
          expect(await fixture.objectCount(), `step ${step}`).toBe(0);
          if (!hasStruck) {
            expect(failure).toBeUndefined();
            return;
          }
        }
        expect.fail('it never succeeded');
      },
      everyStepTimeoutMs,
    );

    test('never touches what others made, nor another installation', async () => {
      await fixture.addForeign(client);
      const foreign = await fixture.foreignCount();
      const mine = fixture.driver();
      const theirs = fixture.driver({ installation: 'another' });
      const sibling = fixture.driver({ forwarder: 'second' });
      await mine.ensure(wire, budget);
      await theirs.ensure(remoteWire(2, wire.id), budget);
      await sibling.ensure(remoteWire(3, wire.id), budget);
      expect(await fixture.driver().list(budget)).toHaveLength(1);
      await fixture.driver().remove([wire.id], budget);
      expect(await fixture.driver().list(budget)).toEqual([]);
      for (const other of [theirs, sibling]) {
        expect(await other.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
        expect(await other.inspect(wire.id, budget)).toEqual([]);
        await other.remove([wire.id], budget);
      }
      expect(await fixture.foreignCount()).toBe(foreign);
      expect(await fixture.objectCount()).toBe(0);
    });

    test.each(['deleted', 'down', 'renamed', 'untagged', 'unjoined'] as const)(
      'a tunnel that somebody harms is told, and put back: %s',
      async (harm) => {
        const driver = fixture.driver();
        const heard: DataplaneEvent[] = [];
        // That the link is down may come first.
        driver.watch((event) => {
          if (event.kind === 'damaged') heard.push(event);
        });
        await driver.ensure(wire, budget);
        const before = await seen();
        const objects = await fixture.objectCount();
        await fixture.harm(harm, wire, 'endpoint');
        await eventually('it is told', 20_000, () =>
          expect(heard).toMatchObject([{ kind: 'damaged', wireId: wire.id }]),
        );
        await driver.ensure(wire, budget);
        expect(await driver.inspect(wire.id, budget)).toEqual([]);
        expect(await fixture.objectCount()).toBe(objects);
        expect(await seen()).toEqual(before);
        await driver.remove([wire.id], budget);
        expect(await fixture.objectCount()).toBe(0);
      },
    );

    test.each(['the same tunnel', 'another one'] as const)(
      'another forwarder takes the wire over with %s, and the client end stays',
      async (which) => {
        await fixture.driver().ensure(wire, budget);
        const before = await seen();
        const second = fixture.driver({ forwarder: 'second' });
        const next: Wire = {
          ...(which === 'another one' ? elsewhere : wire),
          id: 'next',
          replaces: { forwarder: 'first', id: wire.id },
        };
        await second.ensure(next, budget);
        expect(await seen()).toEqual(before);
        expect(await second.list(budget)).toMatchObject([{ id: 'next', complete: true }]);
        expect(await second.inspect('next', budget)).toEqual([]);
        expect(await fixture.driver().list(budget)).toEqual([]);
        expect(await fixture.objectCount()).toBe(2);
        await second.remove(['next'], budget);
        expect(await fixture.objectCount()).toBe(0);
      },
    );

    test(`${wireCount} are made, found and removed at once`, async () => {
      const driver = fixture.driver();
      const wires = Array.from({ length: wireCount }, (_, number) => remoteWire(number));
      const ids = wires.map(({ id }) => id);
      await Promise.all(wires.map((each) => driver.ensure(each, budget)));
      const restarted = fixture.driver();
      await Promise.all(wires.map((each) => restarted.ensure(each, budget)));
      const found = await restarted.list(budget);
      expect(found).toHaveLength(wireCount);
      expect(found.every(({ complete }) => complete)).toBe(true);
      expect((await restarted.statistics(ids, budget)).size).toBe(wireCount);
      await Promise.all(ids.map((id) => restarted.remove([id], budget)));
      expect(await fixture.objectCount()).toBe(0);
    });
  });
}
