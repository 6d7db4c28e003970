// One client, one wire: a first Request closes what this hop still holds for the same client under another id. A client
// whose answer was lost, or whose manager forgot it, comes back as a stranger, and its old wire would hold the name of
// its interface until it expires. The client is the same where the path begins with the same id and name, and the
// wire would end in the same interface of the same network namespace.

import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { mechanismType, parameter, parameterKey } from '../../protocols/nsm/mechanism.ts';
import type { ConnectionTable } from './connection-table.ts';

/** Ids of the established connections that a first Request takes the place of. */
export function supersededBy(
  table: ConnectionTable,
  asked: Connection,
  preferences: readonly Mechanism[],
): readonly string[] {
  const client = asked.path?.pathSegments[0];
  if (client === undefined) return [];
  const wanted = new Set(
    [asked.mechanism, ...preferences].flatMap((each) => interfaceOf(each) ?? []),
  );
  if (wanted.size === 0) return [];
  const found: string[] = [];
  for (const { connection, established } of table.withSegment(client.id)) {
    if (!established || connection.id === asked.id) continue;
    const other = connection.path?.pathSegments[0];
    const held = interfaceOf(connection.mechanism);
    const isSameClient = other?.id === client.id && other.name === client.name;
    if (isSameClient && held !== undefined && wanted.has(held)) found.push(connection.id);
  }
  return found;
}

/** Names an interface of a namespace; undefined where the mechanism does not say both. */
function interfaceOf(mechanism: Mechanism | undefined): string | undefined {
  if (mechanism?.type !== mechanismType.kernel) return undefined;
  const netns = parameter(mechanism, parameterKey.inodeUrl) ?? '';
  const name = parameter(mechanism, parameterKey.name) ?? '';
  return netns === '' || name === '' ? undefined : `${netns} ${name}`;
}
