// Protects the Open vSwitch data plane's promises, over a real ovsdb-server and ovs-vswitchd with the datapath in user space.

import { describe, test } from 'vitest';
import { whyNoOvs } from '../sandbox/ovs.ts';
import { dataplaneContract } from './dataplane.ts';
import { dataplaneDamageContract } from './dataplane-damage.ts';
import { ovsFixture } from './ovs-fixture.ts';

const reason = whyNoOvs();
if (reason === undefined) {
  dataplaneContract('ovs', ovsFixture, { wireCount: 100 });
  dataplaneDamageContract('ovs', ovsFixture);
} else {
  describe('data plane contract: ovs', () => {
    test.skip(`needs Open vSwitch: ${reason}`, () => {});
  });
}
