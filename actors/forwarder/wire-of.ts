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
import { isTunnel, mechanismType, parameterKey, payload } from '../../protocols/nsm/mechanism.ts';
import { readMemif } from '../../protocols/nsm/memif-mechanism.ts';
import { agreeMtu, readTunnelMtu } from '../../protocols/nsm/mtu.ts';
import { readVlanId, viaLabel, vlanIdMax } from '../../protocols/nsm/vlan-mechanism.ts';
import type {
  KernelEnd,
  MemifEnd,
  PortRange,
  VlanEnd,
  Wire,
  WireEnd,
  WirePolicy,
  WireRoute,
} from '../../protocols/ports/dataplane.ts';
import type { TunnelKeys } from '../../protocols/ports/tunnel-keys.ts';
import { ipsecEnd, lacking, type Side, vxlanEnd, wireguardEnd } from './tunnel-ends.ts';

export interface WireInput {
  /** The next hop's answer in this forwarder's view of the path. */
  readonly answer: Connection;
  readonly client: Mechanism | undefined;
  readonly onward: Mechanism | undefined;
  /** Name of the next hop; it tells tunnels of one connection apart. */
  readonly nextName?: string | undefined;
  /** Of this forwarder; absent where its data plane makes nothing that needs any. */
  readonly keys?: TunnelKeys | undefined;
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

/** The smallest of what the context and the tunnels say; 0 where nobody says anything. */
function wireMtu({ answer, client, onward }: WireInput): number {
  const tunnelMtu = (mechanism: Mechanism | undefined): number =>
    mechanism !== undefined && isTunnel(mechanism) ? readTunnelMtu(mechanism) : 0;
  return agreeMtu(answer.context?.MTU ?? 0, tunnelMtu(client), tunnelMtu(onward));
}

function endOf(input: WireInput, side: Side, mechanism: Mechanism | undefined): WireEnd {
  if (mechanism === undefined) throw noEnd(input, side, 'no mechanism');
  const { answer, nextName = '', keys, hop } = input;
  const ip = answer.context?.ipContext;
  const addresses = { source: ip?.srcIpAddrs ?? [], destination: ip?.dstIpAddrs ?? [] };
  const tunnel = { mechanism, side, connectionId: answer.id, nextName, keys, addresses, hop };
  switch (mechanism.type) {
    case mechanismType.kernel:
      return kernelEnd(input, side, mechanism);
    case mechanismType.memif:
      return memifEnd(input, side, mechanism);
    case mechanismType.vxlan:
      return vxlanEnd(tunnel);
    case mechanismType.wireguard:
      return wireguardEnd(tunnel);
    case mechanismType.ipsec:
      return ipsecEnd(tunnel);
    case mechanismType.vlan:
      return vlanEnd(input, side, mechanism);
    default:
      throw noEnd(input, side, mechanism.type);
  }
}

function noEnd({ hop, answer }: WireInput, side: Side, found: string): NsmError {
  const { kernel, memif, vxlan, wireguard, ipsec, vlan } = mechanismType;
  return new NsmError(
    'UNIMPLEMENTED',
    `the ${side} side agreed on no mechanism of this forwarder`,
    {
      hop,
      rule: 'mechanisms',
      expected: `one of ${[kernel, memif, vxlan, wireguard, ipsec, vlan].join(', ')}`,
      found,
      connectionId: answer.id,
    },
  );
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

function memifEnd(input: WireInput, side: Side, mechanism: Mechanism): MemifEnd {
  return {
    kind: 'memif',
    socket: readMemif(mechanism),
    role: side === 'client' ? 'master' : 'slave',
    mode: input.answer.payload === payload.ethernet ? 'ethernet' : 'ip',
  };
}

function vlanEnd(input: WireInput, side: Side, mechanism: Mechanism): VlanEnd {
  const vlanId = readVlanId(mechanism);
  if (vlanId !== 0) return { kind: 'vlan', vlanId, via: input.answer.labels[viaLabel] ?? '' };
  const { hop, answer } = input;
  const where = { hop, side, mechanism, connectionId: answer.id };
  throw lacking(where, `${parameterKey.vlanId} from 1 to ${vlanIdMax}`);
}
