// The reference's policyroute element at the Endpoint: its policies are told to the client, and the source of each
// becomes an address of the client. Pure. Invariants: what an earlier answer (of this Endpoint or another one) said is
// taken out first, so that nothing is left of policies that are no more; the client's own addresses stay.
// Beyond the reference the Endpoint's end gets a route back to each such address, without which no answer returns.

import { create } from '@bufbuild/protobuf';
import { formatPrefix, hostPrefix, parseCidr } from '../../protocols/ipam/address.ts';
import {
  ConnectionContextSchema,
  type IPContext,
  IPContextSchema,
  type PolicyRoute,
  RouteSchema,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

/** The connection without the policies of its last answer, before addresses are given. */
export function withoutPolicies(connection: Connection): Connection {
  const before = connection.context?.ipContext;
  if (before === undefined || before.policies.length === 0) return connection;
  const sources = new Set(before.policies.map(({ from }) => from));
  const backRoutes = new Set(before.policies.flatMap(({ from }) => hostRouteOf(from)));
  return withIp(connection, {
    ...before,
    policies: [],
    srcIpAddrs: before.srcIpAddrs.filter((address) => !sources.has(address)),
    dstRoutes: before.dstRoutes.filter(({ prefix }) => !backRoutes.has(prefix)),
  });
}

/** The connection with these policies, after addresses were given. */
export function withPolicies(connection: Connection, policies: readonly PolicyRoute[]): Connection {
  if (policies.length === 0) return connection;
  const ip = connection.context?.ipContext ?? create(IPContextSchema);
  const sources = policies.map(({ from }) => from).filter((from) => from !== '');
  const routed = new Set(ip.dstRoutes.map(({ prefix }) => prefix));
  const backRoutes = [...new Set(sources.flatMap(hostRouteOf))].filter((each) => !routed.has(each));
  return withIp(connection, {
    ...ip,
    policies: [...policies],
    srcIpAddrs: [...new Set([...ip.srcIpAddrs, ...sources])],
    dstRoutes: [...ip.dstRoutes, ...backRoutes.map((prefix) => create(RouteSchema, { prefix }))],
  });
}

function hostRouteOf(from: string): readonly string[] {
  const cidr = parseCidr(from);
  return cidr === undefined ? [] : [formatPrefix(hostPrefix(cidr.address))];
}

function withIp(connection: Connection, ipContext: IPContext): Connection {
  const context = connection.context ?? create(ConnectionContextSchema);
  return { ...connection, context: { ...context, ipContext } };
}
