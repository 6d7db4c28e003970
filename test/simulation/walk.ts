// A walk along a wire as the simulated kernels hold it, from the client's interface to the Endpoint's: what a ping is
// on a real machine. Answers with what is wrong, or undefined where a packet would arrive.

import type { SimulatedWire } from '../../dataplane/simulated/simulated-world.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { VxlanEnd } from '../../protocols/ports/dataplane.ts';
import type { SimulatedClient } from './client.ts';
import type { SimulatedEndpoint } from './endpoint.ts';
import { type Node, ownerOf, type SimulatedMesh } from './mesh.ts';

export function whyBroken(mesh: SimulatedMesh, client: SimulatedClient): string | undefined {
  const connection = client.established;
  if (connection === undefined) return 'there is no connection';
  const near = wireAt(client.node, connection);
  if (near === undefined) return `${client.node.name} holds no wire`;
  if (!near.isJoined) return `the ends on ${client.node.name} are not joined`;
  const name = connection.networkServiceEndpointName;
  const endpoint = mesh.endpoints.find((each) => each.name === name);
  if (endpoint === undefined) return 'there is no such Endpoint';
  const far = farEnd(mesh, client, { near, connection, endpointNode: endpoint.node });
  if (typeof far === 'string') return far;
  return whyNotFrom(client, near, connection) ?? whyNotTo(endpoint, far, connection);
}

function whyNotFrom(
  client: SimulatedClient,
  near: SimulatedWire,
  { context }: Connection,
): string | undefined {
  const own = client.interface;
  if (own === undefined || near.client?.interface?.index !== own.index) {
    return 'the wire does not begin at the interface of the client';
  }
  const wanted = context?.ipContext?.srcIpAddrs;
  if (isSame(own.addresses, wanted)) return undefined;
  return `the interface has ${own.addresses.join()}, the connection ${wanted?.join()}`;
}

function whyNotTo(
  { name, netns, node }: SimulatedEndpoint,
  far: SimulatedWire,
  { context }: Connection,
): string | undefined {
  const end = far.endpoint;
  if (end?.end.kind !== 'kernel' || end.end.netns !== netns) {
    return `the wire does not end at ${name}`;
  }
  const there = node.world.interfaceIn(netns, end.end.interfaceName);
  if (there === undefined || there.index !== end.interface?.index) {
    return `${name} has no such interface`;
  }
  const wanted = context?.ipContext?.dstIpAddrs;
  if (isSame(there.addresses, wanted)) return undefined;
  return `${name} has ${there.addresses.join()}, the connection ${wanted?.join()}`;
}

interface Leg {
  readonly near: SimulatedWire;
  readonly connection: Connection;
  readonly endpointNode: Node;
}

/** The wire at the Endpoint's node, through the tunnel where that is another one. */
function farEnd(
  mesh: SimulatedMesh,
  client: SimulatedClient,
  { near, connection, endpointNode }: Leg,
): SimulatedWire | string {
  const out = near.endpoint?.end;
  if (endpointNode === client.node) return near;
  if (out?.kind !== 'vxlan') return 'the wire does not leave the node';
  const far = wireAt(endpointNode, connection);
  if (far === undefined) return `${endpointNode.name} holds no wire`;
  if (!far.isJoined) return `the ends on ${endpointNode.name} are not joined`;
  const into = far.client?.end;
  if (into?.kind !== 'vxlan') return `no tunnel comes into ${endpointNode.name}`;
  return meets(out, into) ? far : `the tunnels do not meet: ${describe(out)} and ${describe(into)}`;
}

function meets(out: VxlanEnd, into: VxlanEnd): boolean {
  return (
    out.vni === into.vni &&
    out.remoteIp === into.localIp &&
    into.remoteIp === out.localIp &&
    out.remotePort === into.localPort &&
    into.remotePort === out.localPort
  );
}

function describe({ vni, localIp, localPort, remoteIp, remotePort }: VxlanEnd): string {
  return `${vni} ${localIp}:${localPort} > ${remoteIp}:${remotePort}`;
}

function wireAt(node: Node, { path }: Connection): SimulatedWire | undefined {
  const names = node.forwarders.map(({ part }) => part.name);
  const segment = path?.pathSegments.find(({ name }) => names.includes(name));
  return segment && node.world.wiresOf(ownerOf(segment.name)).get(segment.id);
}

function isSame(left: readonly string[], right: readonly string[] = []): boolean {
  return left.length === right.length && left.every((each) => right.includes(each));
}
