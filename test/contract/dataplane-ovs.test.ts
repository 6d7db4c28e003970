// Protects the Open vSwitch data plane's promises, over a real ovsdb-server and ovs-vswitchd with the datapath that a
// forwarder takes here.

import { describe } from 'vitest';
import { whyNoOvs } from '../sandbox/ovs.ts';
import { dataplaneContract } from './dataplane.ts';
import { dataplaneDamageContract } from './dataplane-damage.ts';
import { dataplaneInFlightContract } from './dataplane-in-flight.ts';
import { ovsFixture } from './ovs-fixture.ts';

const reason = whyNoOvs();
if (reason !== undefined) console.warn(`skipped, needs Open vSwitch: ${reason}`);
describe.skipIf(reason !== undefined)('Open vSwitch', () => {
  dataplaneContract('ovs', ovsFixture, { wireCount: 100 });
  dataplaneDamageContract('ovs', ovsFixture);
  dataplaneInFlightContract('ovs', ovsFixture);
});
