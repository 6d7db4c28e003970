// What a forwarder agrees on with each side. Client side: the first preference that its data plane makes, or the one
// already agreed on in a refresh. Onward: what its data plane makes of the class that fits the next hop's URL, in the
// reference's order for that data plane.
// Invariants: what this side proves itself by is the same in every refresh and every life; VNIs follow NSM's parity rule
// and are unique on the node.

import { parseAddress, requireAddress } from '../../protocols/ipam/address.ts';
import { NsmError } from '../../protocols/errors.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { ipsecMechanism, ipsecPort, readIpsec } from '../../protocols/nsm/ipsec-mechanism.ts';
import type { KeyedTunnel } from '../../protocols/nsm/keyed-tunnel.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { mechanismOrder } from '../../protocols/nsm/mechanism-order.ts';
import {
  carriesPackets,
  type MechanismClass,
  mechanismClass,
  mechanismClassFor,
  mechanismType,
  orderByPriority,
  parameterKey,
  pickMechanism,
  withParameters,
} from '../../protocols/nsm/mechanism.ts';
import { memifMechanism, memifSocketFile, readMemif } from '../../protocols/nsm/memif-mechanism.ts';
import { agreeMtu, readTunnelMtu, tunnelMtu } from '../../protocols/nsm/mtu.ts';
import { leadsToSame } from '../../protocols/nsm/same-hop.ts';
import type { NodeAddress } from '../../protocols/nsm/urls.ts';
import { vlanMechanism } from '../../protocols/nsm/vlan-mechanism.ts';
import {
  drawVni,
  readVxlan,
  vniParity,
  vxlanMechanism,
} from '../../protocols/nsm/vxlan-mechanism.ts';
import { readWireguard, wireguardMechanism } from '../../protocols/nsm/wireguard-mechanism.ts';
import type { Dataplane, DataplaneCapabilities } from '../../protocols/ports/dataplane.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import type { Candidate, HopRequest } from '../connection/hop.ts';
import { ownKeyName, type Side } from './tunnel-ends.ts';
import type { TunnelPorts } from './tunnel-ports.ts';
import type { VniTable } from './vni-table.ts';

export interface MechanismSetup {
  /** Own component name, for errors. */
  readonly name: string;
  /** Where this forwarder runs: tells a next hop of this node from one elsewhere. */
  readonly node: NodeAddress;
  readonly random: Random;
  readonly vnis: VniTable;
  readonly tunnelPorts: TunnelPorts;
  readonly dataplane: Pick<Dataplane, 'kind'>;
  /** What the data plane makes on this machine. */
  readonly capabilities: DataplaneCapabilities;
  /** Types that go before others, in this order (`NSM_MECHANISM_PRIORITY`). */
  readonly mechanismPriority?: readonly string[];
  /** Absent: no tunnels that need any. */
  readonly tunnelKeys?: TunnelKeys | undefined;
  /** This node's end of every tunnel (`NSM_TUNNEL_IP`). */
  readonly tunnelIp: string;
  /** UDP port that this node's VXLAN tunnels listen on (`NSM_VXLAN_PORT`). */
  readonly vxlanPort: number;
  /** MTU of the device that holds the tunnel address, in bytes; 0 where it is not known. */
  readonly underlayMtu: number;
}

/** What the data plane makes of a class, preferred ones first. */
function usable(setup: MechanismSetup, cls: MechanismClass, payload: string): readonly string[] {
  const { dataplane, capabilities } = setup;
  return mechanismOrder(dataplane.kind, cls, payload).filter(
    (type) => capabilities.mechanisms.includes(type) && unfit(setup, type) === undefined,
  );
}

/** Why a mechanism that the data plane makes is none of this forwarder; undefined where it is one. */
function unfit({ tunnelKeys: keys, tunnelIp }: MechanismSetup, type: string): string | undefined {
  const { wireguard, ipsec } = mechanismType;
  const hasNoKey =
    (type === wireguard && keys === undefined) ||
    (type === ipsec && keys?.ipsecCertificate === undefined);
  if (hasNoKey) return 'this forwarder has no key for it';
  // As the only data plane that makes it says: VPP's IKEv2 sends no checksums there.
  const isIpv6 = parseAddress(tunnelIp)?.family === 6;
  return type === ipsec && isIpv6 ? `not over IPv6, and NSM_TUNNEL_IP is ${tunnelIp}` : undefined;
}

