// Name of the client's interface as the client itself says it: the mechanism that carries it ends at the first
// forwarder, and an Endpoint that keeps addresses for its clients must tell the wires of one client apart. It travels in
// `context.extra_context`, which every peer passes on, and which no match of a NetworkService looks at.
// Invariant: a name that was made up is not told, since the next life of the client makes up another.

import { create } from '@bufbuild/protobuf';
import type { Connection } from './gen/connection_pb.ts';
import { ConnectionContextSchema } from './gen/connectioncontext_pb.ts';
import { whyBadInterfaceName } from './interface-name.ts';

const interfaceKey = 'vwire.io/interface';

/** The connection with the name told; unchanged where it is undefined or told already. */
export function withClientInterface(connection: Connection, name: string | undefined): Connection {
  if (name === undefined || clientInterfaceOf(connection) === name) return connection;
  const context = connection.context ?? create(ConnectionContextSchema);
  const extraContext = { ...context.extraContext, [interfaceKey]: name };
  return { ...connection, context: { ...context, extraContext } };
}

/** Empty where the client does not say, or what it says is no name. */
export function clientInterfaceOf(connection: Connection): string {
  const told = connection.context?.extraContext ?? {};
  const name = Object.hasOwn(told, interfaceKey) ? (told[interfaceKey] ?? '') : '';
  return whyBadInterfaceName(name) === undefined ? name : '';
}
