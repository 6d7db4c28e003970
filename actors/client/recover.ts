// A client that starts anew asks its manager whether it already holds this client's connection, and goes on with
// it: the Endpoint and the addresses survive a restart of the client (the reference's recovery). Invariants: only what
// ends at this client's own interface is gone on with. Anything else belongs to a life in another namespace, or to
// another client of the same name, and stays what it is. A manager that could not be asked has not said that it holds
// nothing: to begin anew behind its back would cost the interface.

import { create } from '@bufbuild/protobuf';
import {
  asNsmError,
  describeError,
  type ErrorCode,
  type NsmError,
} from '../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  type Mechanism,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { isDefaultInterfaceName } from '../../protocols/nsm/interface-name.ts';
import { parameter, parameterKey } from '../../protocols/nsm/mechanism.ts';
import type { Dialer } from '../../protocols/ports/rpc.ts';
import type { Log } from '../../protocols/ports/log.ts';

interface RecoverySetup {
  readonly name: string;
  readonly networkService: string;
  readonly connectionId: string;
  readonly connectTo: string;
  readonly dialer: Dialer;
  readonly preferences: readonly Mechanism[];
}

/** How long the initial transfer may take. */
const transferTimeoutMs = 2_000;
const away: ReadonlySet<ErrorCode> = new Set(['UNAVAILABLE', 'DEADLINE_EXCEEDED']);

/** Whether the manager is away or silent, so that nobody knows what it would have said. */
export function isAway({ code }: NsmError): boolean {
  return away.has(code);
}

/**
 * What its manager holds of this client. Rejects with UNAVAILABLE or DEADLINE_EXCEEDED where the manager is away or
 * silent; one that shows nobody what it holds counts as one that holds nothing.
 */
export async function recoverConnection(
  setup: RecoverySetup,
  context: { readonly log: Log },
  signal: AbortSignal,
): Promise<Connection | undefined> {
  const selector = create(MonitorScopeSelectorSchema, {
    pathSegments: [{ id: setup.connectionId }],
  });
  const client = setup.dialer.dial(setup.connectTo).client(MonitorConnection);
  const options = { timeoutMs: transferTimeoutMs, signal };
  try {
    for await (const event of client.monitorConnections(selector, options)) {
      if (event.type !== ConnectionEventType.INITIAL_STATE_TRANSFER) continue;
      const found = Object.values(event.connections).find((entry) => isOurs(entry, setup));
      if (found !== undefined) context.log.info('recovered', { connectionId: setup.connectionId });
      return found === undefined ? undefined : ownView(found, setup.connectionId);
    }
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (isAway(error)) throw error;
    context.log.warn('recovery was not possible', { error: describeError(error) });
  }
  return undefined;
}

function isOurs(entry: Connection, setup: RecoverySetup): boolean {
  const { mechanism, path } = entry;
  const [own] = path?.pathSegments ?? [];
  return (
    mechanism !== undefined &&
    path?.index === 1 &&
    own?.id === setup.connectionId &&
    own.name === setup.name &&
    entry.networkService === setup.networkService &&
    setup.preferences.some((wanted) => isSameEnd(wanted, mechanism, setup.networkService))
  );
}

/** The same interface of the same namespace. A name that was made up need not be the one of this life. */
function isSameEnd(wanted: Mechanism, held: Mechanism, service: string): boolean {
  const inode = parameterKey.inodeUrl;
  if (wanted.type !== held.type || parameter(wanted, inode) !== parameter(held, inode))
    return false;
  const [wants, holds] = [wanted, held].map((each) => parameter(each, parameterKey.name) ?? '');
  if (wants === holds) return true;
  return [wants, holds].every((name) => isDefaultInterfaceName(name ?? '', service));
}

function ownView(entry: Connection, id: string): Connection {
  return entry.path === undefined ? entry : { ...entry, id, path: { ...entry.path, index: 0 } };
}
