// What a data plane promises where a forwarder takes over the wire of another one that is gone: the client keeps its
// interface, nothing of the other is left, and nobody else's wire is touched, whatever is claimed.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Dataplane, Wire } from '../../protocols/ports/dataplane.ts';
import { endpointEnd, localWire, tunnel } from '../sandbox/wires.ts';
import type { DataplaneFixture, TestNamespace } from './dataplane-fixture.ts';

const budget = { timeoutMs: 20_000 };

/** More steps than taking over has. */
const stepsMax = 80;

export function dataplaneTakeOverContract(
  name: string,
  makeFixture: () => Promise<DataplaneFixture>,
): void {
  describe(`taking over: ${name}`, () => {
    let fixture: DataplaneFixture;
    let client: TestNamespace;
    let endpoint: TestNamespace;
    let wire: Wire;
    let next: Wire;
    let first: Dataplane;
    let second: Dataplane;

    beforeEach(async () => {
      fixture = await makeFixture();
      client = fixture.namespace();
      endpoint = fixture.namespace();
      wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
      next = { ...wire, id: 'next', replaces: { forwarder: 'first', id: wire.id } };
      first = fixture.driver();
      second = fixture.driver({ forwarder: 'second' });
    });

    afterEach(() => fixture.close());

    const seen = () => fixture.interfaceIn(client, 'nsm-1');
    const remote = (localPort: number): Wire['endpoint'] => {
      const { tunnelIp: localIp, remoteTunnelIp: remoteIp = localIp } = fixture;
      return tunnel({ localIp, remoteIp, localPort, remotePort: 4789, vni: 9 });
    };

    async function expectMoved(id: string): Promise<void> {
      expect(await second.list(budget)).toMatchObject([{ id, complete: true }]);
      expect(await fixture.driver().list(budget)).toEqual([]);
      expect(await fixture.objectCount()).toBe(2);
    }

    test('the interface of the client stays what it is, and nothing of the other is left', async () => {
      await first.ensure(wire, budget);
      const before = await seen();
      await second.ensure(next, budget);
      expect(await seen()).toEqual(before);
      await expectMoved('next');
      await second.ensure(next, budget);
      await second.remove(['next'], budget);
      expect(await fixture.objectCount()).toBe(0);
    });

    test.each([
      ['the same tunnel', 4788],
      ['another one', 4787],
    ])('with %s to another node', async (_, port) => {
      await first.ensure({ ...wire, endpoint: remote(4788) }, budget);
      const before = await seen();
      await second.ensure({ ...next, endpoint: remote(port) }, budget);
      expect(await seen()).toEqual(before);
      await expectMoved('next');
      await second.remove(['next'], budget);
      expect(await fixture.objectCount()).toBe(0);
    });

    test('to another Endpoint', async () => {
      const other = fixture.namespace();
      await first.ensure(wire, budget);
      const before = await seen();
      await second.ensure({ ...next, endpoint: endpointEnd(other.url, 1) }, budget);
      expect(await seen()).toEqual(before);
      expect(await fixture.interfaceIn(endpoint, 'nse-1')).toBeUndefined();
      await expectMoved('next');
    });

    test('the other one, should it come back, finds it taken and removes nothing of it', async () => {
      await first.ensure(wire, budget);
      const before = await seen();
      await second.ensure(next, budget);
      for (const back of [fixture.driver(), first]) {
        await back.list(budget);
        await expect(back.ensure(wire, budget)).rejects.toMatchObject({
          code: 'ALREADY_EXISTS',
          details: { rule: 'taken over' },
        });
        await back.remove([wire.id], budget);
        expect(await seen()).toEqual(before);
        await expectMoved('next');
      }
    });

    test('one that was only asleep removes nothing of it either', async () => {
      await first.ensure(wire, budget);
      const before = await seen();
      await second.ensure(next, budget);
      await first.remove([wire.id], budget);
      expect(await seen()).toEqual(before);
      await expectMoved('next');
    });

    test('what is another client’s stays untouched, whoever claims it', async () => {
      await first.ensure(wire, budget);
      const before = await seen();
      const foreign = fixture.namespace();
      const ends = { client: foreign.url, endpoint: endpoint.url };
      const claimed = {
        ...localWire(ends, 2, 'next'),
        replaces: { forwarder: 'first', id: wire.id },
      };
      await second.ensure(claimed, budget);
      expect(await seen()).toEqual(before);
      expect(await fixture.driver().list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      expect(await fixture.objectCount()).toBe(4);
    });

    test('a failure at any step leaves the wire whole, with one of the two', async () => {
      await first.ensure(wire, budget);
      const before = await seen();
      for (let step = 0; step < stepsMax; step++) {
        await second.probe(budget);
        fixture.failAt(step);
        const failure = await second.ensure(next, budget).catch((error: unknown) => error);
        const hasStruck = fixture.hasStruck();
        fixture.heal();
        expect(await seen(), `after failing at step ${step}`).toEqual(before);
        if (!hasStruck) {
          expect(failure).toBeUndefined();
          await expectMoved('next');
          return;
        }
        const [theirs, ours] = [await fixture.driver().list(budget), await second.list(budget)];
        const whole = [...theirs, ...ours].filter(({ complete }) => complete);
        expect(whole, `after failing at step ${step}`).toHaveLength(1);
      }
      expect.fail('it never succeeded');
    });

    test('a crash at any step leaves nothing that the next try cannot take over', async () => {
      for (let step = 0; step < stepsMax; step++) {
        await first.ensure(wire, budget);
        const driver = fixture.driver({ forwarder: 'second' });
        await driver.probe(budget);
        fixture.crashAt(step);
        const failure = await driver.ensure(next, budget).catch((error: unknown) => error);
        const hasStruck = fixture.hasStruck();
        fixture.heal();
        // The next life closes what it had not established.
        second = fixture.driver({ forwarder: 'second' });
        await second.list(budget);
        if (hasStruck) await second.remove(['next'], budget);
        await second.ensure(hasStruck ? { ...next, id: 'later' } : next, budget);
        await expectMoved(hasStruck ? 'later' : 'next');
        await second.remove(['next', 'later'], budget);
        expect(await fixture.objectCount(), `after crashing at step ${step}`).toBe(0);
        first = fixture.driver();
        if (!hasStruck) {
          expect(failure).toBeUndefined();
          return;
        }
      }
      expect.fail('it never succeeded');
    }, 120_000);
  });
}
