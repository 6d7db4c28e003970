// What a forwarder agrees on with each side: KERNEL with a workload of its node, VXLAN with another node's
// forwarder, VLAN with an Endpoint outside of the mesh. Client side: the first preference that it supports, or the one already agreed on in a refresh.
// Onward: the class that fits the next hop's URL. VNIs follow NSM's parity rule and are unique on the node.

import { requireAddress } from '../../protocols/ipam/address.ts';
import type { Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import {
  mechanismClass,
  mechanismClassFor,
  mechanismType,
  parameterKey,
  pickMechanism,
  withParameters,
} from '../../protocols/nsm/mechanism.ts';
import { agreeMtu, tunnelMtu } from '../../protocols/nsm/mtu.ts';
import { vlanMechanism } from '../../protocols/nsm/vlan-mechanism.ts';
import type { NodeAddress } from '../../protocols/nsm/urls.ts';
import {
  drawVni,
  readVxlan,
  vniParity,
  vxlanMechanism,
} from '../../protocols/nsm/vxlan-mechanism.ts';
import type { Random } from '../../protocols/ports/random.ts';
import { leadsToSame } from '../../protocols/nsm/same-hop.ts';
import type { Candidate, HopRequest } from '../connection/hop.ts';
import type { VniTable } from './vni-table.ts';

export interface MechanismSetup {
  /** Where this forwarder runs: tells a next hop of this node from one elsewhere. */
  readonly node: NodeAddress;
  readonly random: Random;
  readonly vnis: VniTable;
  /** This node's end of every tunnel (`NSM_TUNNEL_IP`). */
  readonly tunnelIp: string;
  /** UDP port that this node's tunnels listen on (`NSM_VXLAN_PORT`). */
  readonly vxlanPort: number;
  /** What the data plane makes with VLANs: tags towards workloads, and ways into networks outside. Absent: nothing. */
  readonly vlans?: { readonly towardsWorkloads: boolean; readonly outside: boolean };
  /** MTU of the device that holds the tunnel address, in bytes; 0 where it is not known. */
  readonly underlayMtu: number;
}

const supported: readonly string[] = [mechanismType.kernel, mechanismType.vxlan];

/** The mechanism towards the client, its parameters completed. Throws UNIMPLEMENTED where none is supported. */
export function agreeWithClient(setup: MechanismSetup, request: HopRequest): Mechanism {
  const picked = pickMechanism({
    current: request.connection.mechanism,
    preferences: request.preferences,
    supported,
  });
  return picked.type === mechanismType.vxlan
    ? acceptTunnel(setup, request.connection.id, picked)
    : picked;
}

/** Completes a VXLAN mechanism as its server: own address and port, the VNI, the smaller MTU. */
function acceptTunnel(setup: MechanismSetup, connectionId: string, asked: Mechanism): Mechanism {
  const offered = readVxlan(asked);
  const answer = withParameters(asked, {
    [parameterKey.dstIp]: setup.tunnelIp,
    [parameterKey.dstPort]: String(setup.vxlanPort),
    [parameterKey.mtu]: String(agreeMtu(offered.mtu, ownTunnelMtu(setup))),
  });
  const known = offered.vni === 0 ? setup.vnis.of(connectionId) : offered.vni;
  const vni = known ?? drawVni(vniParity(answer), setup.random, (each) => setup.vnis.isTaken(each));
  setup.vnis.take(connectionId, vni);
  return withParameters(answer, { [parameterKey.vni]: String(vni) });
}

function ownTunnelMtu(setup: MechanismSetup): number {
  const { family } = requireAddress(setup.tunnelIp, 'NSM_TUNNEL_IP');
  return tunnelMtu(setup.underlayMtu, mechanismType.vxlan, family);
}

export interface OnwardOffer {
  readonly preferences: readonly Mechanism[];
  /** What was agreed on before, in a refresh towards the same next hop. */
  readonly mechanism: Mechanism | undefined;
}

/** What the next hop is offered. */
export function onwardOffer(
  setup: MechanismSetup,
  next: {
    readonly request: HopRequest;
    readonly endpoint: Candidate;
    readonly listenPort: number;
  },
): OnwardOffer {
  const { url, name } = next.endpoint;
  const isLocal = mechanismClassFor(url, setup.node) === mechanismClass.local;
  const offers = isLocal ? [kernelOffer(setup)] : remoteOffers(setup, next.listenPort);
  const { previous, reselect } = next.request;
  const agreed = previous?.memory.onwardMechanism;
  const isSame =
    previous !== undefined && leadsToSame(previous.memory, { nextUrl: url, nextName: name });
  const goesOn = !reselect && isSame && offers.some(({ type }) => type === agreed?.type);
  return { preferences: offers, mechanism: goesOn ? agreed : undefined };
}

function kernelOffer({ vlans }: MechanismSetup): Mechanism {
  return kernelMechanism(vlans?.towardsWorkloads === true ? { supportsVlan: true } : {});
}

/** Another forwarder takes the first, an Endpoint outside of the mesh the second. */
function remoteOffers(setup: MechanismSetup, listenPort: number): Mechanism[] {
  const mtu = ownTunnelMtu(setup);
  const tunnel = vxlanMechanism({ srcIp: setup.tunnelIp, srcPort: listenPort, mtu });
  return setup.vlans?.outside === true ? [tunnel, vlanMechanism()] : [tunnel];
}
