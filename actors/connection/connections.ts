// The door of one process for NetworkService and MonitorConnection: it checks a message, steps into the path,
// writes the tokens, hands the rest to the connection's actor, and gives the caller back the caller's own view.

import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { closeDelayMs } from '../../protocols/nsm/expiry.ts';
import { type Connection, MonitorConnection } from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../protocols/nsm/gen/networkservice_pb.ts';
import {
  enterPath,
  isUnanswered,
  leavePath,
  previousSegment,
  replacedSegment,
} from '../../protocols/nsm/path.ts';
import {
  validateConnection,
  validateMonitorSelector,
  validateRequest,
} from '../../protocols/nsm/request-validation.ts';
import { isSameSigner } from '../../protocols/spiffe/path-token.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { Random } from '../../protocols/ports/random.ts';
import { type CallContext, type ServedService, serve } from '../../protocols/ports/rpc.ts';
import {
  type ConnectionDirectory,
  createConnectionDirectory,
  type DirectorySetup,
} from './connection-directory.ts';
import type { ConnectionTable } from './connection-table.ts';
import type { Call } from './hop.ts';
import { createMonitor } from './monitor.ts';
import { expiryOfPrevious } from './tokens.ts';

export interface ConnectionsSetup extends Omit<DirectorySetup, 'monitor'> {
  readonly wallClock: WallClock;
  readonly random: Random;
}

export interface Connections {
  readonly services: readonly ServedService[];
  readonly directory: ConnectionDirectory;
}

export function createConnections(setup: ConnectionsSetup): Connections {
  const monitor = createMonitor((segmentId) => establishedOf(setup.table, segmentId));
  const directory = createConnectionDirectory({ ...setup, monitor });
  const newId = (): string => setup.random.uuid();
  /** First Requests of hops under way, by the caller's id. What they will make is not in the table yet. */
  const underWay = new Map<string, { readonly id: string; readonly token: string }>();

  const networkService = serve(NetworkService, {
    request: (message, context) =>
      named(setup.name, async () => {
        validateRequest(message);
        // Nothing is awaited before the actor has the message, so that calls keep their order of arrival.
        const connection = enterPath(message.connection, setup.name, newId);
        const call = callOf(context);
        // Counted from here: a turn that comes late makes no token live longer.
        const nowMs = setup.clock.nowMs();
        const closeAfterMs = closeDelayMs({
          expiresInMs: expiryOfPrevious(connection, call, setup),
          callRemainingMs: call.deadlineMs - nowMs,
        });
        const closeAtMs = nowMs + closeAfterMs;
        const replaces = replacedSegment(message.connection, setup.name);
        const preferences = message.mechanismPreferences;
        const caller = message.connection ?? connection;
        const isFirst = isUnanswered(caller);
        const token = previousSegment(connection)?.token ?? '';
        if (isFirst) underWay.set(caller.id, { id: connection.id, token });
        try {
          const entered = { connection, preferences, closeAtMs, call, replaces };
          const answer = await directory.request(entered);
          return leavePath(answer, caller);
        } finally {
          if (underWay.get(caller.id)?.id === connection.id) underWay.delete(caller.id);
        }
      }),
    close: (message, context) =>
      named(setup.name, async () => {
        validateConnection(message);
        const entered = enterPath(message, setup.name, newId);
        const call = callOf(context);
        const ids = isUnanswered(message) ? behind(setup.table, entered) : new Set([entered.id]);
        const made = underWay.get(message.id);
        const token = previousSegment(entered)?.token ?? '';
        if (made !== undefined && isSameSigner(made.token, token)) ids.add(made.id);
        await Promise.all([...ids].map((id) => directory.close(id, call, entered)));
        return create(EmptySchema);
      }),
  });

  const monitorConnection = serve(MonitorConnection, {
    async *monitorConnections(selector, context) {
      validateMonitorSelector(selector);
      yield* monitor.subscribe(selector, context.signal);
    },
  });

  return { services: [networkService, monitorConnection], directory };
}

function* establishedOf(table: ConnectionTable, segmentId: string | undefined) {
  const intents = segmentId === undefined ? table.all() : table.withSegment(segmentId);
  for (const intent of intents) if (intent.established) yield intent.connection;
}

/** What this hop holds behind the caller's segment, under an id that the caller has never heard. */
function behind(table: ConnectionTable, entered: Connection): Set<string> {
  const caller = previousSegment(entered);
  const found = new Set<string>();
  if (caller === undefined) return found;
  for (const { connection } of table.withSegment(caller.id)) {
    const previous = previousSegment(connection);
    const isSameCaller = previous?.id === caller.id && previous.name === caller.name;
    if (isSameCaller && isSameSigner(previous.token, caller.token)) found.add(connection.id);
  }
  return found;
}

function callOf({ deadlineMs, signal, headers, peer, operation }: CallContext): Call {
  return { deadlineMs, signal, headers, peer, ...(operation === undefined ? {} : { operation }) };
}

/** Puts the hop's name into a refusal that does not name one yet. */
async function named<T>(hop: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (error.details.hop !== undefined) throw error;
    throw new NsmError(error.code, error.message, { ...error.details, hop, cause: error });
  }
}
