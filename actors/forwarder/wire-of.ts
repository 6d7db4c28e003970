// From what was agreed to what the data plane has to make: pure. The client's end comes from the mechanism of the
// request, the Endpoint's end from the next hop's answer; addresses and routes from the connection context.

import { create } from '@bufbuild/protobuf';
import { NsmError } from '../../protocols/errors.ts';
import {
  containsAddress,
  formatAddress,
  parseCidr,
  prefixOf,
  requirePrefix,
} from '../../protocols/ipam/address.ts';
import { clientMacAddress, endpointMacAddress } from '../../protocols/nsm/derived-mac.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  type IPContext,
  IPContextSchema,
  type PolicyRoute,
  type Route,
  RouteSchema,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { readKernel } from '../../protocols/nsm/kernel-mechanism.ts';
import { mechanismType, parameterKey, payload } from '../../protocols/nsm/mechanism.ts';
import { agreeMtu } from '../../protocols/nsm/mtu.ts';
import { readVlanId, viaLabel, vlanIdMax } from '../../protocols/nsm/vlan-mechanism.ts';
import { readVxlan } from '../../protocols/nsm/vxlan-mechanism.ts';
import type {
  KernelEnd,
  PortRange,
  VlanEnd,
  VxlanEnd,
  Wire,
  WireEnd,
  WirePolicy,
  WireRoute,
} from '../../protocols/ports/dataplane.ts';

export interface WireInput {
  /** The next hop's answer in this forwarder's view of the path. */
  readonly answer: Connection;
  readonly client: Mechanism | undefined;
  readonly onward: Mechanism | undefined;
  /** Component name, for errors. */
  readonly hop: string;
}

export function wireOf(input: WireInput): Wire {
  const { answer } = input;
  return {
    id: answer.id,
    payload: answer.payload === payload.ethernet ? payload.ethernet : payload.ip,
    mtu: wireMtu(input),
    client: endOf(input, 'client', input.client),
    endpoint: endOf(input, 'endpoint', input.onward),
  };
}

/** The smallest of what the context and the tunnel say; 0 where nobody says anything. */
function wireMtu({ answer, client, onward }: WireInput): number {
  const tunnels = [client, onward].filter((each) => each?.type === mechanismType.vxlan);
  return agreeMtu(
    answer.context?.MTU ?? 0,
    ...tunnels.map((each) => (each === undefined ? 0 : readVxlan(each).mtu)),
  );
}

type Side = 'client' | 'endpoint';

function endOf(input: WireInput, side: Side, mechanism: Mechanism | undefined): WireEnd {
  if (mechanism?.type === mechanismType.kernel) return kernelEnd(input, side, mechanism);
  if (mechanism?.type === mechanismType.vxlan) return vxlanEnd(input, side, mechanism);
  if (mechanism?.type === mechanismType.vlan) return vlanEnd(input, side, mechanism);
  throw new NsmError('UNIMPLEMENTED', `the ${side} side agreed on no mechanism of this forwarder`, {
    hop: input.hop,
    rule: 'mechanisms',
    expected: `${mechanismType.kernel}, ${mechanismType.vxlan} or ${mechanismType.vlan}`,
    found: mechanism?.type ?? 'no mechanism',
    connectionId: input.answer.id,
  });
}

function kernelEnd(input: WireInput, side: Side, mechanism: Mechanism): KernelEnd {
  const { netnsUrl, interfaceName, vlanId } = readKernel(mechanism);
  const ip = input.answer.context?.ipContext ?? create(IPContextSchema);
  const isClient = side === 'client';
  const [own, other] = isClient ? [ip.srcIpAddrs, ip.dstIpAddrs] : [ip.dstIpAddrs, ip.srcIpAddrs];
  const routes = isClient ? ip.srcRoutes : ip.dstRoutes;
  return {
    kind: 'kernel',
    netns: netnsUrl,
    interfaceName,
    macAddress: isClient ? macOfClient(input.answer) : macOfEndpoint(input.answer, own),
    addresses: own,
    routes: routes.map((route) => wireRoute(route, other)),
    neighbors: isClient ? neighborsOf(ip) : [],
    ...(vlanId === 0 ? {} : { vlanId }),
    ...(isClient && ip.policies.length > 0
      ? { policies: ip.policies.map((policy) => wirePolicy(policy, other)) }
      : {}),
  };
}

/** Stable for the life of the connection: the id at the first manager survives refresh, healing and reselect. */
function macOfClient(connection: Connection): string {
  const segments = connection.path?.pathSegments ?? [];
  return clientMacAddress(segments[1]?.id ?? segments[0]?.id ?? connection.id);
}