/** The mechanism towards the client, its parameters completed. Throws UNIMPLEMENTED where none is supported. */
export function agreeWithClient(setup: MechanismSetup, request: HopRequest): Mechanism {
  const { id, mechanism, payload } = request.connection;
  const picked = pickMechanism({
    current: mechanism,
    preferences: request.preferences,
    supported: [mechanismClass.local, mechanismClass.remote]
      .flatMap((cls) => usable(setup, cls, payload))
      // A way out of the mesh, never one into it.
      .filter((type) => type !== mechanismType.vlan),
    whyNot: (type) => whyNot(setup, type, payload),
  });
  switch (picked.type) {
    case mechanismType.memif:
      return acceptMemif(id, picked);
    case mechanismType.vxlan:
      return acceptVxlan(setup, id, picked);
    case mechanismType.wireguard:
      return acceptKeyed(setup, picked, {
        offered: readWireguard(picked),
        port: setup.tunnelPorts.of(id, ownKeyName(id, 'client')),
        own: wireguardKey(setup, id, 'client'),
      });
    case mechanismType.ipsec:
      return acceptKeyed(setup, picked, {
        offered: readIpsec(picked),
        port: ipsecPort,
        own: ipsecCertificate(setup, id, 'client'),
      });
    default:
      return picked;
  }
}

/** The data plane's own word on a mechanism that it lacks, or why it is not for this wire. */
function whyNot(setup: MechanismSetup, type: string, payload: string): string | undefined {
  const { mechanisms, missing } = setup.capabilities;
  const start = `${type}: `;
  const line = missing.find((each) => each.startsWith(start))?.slice(start.length);
  if (line !== undefined || !mechanisms.includes(type)) return line;
  if (type === mechanismType.vlan) return 'it leads out of the mesh alone';
  const { local, remote } = mechanismClass;
  const isOrdered = [local, remote].some((cls) =>
    mechanismOrder(setup.dataplane.kind, cls, payload).includes(type),
  );
  return isOrdered ? unfit(setup, type) : `not for payload ${payload || 'IP'}`;
}

/** Makes the socket that the client is to connect to, in the client's own namespace. */
function acceptMemif(connectionId: string, asked: Mechanism): Mechanism {
  const answer = withParameters(asked, {
    [parameterKey.socketFile]: memifSocketFile(connectionId),
  });
  readMemif(answer);
  return answer;
}

/** Completes a VXLAN mechanism as its server: own address and port, the VNI, the smaller MTU. */
function acceptVxlan(setup: MechanismSetup, connectionId: string, asked: Mechanism): Mechanism {
  const offered = readVxlan(asked);
  const answer = withParameters(asked, {
    [parameterKey.dstIp]: setup.tunnelIp,
    [parameterKey.dstPort]: String(setup.vxlanPort),
    [parameterKey.mtu]: acceptedMtu(setup, asked),
  });
  const known = offered.vni === 0 ? setup.vnis.of(connectionId) : offered.vni;
  const vni = known ?? drawVni(vniParity(answer), setup.random, (each) => setup.vnis.isTaken(each));
  setup.vnis.take(connectionId, vni);
  return withParameters(answer, { [parameterKey.vni]: String(vni) });
}

/** Completes a WIREGUARD or IPSEC mechanism as its server: own address, port and key, the smaller MTU. */
function acceptKeyed(
  setup: MechanismSetup,
  asked: Mechanism,
  {
    offered,
    port,
    own,
  }: { readonly offered: KeyedTunnel; readonly port: number; readonly own: string },
): Mechanism {
  const { srcIp, srcPublicKey } = parameterKey;
  const lacks =
    offered.srcIp === '' ? srcIp : offered.srcPublicKey === '' ? srcPublicKey : undefined;
  if (lacks !== undefined) {
    throw new NsmError('INVALID_ARGUMENT', `the ${asked.type} mechanism does not say who asks`, {
      hop: setup.name,
      rule: `mechanism.parameters.${lacks}`,
      expected: 'the address and the public key of the node that asks',
      found: 'nothing',
    });
  }
  const answer = withParameters(asked, {
    [parameterKey.dstIp]: setup.tunnelIp,
    [parameterKey.dstPort]: String(port),
    [parameterKey.dstPublicKey]: own,
    [parameterKey.mtu]: acceptedMtu(setup, asked),
  });
  // What was left of an earlier answer is laid over: now both ends are there to be compared.
  if (answer.type === mechanismType.wireguard) readWireguard(answer);
  else readIpsec(answer);
  return answer;
}

const acceptedMtu = (setup: MechanismSetup, asked: Mechanism): string =>
  String(agreeMtu(readTunnelMtu(asked), ownTunnelMtu(setup, asked.type)));

function ownTunnelMtu({ tunnelIp, underlayMtu }: MechanismSetup, type: string): number {
  return tunnelMtu(underlayMtu, type, requireAddress(tunnelIp, 'NSM_TUNNEL_IP').family);
}

function wireguardKey(
  { tunnelKeys }: MechanismSetup,
  connectionId: string,
  side: Side,
  nextName?: string,
): string {
  return tunnelKeys?.wireguardPublicKey(ownKeyName(connectionId, side, nextName)) ?? '';
}

