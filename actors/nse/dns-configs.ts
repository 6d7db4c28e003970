// The reference's dnscontext element at the Endpoint: its name servers are added to what the client is told, once.

import { create } from '@bufbuild/protobuf';
import {
  ConnectionContextSchema,
  type DNSConfig,
  DNSContextSchema,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

export function withDnsConfigs(connection: Connection, configs: readonly DNSConfig[]): Connection {
  const context = connection.context ?? create(ConnectionContextSchema);
  const dnsContext = context.dnsContext ?? create(DNSContextSchema);
  const missing = configs.filter(
    (config) => !dnsContext.configs.some((each) => isSame(each, config)),
  );
  if (missing.length === 0) return connection;
  const added = { ...dnsContext, configs: [...dnsContext.configs, ...missing] };
  return { ...connection, context: { ...context, dnsContext: added } };
}

/** As sets: the order of servers and domains says nothing. */
function isSame(left: DNSConfig, right: DNSConfig): boolean {
  return (
    sameMembers(left.dnsServerIps, right.dnsServerIps) &&
    sameMembers(left.searchDomains, right.searchDomains)
  );
}

function sameMembers(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.toSorted().join() === right.toSorted().join();
}