/** The same for every replica that holds the address, so that a retarget needs no ARP. */
function macOfEndpoint(connection: Connection, own: readonly string[]): string {
  return endpointMacAddress(connection.networkService, own[0] ?? connection.id);
}

function neighborsOf(ip: IPContext): KernelEnd['neighbors'] {
  return ip.ipNeighbors.map((neighbor) => ({
    ip: neighbor.ip,
    macAddress: neighbor.hardwareAddress,
  }));
}

/**
 * An empty next hop means the first address of the same family at the other end, unless the route's own address
 * lies inside one of the other end's prefixes: then it is on the link (nsm-wire 2, field meaning).
 */
function wireRoute(route: Route, other: readonly string[]): WireRoute {
  if (route.nextHop !== '') return { prefix: route.prefix, gateway: route.nextHop };
  const target = requirePrefix(route.prefix, 'ip_context routes');
  const peers = other
    .map((text) => parseCidr(text))
    .filter((peer) => peer?.address.family === target.family);
  const targetAddress = { family: target.family, value: target.base };
  const onLink = peers.some(
    (peer) =>
      peer !== undefined && containsAddress(prefixOf(peer.address, peer.lengthBits), targetAddress),
  );
  const [gateway] = peers;
  if (onLink || gateway === undefined) return { prefix: route.prefix };
  return { prefix: route.prefix, gateway: formatAddress(gateway.address) };
}

/** Without routes a policy means the default route of its family, as in the reference (there of IPv4 alone). */
function wirePolicy(policy: PolicyRoute, other: readonly string[]): WirePolicy {
  const { from, proto } = policy;
  const sourcePorts = portRange(policy.srcPort);
  const destinationPorts = portRange(policy.dstPort);
  const everywhere = from.includes(':') ? '::/0' : '0.0.0.0/0';
  const routes =
    policy.routes.length > 0 ? policy.routes : [create(RouteSchema, { prefix: everywhere })];
  return {
    ...(from === '' ? {} : { from }),
    ...(proto === '' ? {} : { ipProtocol: Number(proto) }),
    ...(sourcePorts === undefined ? {} : { sourcePorts }),
    ...(destinationPorts === undefined ? {} : { destinationPorts }),
    routes: routes.map((route) => wireRoute(route, other)),
  };
}

/** `n` or `n-m`; port 0 means any, as nothing does. */
function portRange(text: string): PortRange | undefined {
  const [first = 0, last = first] = text.split('-').map(Number);
  return first === 0 && last === 0 ? undefined : { first, last };
}

function vlanEnd(input: WireInput, side: Side, mechanism: Mechanism): VlanEnd {
  const vlanId = readVlanId(mechanism);
  if (vlanId !== 0) return { kind: 'vlan', vlanId, via: input.answer.labels[viaLabel] ?? '' };
  throw new NsmError('INVALID_ARGUMENT', 'the VLAN mechanism lacks a parameter', {
    hop: input.hop,
    rule: `${side} mechanism`,
    expected: `parameter ${parameterKey.vlanId} from 1 to ${vlanIdMax}`,
    found: Object.keys(mechanism.parameters).join(', ') || 'no parameters',
    connectionId: input.answer.id,
  });
}

function vxlanEnd(input: WireInput, side: Side, mechanism: Mechanism): VxlanEnd {
  const { srcIp, srcPort, dstIp, dstPort, vni } = readVxlan(mechanism);
  const lacks = srcIp === '' ? 'src_ip' : dstIp === '' ? 'dst_ip' : vni === 0 ? 'vni' : undefined;
  if (lacks !== undefined) {
    throw new NsmError('INVALID_ARGUMENT', 'the VXLAN mechanism lacks a parameter', {
      hop: input.hop,
      rule: `${side} mechanism`,
      expected: `parameter ${lacks}`,
      found: Object.keys(mechanism.parameters).join(', ') || 'no parameters',
      connectionId: input.answer.id,
    });
  }
  const source = { ip: srcIp, port: srcPort };
  const destination = { ip: dstIp, port: dstPort };
  // The mechanism's source is the node nearer to the client: on the client side of the wire this node is the other.
  const [local, remote] = side === 'client' ? [destination, source] : [source, destination];
  return {
    kind: 'vxlan',
    localIp: local.ip,
    localPort: local.port,
    remoteIp: remote.ip,
    remotePort: remote.port,
    vni,
  };
}
