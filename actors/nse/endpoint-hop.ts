// The Endpoint's part of a connection: addresses from its pools and its own end of the mechanism. The last hop:
// what it answers goes back unchanged through all the others.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import { create } from '@bufbuild/protobuf';
import {
  ConnectionContextSchema,
  IPContextSchema,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { pickMechanism } from '../../protocols/nsm/mechanism.ts';
import { trimPath } from '../../protocols/nsm/path.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Hop } from '../connection/hop.ts';
import type { AddressAllocator } from './addresses.ts';

/** What somebody who writes an Endpoint may hang into each connection. */
export interface EndpointHooks {
  /** Runs after addresses and mechanism are settled; a throw refuses the Request. */
  readonly onRequest?: (connection: Connection) => Promise<Connection> | Connection;
  readonly onClose?: (connection: Connection) => Promise<void> | void;
}

export interface EndpointHopSetup extends EndpointHooks {
  readonly name: string;
  readonly log: Log;
  readonly addresses?: AddressAllocator;
  /** Completes this end of the mechanism. */
  readonly mechanism: (asked: Mechanism, connection: Connection) => Mechanism;
  /** Mechanism types that this Endpoint can end, the first preferred. */
  readonly mechanismTypes: readonly string[];
}

export function endpointHop(setup: EndpointHopSetup): Hop {
  return {
    async request(request) {
      const asked = pickMechanism({
        current: request.connection.mechanism,
        preferences: request.preferences,
        supported: setup.mechanismTypes,
      });
      const addressed = withAddresses(setup, request.connection);
      try {
        const mechanism = setup.mechanism(asked, addressed);
        const settled = trimPath({ ...addressed, mechanism });
        const connection = (await setup.onRequest?.(settled)) ?? settled;
        return { connection, memory: {} };
      } catch (thrown) {
        if (request.previous === undefined) setup.addresses?.release(request.connection.id);
        if (thrown instanceof NsmError) throw thrown;
        setup.log.error('the Endpoint refused a Request with an error that has no code', {
          error: describeError(thrown),
        });
        throw new NsmError(
          'FAILED_PRECONDITION',
          `the Endpoint refused: ${asNsmError(thrown).message}`,
          {
            hop: setup.name,
            cause: thrown,
          },
        );
      }
    },
    async close(connection) {
      setup.addresses?.release(connection.id);
      await setup.onClose?.(connection);
    },
  };
}

function withAddresses(setup: EndpointHopSetup, connection: Connection): Connection {
  if (setup.addresses === undefined) return connection;
  const context = connection.context ?? create(ConnectionContextSchema);
  const ipContext = setup.addresses.assign(
    connection.id,
    context.ipContext ?? create(IPContextSchema),
  );
  return { ...connection, context: { ...context, ipContext } };
}
