// What an Endpoint goes on with after a restart: the connections of its journal with their addresses, and the leases of
// clients that are away.
// Invariants: an address of a connection that has not expired goes to nobody else; what an expired connection held is
// kept for its client as after any other end; a wire that ended in another namespace is told as down, so that its client
// asks for it anew.

import { State } from '../../protocols/nsm/gen/connection_pb.ts';
import { parameter, parameterKey } from '../../protocols/nsm/mechanism.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ConnectionTable, Intent } from '../connection/connection-table.ts';
import type { Leases } from './leases.ts';

export interface TakeUpSetup {
  readonly table: ConnectionTable;
  readonly leases: Leases;
  /** Of the journal of leases. */
  readonly records: ReadonlyMap<string, Uint8Array>;
  /** URL of the namespace that the wires end in now. */
  readonly netns: string;
  /** Expired ones keep their addresses as well: each looks then whether its wire is alive. */
  readonly keepsExpired: boolean;
  readonly clock: Clock;
  readonly log: Log;
}

/** Returns what the connection actors are to resume from, expired ones included: they end those as usual. */
export async function takeUp(setup: TakeUpSetup): Promise<readonly Intent[]> {
  const { table, leases, netns, clock, keepsExpired } = setup;
  const intents = await table.load();
  const isOver = ({ closeAtMs }: Intent): boolean => !keepsExpired && closeAtMs <= clock.nowMs();
  for (const intent of intents.filter((each) => !isOver(each))) {
    const { connection } = intent;
    if (!leases.restoreLive(connection)) {
      setup.log.warn('the addresses of a connection fit the prefixes no more', {
        connectionId: connection.id,
      });
    }
    const { mechanism } = connection;
    if (mechanism === undefined || parameter(mechanism, parameterKey.inodeUrl) === netns) continue;
    await table.put({ ...intent, connection: { ...connection, state: State.DOWN } });
  }
  leases.restoreIdle(setup.records);
  for (const { connection } of intents.filter(isOver)) {
    if (leases.restoreLive(connection)) await leases.release(connection.id);
  }
  return intents;
}
