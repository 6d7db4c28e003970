// Protects what a forwarder offers onwards where its data plane knows VLANs: what everybody understands comes first, and
// one without VLANs offers none.

import { describe, expect, it } from 'vitest';
import { type MechanismSetup, onwardOffer } from '../../../actors/forwarder/mechanisms.ts';
import { createVniTable } from '../../../actors/forwarder/vni-table.ts';
import { connectionAt, hopRequest } from '../connection/hop-request.ts';
import { seededRandom } from '../runtime/fixture.ts';

function offered(url: string, vlans?: NonNullable<MechanismSetup['vlans']>) {
  const setup: MechanismSetup = {
    node: { domain: 'mesh', node: 'node-1' },
    random: seededRandom(1),
    vnis: createVniTable(),
    tunnelIp: '10.9.0.1',
    vxlanPort: 4789,
    underlayMtu: 1500,
    ...(vlans === undefined ? {} : { vlans }),
  };
  const request = hopRequest(connectionAt(2, ['nsc', 'nsmgr', 'forwarder']));
  const endpoint = { url, name: 'nse' };
  const { preferences } = onwardOffer(setup, { request, endpoint, listenPort: 4789 });
  return preferences.map(({ cls, type, parameters }) => [cls, type, parameters['supportsVlan']]);
}

describe('what a forwarder offers', () => {
  it('a workload of its node, with the word that it tags frames if need be', () => {
    expect(offered('memory:node-1/nse')).toEqual([['LOCAL', 'KERNEL', undefined]]);
    const vlans = { towardsWorkloads: true, outside: false };
    expect(offered('memory:node-1/nse', vlans)).toEqual([['LOCAL', 'KERNEL', 'true']]);
  });

  it('elsewhere: a tunnel, and behind it a VLAN where the node has a way out', () => {
    const remote = 'memory:node-2/nsmgr';
    expect(offered(remote)).toEqual([['REMOTE', 'VXLAN', undefined]]);
    expect(offered(remote, { towardsWorkloads: true, outside: true })).toEqual([
      ['REMOTE', 'VXLAN', undefined],
      ['REMOTE', 'VLAN', undefined],
    ]);
  });
});
