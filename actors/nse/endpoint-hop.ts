// The Endpoint's part of a connection: addresses from its pools and its own end of the mechanism. The last hop:
// what it answers goes back unchanged through all the others.

import { create } from '@bufbuild/protobuf';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { Connection, Mechanism } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  ConnectionContextSchema,
  type DNSConfig,
  type IPContext,
  type PolicyRoute,
} from '../../protocols/nsm/gen/connectioncontext_pb.ts';
import { pickMechanism } from '../../protocols/nsm/mechanism.ts';
import { trimPath } from '../../protocols/nsm/path.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Hop, HopRequest } from '../connection/hop.ts';
import { withoutPolicies, withPolicies } from './policy-routes.ts';
import { withDnsConfigs } from './dns-configs.ts';
import type { Leases } from './leases.ts';

/** What somebody who writes an Endpoint may hang into each connection. */
export interface EndpointHooks {
  /** Runs after addresses and mechanism are settled; may change the connection; a throw refuses the Request. */
  readonly onRequest?: (connection: Connection) => Promise<Connection> | Connection;
  readonly onClose?: (connection: Connection) => Promise<void> | void;
}

export interface EndpointHopSetup extends EndpointHooks {
  readonly name: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Absent where the Endpoint gives no addresses. */
  readonly leases?: Leases;
  /** Told to every client. */
  readonly dnsConfigs?: readonly DNSConfig[];
  /** Of the moment; told to every client. */
  readonly policyRoutes?: () => readonly PolicyRoute[];
  /** Completes this end of the mechanism. */
  readonly completeMechanism: (asked: Mechanism, connection: Connection) => Mechanism;
  /** Mechanism types that this Endpoint can end. */
  readonly mechanismTypes: readonly string[];
}

export function endpointHop(setup: EndpointHopSetup): Hop {
  return {
    request: (request) => onRequest(setup, request),
    async close(connection) {
      await setup.leases?.release(connection.id);
      await setup.onClose?.(connection);
    },
  };
}

async function onRequest(setup: EndpointHopSetup, request: HopRequest): ReturnType<Hop['request']> {
  const asked = pickMechanism({
    current: request.connection.mechanism,
    preferences: request.preferences,
    supported: setup.mechanismTypes,
  });
  const clean = withoutPolicies(request.connection);
  const leftMs = request.call.deadlineMs - setup.clock.nowMs();
  const assignment = await setup.leases?.assign(clean, leftMs);
  const leased = withIpContext(clean, assignment?.ipContext);
  const addressed = withPolicies(leased, setup.policyRoutes?.() ?? []);
  try {
    const mechanism = setup.completeMechanism(asked, addressed);
    const told = withDnsConfigs(addressed, setup.dnsConfigs ?? []);
    const settled = trimPath({ ...told, mechanism });
    const connection = (await setup.onRequest?.(settled)) ?? settled;
    if (assignment !== undefined) setup.leases?.book.settle(assignment);
    return { connection, memory: {} };
  } catch (thrown) {
    if (assignment !== undefined) setup.leases?.book.undo(assignment);
    throw thrown instanceof NsmError ? thrown : refusalOf(setup, thrown);
  }
}

function withIpContext(connection: Connection, ipContext: IPContext | undefined): Connection {
  if (ipContext === undefined) return connection;
  const context = connection.context ?? create(ConnectionContextSchema);
  return { ...connection, context: { ...context, ipContext } };
}

/** The author of an Endpoint may throw what they like; the client gets a refusal, the log the cause. */
function refusalOf(setup: EndpointHopSetup, thrown: unknown): NsmError {
  setup.log.error('a hook of the Endpoint failed', { error: describeError(thrown) });
  return new NsmError(
    'FAILED_PRECONDITION',
    `the Endpoint refused: ${asNsmError(thrown).message}`,
    {
      hop: setup.name,
      cause: thrown,
    },
  );
}
