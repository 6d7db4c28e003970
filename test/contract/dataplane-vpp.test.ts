// Protects the VPP data plane's promises, over a real VPP; where there is none, over one in memory, in which no packet goes
// anywhere.

import { whyNoNamespaces } from '../sandbox/namespaces.ts';
import { vppWireCount, whyNoVpp } from '../sandbox/vpp.ts';
import { describe } from 'vitest';
import { dataplaneContract } from './dataplane.ts';
import { dataplaneDamageContract } from './dataplane-damage.ts';
import { dataplaneInFlightContract } from './dataplane-in-flight.ts';
import { fakeVppFixture, vppFixture } from './vpp-fixture.ts';

const reason = whyNoVpp();
const whyNothing = whyNoNamespaces();
if (reason !== undefined) console.warn(`skipped, carries packets in flight over VPP: ${reason}`);
if (whyNothing !== undefined) console.warn(`skipped, needs network namespaces: ${whyNothing}`);
describe.skipIf(whyNothing !== undefined)('VPP', () => {
  const name = reason === undefined ? 'vpp' : `vpp in memory, since there is ${reason}`;
  const makeFixture = reason === undefined ? vppFixture : fakeVppFixture;
  const wireCount = reason === undefined ? vppWireCount : 100;
  dataplaneContract(name, makeFixture, { wireCount });
  dataplaneDamageContract(name, makeFixture);
  // Packets need a real one.
  describe.skipIf(reason !== undefined)(
    reason === undefined ? 'packets' : `skipped: ${reason}`,
    () => dataplaneInFlightContract('vpp', vppFixture),
  );
});
