// One client, one wire: a first Request closes what this hop still holds for the same client under another id. A client
// whose answer was lost, or whose manager forgot it, comes back as a stranger, and its old wire would hold the name of
// its interface until it expires. The client is the same where the path begins with the same id and name, and the
// wire would end in the same interface of the same network namespace, or in shared memory of the same namespace. Of
// another SPIFFE ID it is another client, which is refused the interface as long as its owner has it.

import { describeError } from '../../protocols/errors.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  isWorkloadEnd,
  mechanismType,
  parameter,
  parameterKey,
} from '../../protocols/nsm/mechanism.ts';
import { isSameSigner } from '../../protocols/spiffe/path-token.ts';
import type { ActorContext } from '../runtime/api.ts';
import type { ConnectionTable } from './connection-table.ts';
import type { Call } from './hop.ts';

export interface SupersedeSetup {
  readonly table: ConnectionTable;
  /** Closes another connection of this hop; one that is not there counts as closed. */
  readonly closeOther: (id: string, call: Call) => Promise<void>;
}

interface Asked {
  readonly connection: Connection;
  readonly preferences: readonly Mechanism[];
  readonly call: Call;
}

/** Half of the time is left for the Request itself; what could not be closed may still refuse it. */
export async function supersede(
  { table, closeOther }: SupersedeSetup,
  { clock, log, signal }: ActorContext<never>,
  { connection, preferences, call }: Asked,
): Promise<void> {
  for (const other of supersededBy(table, connection, preferences)) {
    const deadlineMs = (clock.nowMs() + call.deadlineMs) / 2;
    log.info('the client has come back under another id', { connectionId: connection.id, other });
    try {
      await closeOther(other, { deadlineMs, signal, headers: {} });
    } catch (error) {
      log.warn('closing failed', { connectionId: other, error: describeError(error) });
    }
  }
}

/** Ids of the established connections that a first Request takes the place of. */
function supersededBy(
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
    const isSameClient =
      other?.id === client.id &&
      other.name === client.name &&
      isSameSigner(other.token, client.token);
    if (isSameClient && held !== undefined && wanted.has(held)) found.push(connection.id);
  }
  return found;
}

/** Names an interface of a namespace; undefined where the mechanism does not say both. One client has one memif. */
function interfaceOf(mechanism: Mechanism | undefined): string | undefined {
  if (mechanism === undefined || !isWorkloadEnd(mechanism)) return undefined;
  const netns = parameter(mechanism, parameterKey.inodeUrl) ?? '';
  if (mechanism.type === mechanismType.memif) return netns === '' ? undefined : `${netns} memif:`;
  const name = parameter(mechanism, parameterKey.name) ?? '';
  return netns === '' || name === '' ? undefined : `${netns} ${name}`;
}
