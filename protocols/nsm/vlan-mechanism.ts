// The VLAN mechanism: a way out of the mesh, into a VLAN of a network that the node is in. The Endpoint says which VLAN;
// which network, the connection's label `via`.

import type { Mechanism } from './gen/connection_pb.ts';
import {
  makeMechanism,
  mechanismClass,
  mechanismType,
  numberParameter,
  parameterKey,
} from './mechanism.ts';

/** Label of a connection that names the node's network. */
export const viaLabel = 'via';

/** 0 and 4095 are reserved (IEEE 802.1Q). */
export const vlanIdMax = 4094;

/** As a forwarder offers it: the Endpoint fills in the VLAN. */
export function vlanMechanism(): Mechanism {
  return makeMechanism(mechanismClass.remote, mechanismType.vlan);
}

/** 0 where the Endpoint has not said. */
export function readVlanId(mechanism: Mechanism): number {
  return numberParameter(mechanism, parameterKey.vlanId, vlanIdMax);
}
