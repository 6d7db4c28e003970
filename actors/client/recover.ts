// A client that starts anew asks its manager whether it already holds this client's connection, and goes on with
// it: the Endpoint and the addresses survive a restart of the client (the reference's recovery, nsm-wire 8.5).

import { create } from '@bufbuild/protobuf';
import { describeError } from '../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { Log } from '../../protocols/ports/log.ts';

interface RecoverySetup {
  readonly connectionId: string;
  readonly connectTo: string;
  readonly dialer: Dialer;
  readonly preferences: readonly { readonly type: string }[];
}

/** How long the initial transfer may take; without it the client simply starts with a new request. */
const transferTimeoutMs = 2_000;

export async function recoverConnection(
  setup: RecoverySetup,
  context: { readonly log: Log; readonly signal: AbortSignal },
): Promise<Connection | undefined> {
  const selector = create(MonitorScopeSelectorSchema, {
    pathSegments: [{ id: setup.connectionId }],
  });
  const client = setup.dialer.dial(setup.connectTo).client(MonitorConnection);
  const options = { timeoutMs: transferTimeoutMs, signal: context.signal };
  try {
    for await (const event of client.monitorConnections(selector, options)) {
      if (event.type !== ConnectionEventType.INITIAL_STATE_TRANSFER) continue;
      const found = Object.values(event.connections).find((entry) => isOurs(entry, setup));
      if (found !== undefined) context.log.info('recovered', { connectionId: setup.connectionId });
      return found === undefined ? undefined : ownView(found, setup.connectionId);
    }
  } catch (error) {
    context.log.warn('recovery was not possible', { error: describeError(error) });
  }
  return undefined;
}

function isOurs(entry: Connection, setup: RecoverySetup): boolean {
  return (
    entry.path?.index === 1 &&
    entry.path.pathSegments[0]?.id === setup.connectionId &&
    setup.preferences.some(({ type }) => type === entry.mechanism?.type)
  );
}

function ownView(entry: Connection, id: string): Connection {
  return entry.path === undefined ? entry : { ...entry, id, path: { ...entry.path, index: 0 } };
}
