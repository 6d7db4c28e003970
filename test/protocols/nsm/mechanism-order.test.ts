// Protects the orders of preference of the reference's forwarders (nsm-behaviour 15.1), and those of our own data planes.

import { expect, it } from 'vitest';
import { mechanismOrder } from '../../../protocols/nsm/mechanism-order.ts';

it.each([
  ['vpp', 'LOCAL', 'IP', ['MEMIF', 'KERNEL']],
  ['vpp', 'LOCAL', 'ETHERNET', ['MEMIF', 'KERNEL']],
  ['vpp', 'REMOTE', 'ETHERNET', ['VXLAN', 'VLAN']],
  ['vpp', 'REMOTE', 'IP', ['WIREGUARD', 'IPSEC', 'VXLAN', 'VLAN']],
  ['vpp', 'REMOTE', '', ['WIREGUARD', 'IPSEC', 'VXLAN', 'VLAN']],
  ['ovs', 'LOCAL', 'IP', ['KERNEL']],
  ['ovs', 'REMOTE', 'IP', ['VXLAN', 'VLAN']],
  ['ovs', 'REMOTE', 'ETHERNET', ['VXLAN', 'VLAN']],
  ['kernel', 'LOCAL', 'IP', ['KERNEL']],
  ['kernel', 'REMOTE', 'IP', ['WIREGUARD', 'VXLAN']],
  ['kernel', 'REMOTE', 'ETHERNET', ['VXLAN']],
  ['simulated', 'REMOTE', 'IP', ['WIREGUARD', 'IPSEC', 'VXLAN', 'VLAN']],
] as const)('a forwarder over %s prefers %s for %s: %j', (kind, cls, carried, types) => {
  expect(mechanismOrder(kind, cls, carried)).toEqual(types);
});
