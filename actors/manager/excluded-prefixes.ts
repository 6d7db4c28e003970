// The reference's excludedprefixes element at the manager: what this node's network already uses is added to what
// the client excludes, so that no Endpoint gives an address out of it.

import { create } from '@bufbuild/protobuf';
import {
  ConnectionContextSchema,
  IPContextSchema,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

export function withExcludedPrefixes(
  connection: Connection,
  prefixes: readonly string[],
): Connection {
  if (prefixes.length === 0) return connection;
  const context = connection.context ?? create(ConnectionContextSchema);
  const ipContext = context.ipContext ?? create(IPContextSchema);
  const excludedPrefixes = [...new Set([...ipContext.excludedPrefixes, ...prefixes])];
  return { ...connection, context: { ...context, ipContext: { ...ipContext, excludedPrefixes } } };
}
