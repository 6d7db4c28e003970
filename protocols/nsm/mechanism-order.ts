// Which mechanisms a forwarder may use, and which it prefers, by its data plane: the order of the reference for those that
// the reference has (nsm-behaviour 15.1). What a data plane cannot make on this machine is taken out by whoever asks.

import type { Dataplane } from '../ports/dataplane.ts';
import { type MechanismClass, mechanismClass, mechanismType, payload } from './mechanism.ts';

interface Order {
  readonly local: readonly string[];
  readonly remoteIp: readonly string[];
  readonly remoteEthernet: readonly string[];
}

const { kernel, memif, vxlan, wireguard, ipsec, vlan } = mechanismType;

const orders: Readonly<Record<Dataplane['kind'], Order>> = {
  /** As the reference's forwarder that has both. */
  kernel: { local: [kernel], remoteIp: [wireguard, vxlan], remoteEthernet: [vxlan] },
  /** Carries frames whatever the payload, as the kernel does. */
  ovs: { local: [kernel], remoteIp: [vxlan, vlan], remoteEthernet: [vxlan, vlan] },
  vpp: {
    local: [memif, kernel],
    /** VXLAN is ours: without it a node of VPP and one of the kernel would have no tunnel in common. */
    remoteIp: [wireguard, ipsec, vxlan, vlan],
    remoteEthernet: [vxlan, vlan],
  },
  /** Stands in for any of them. */
  simulated: {
    local: [memif, kernel],
    remoteIp: [wireguard, ipsec, vxlan, vlan],
    remoteEthernet: [vxlan, vlan],
  },
};

/** Types in order of preference; an empty payload is IP, as in the reference. */
export function mechanismOrder(
  kind: Dataplane['kind'],
  cls: MechanismClass,
  carried: string,
): readonly string[] {
  const { local, remoteIp, remoteEthernet } = orders[kind];
  if (cls === mechanismClass.local) return local;
  return carried === payload.ethernet ? remoteEthernet : remoteIp;
}
