// What an Endpoint goes on with after a restart: the connections of its journal, and with them their addresses.
// Invariants: an address of a connection that has not expired goes to nobody else; an expired connection holds none;
// a wire that ended in another namespace is told as down, so that its client asks for it anew.

import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import { parameter, parameterKey } from '../../protocols/nsm/mechanism.ts';
import type { PointToPointIpam } from '../../protocols/ipam/point-to-point.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ConnectionTable, Intent } from '../connection/connection-table.ts';

export interface TakeUpSetup {
  readonly table: ConnectionTable;
  readonly ipam: PointToPointIpam;
  /** URL of the namespace that the wires end in now. */
  readonly netns: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Returns what the connection actors are to resume from, expired ones included: they end those as usual. */
export async function takeUp({
  table,
  ipam,
  netns,
  clock,
  log,
}: TakeUpSetup): Promise<readonly Intent[]> {
  const intents = await table.load();
  for (const intent of intents) {
    const { connection, closeAtMs } = intent;
    const connectionId = connection.id;
    if (closeAtMs <= clock.nowMs()) continue;
    if (!ipam.restoreFrom(connectionId, connection.context?.ipContext)) {
      log.warn('the addresses of a connection fit the prefixes no more', { connectionId });
    }
    const { mechanism } = connection;
    if (mechanism === undefined || parameter(mechanism, parameterKey.inodeUrl) === netns) continue;
    await table.put({ ...intent, connection: { ...connection, state: State.DOWN } });
  }
  return intents;
}