function ipsecCertificate(
  { tunnelKeys }: MechanismSetup,
  connectionId: string,
  side: Side,
  nextName?: string,
): string {
  return tunnelKeys?.ipsecCertificate?.(ownKeyName(connectionId, side, nextName)) ?? '';
}

const wireguardListenPort = (
  { tunnelPorts }: MechanismSetup,
  connectionId: string,
  nextName: string,
): number => tunnelPorts.of(connectionId, ownKeyName(connectionId, 'endpoint', nextName));

export interface OnwardOffer {
  readonly preferences: readonly Mechanism[];
  /** What was agreed on before, in a refresh towards the same next hop. */
  readonly mechanism: Mechanism | undefined;
}

export interface OnwardStep {
  readonly request: HopRequest;
  readonly endpoint: Candidate;
  /** UDP port for VXLAN. */
  readonly listenPort: number;
}

/** What the next hop is offered. Throws UNIMPLEMENTED where there is nothing to offer. */
export function onwardOffer(setup: MechanismSetup, next: OnwardStep): OnwardOffer {
  const { url, name } = next.endpoint;
  const { previous, reselect, connection } = next.request;
  const cls = mechanismClassFor(url, setup.node);
  const types = usable(setup, cls, connection.payload).filter((type) => meets(connection, type));
  if (types.length === 0) throw nothingToOffer(setup, cls, next);
  const preferences = orderByPriority(
    types.map((type) => offerOf(setup, type, next)),
    setup.mechanismPriority ?? [],
  );
  const agreed = previous?.memory.onwardMechanism;
  const isSame =
    previous !== undefined && leadsToSame(previous.memory, { nextUrl: url, nextName: name });
  const offered = preferences.find(({ type }) => type === agreed?.type);
  const goesOn = !reselect && isSame && agreed !== undefined && offered !== undefined;
  return { preferences, mechanism: goesOn ? withOwnKey(agreed, offered) : undefined };
}

/** Whether the data plane joins such an end to the client's: one without Ethernet headers and one that has frames it does not. */
function meets({ mechanism, payload }: Connection, type: string): boolean {
  const client = mechanism?.type ?? mechanismType.kernel;
  if ([client, type].includes(mechanismType.kernel)) return true;
  return carriesPackets(client, payload) === carriesPackets(type, payload);
}

function offerOf(
  setup: MechanismSetup,
  type: string,
  { request, endpoint, listenPort }: OnwardStep,
): Mechanism {
  const tunnel = () => ({ srcIp: setup.tunnelIp, mtu: ownTunnelMtu(setup, type) });
  switch (type) {
    case mechanismType.kernel:
      return kernelMechanism(setup.dataplane.kind === 'ovs' ? { supportsVlan: true } : {});
    case mechanismType.memif:
      return memifMechanism({});
    case mechanismType.vxlan:
      return vxlanMechanism({ ...tunnel(), srcPort: listenPort });
    case mechanismType.wireguard:
      return wireguardMechanism({
        ...tunnel(),
        srcPort: wireguardListenPort(setup, request.connection.id, endpoint.name),
        srcPublicKey: wireguardKey(setup, request.connection.id, 'endpoint', endpoint.name),
      });
    case mechanismType.ipsec:
      return ipsecMechanism({
        ...tunnel(),
        srcPort: ipsecPort,
        srcPublicKey: ipsecCertificate(setup, request.connection.id, 'endpoint', endpoint.name),
      });
    case mechanismType.vlan:
      return vlanMechanism();
    default:
      throw new NsmError('INTERNAL', `nobody knows how to offer ${type}`);
  }
}

/** A refresh keeps the key that was agreed on, unless that is lost. */
function withOwnKey(agreed: Mechanism, offered: Mechanism): Mechanism {
  const { srcPublicKey } = parameterKey;
  const own = offered.parameters[srcPublicKey];
  return own === undefined ? agreed : withParameters(agreed, { [srcPublicKey]: own });
}

function nothingToOffer(
  { name, dataplane, capabilities }: MechanismSetup,
  cls: MechanismClass,
  { request, endpoint }: OnwardStep,
): NsmError {
  const { connection } = request;
  const { mechanism, payload } = connection;
  const types = mechanismOrder(dataplane.kind, cls, payload);
  const fitting = types.filter((type) => meets(connection, type));
  const beside = fitting.length === types.length ? '' : `, to a client with ${mechanism?.type}`;
  return new NsmError('UNIMPLEMENTED', `no mechanism leads from here to ${endpoint.name}`, {
    hop: name,
    rule: `${cls} mechanisms for payload ${payload || 'IP'}${beside}`,
    expected: `one of ${fitting.join(', ') || 'none'}`,
    found: `${capabilities.mechanisms.join(', ') || 'none'}, by the data plane ${dataplane.kind}`,
    remedy: 'the log of the forwarder says at its start what is missing',
    connectionId: request.connection.id,
  });
}
