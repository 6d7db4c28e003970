// The reference's excludedprefixes element at the manager: what this node's network already uses is added to what
// the client excludes, so that no Endpoint gives an address out of it. Unlike there it is taken out of the answer again:
// the client would send it with every refresh, and a prefix that the node no longer uses would stay excluded for ever.

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

/** The answer without what was added to what the client asked. */
export function withoutAddedPrefixes(
  answer: Connection,
  asked: Connection,
  added: readonly string[],
): Connection {
  const { context } = answer;
  const ipContext = context?.ipContext;
  if (added.length === 0 || context === undefined || ipContext === undefined) return answer;
  const own = new Set(asked.context?.ipContext?.excludedPrefixes);
  const ours = new Set(added);
  const excludedPrefixes = ipContext.excludedPrefixes.filter(
    (each) => own.has(each) || !ours.has(each),
  );
  return { ...answer, context: { ...context, ipContext: { ...ipContext, excludedPrefixes } } };
}
