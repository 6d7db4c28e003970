// What every data plane that carries packets does about those on their way while a wire is retargeted: what the old
// Endpoint has sent still reaches the client, and only then does its end go.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import type { Wire } from '../../protocols/ports/dataplane.ts';
import { ping } from '../../transports/icmp/ping.ts';
import { eventually } from '../sandbox/eventually.ts';
import type { InFlightClock } from '../sandbox/in-flight-clock.ts';
import { endpointEnd, localWire, wireAddresses } from '../sandbox/wires.ts';
import type { DataplaneFixture, TestNamespace } from './dataplane-fixture.ts';

const budget = { timeoutMs: 20_000 };
const { client: clientIp, endpoint: endpointIp } = wireAddresses(1);

export interface CarryingFixture extends DataplaneFixture {
  /** Of its drivers. */
  readonly clock: InFlightClock;
  /** How many echo requests have reached a namespace. */
  echoRequestsIn(namespace: TestNamespace): Promise<number>;
}

export function dataplaneInFlightContract(
  name: string,
  makeFixture: () => Promise<CarryingFixture>,
): void {
  describe(`data plane with packets in flight: ${name}`, () => {
    let fixture: CarryingFixture;
    let client: TestNamespace;
    let endpoint: TestNamespace;
    let wire: Wire;
    let retargeted: Wire;

    beforeEach(async () => {
      fixture = await makeFixture();
      client = fixture.namespace();
      endpoint = fixture.namespace();
      wire = localWire({ client: client.url, endpoint: endpoint.url }, 1);
      retargeted = { ...wire, endpoint: endpointEnd(fixture.namespace().url, 1) };
    });

    afterEach(() => fixture.close());

    const echo = ({ url }: TestNamespace, destination: string, timeoutMs = 5_000) =>
      ping({ namespace: url, destination, count: 1, intervalMs: 1, timeoutMs });

    test('what the old Endpoint has sent reaches the client after a retarget', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      // From now on each knows where the other is.
      expect(await echo(endpoint, clientIp)).toMatchObject({ received: 1 });
      fixture.clock.hold();
      const retargeting = driver.ensure(retargeted, budget);
      await fixture.clock.held();
      // Open vSwitch goes by what it has cached for a little longer.
      await eventually('what the old one asks is answered to the new one', 10_000, async () => {
        const before = await fixture.echoRequestsIn(client);
        expect(await echo(endpoint, clientIp, 300)).toMatchObject({ received: 0 });
        expect(await fixture.echoRequestsIn(client)).toBe(before + 1);
      });
      expect(await echo(client, endpointIp)).toMatchObject({ received: 1 });
      fixture.clock.release();
      await retargeting;
      expect(await fixture.interfaceIn(endpoint, 'nse-1')).toBeUndefined();
      expect(await driver.inspect(wire.id, budget)).toEqual([]);
      expect(await fixture.objectCount()).toBe(2);
    });

    test('a process that ends before the old end goes leaves nothing that the next one does not take away', async () => {
      const driver = fixture.driver();
      await driver.ensure(wire, budget);
      fixture.clock.hold();
      const retargeting = driver.ensure(retargeted, budget);
      await fixture.clock.held();
      fixture.crashAt(0);
      fixture.clock.release();
      await expect(retargeting).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      fixture.heal();
      const restarted = fixture.driver();
      expect(await restarted.list(budget)).toMatchObject([{ id: wire.id, complete: false }]);
      await restarted.ensure(retargeted, budget);
      expect(await restarted.list(budget)).toMatchObject([{ id: wire.id, complete: true }]);
      expect(await fixture.interfaceIn(endpoint, 'nse-1')).toBeUndefined();
      expect(await fixture.objectCount()).toBe(2);
      expect(await echo(client, endpointIp)).toMatchObject({ received: 1 });
    });
  });
}
