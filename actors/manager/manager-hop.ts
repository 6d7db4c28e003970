// The manager's part of a connection: it chooses a forwarder of its node, by the service's matches, keeps to it
// across refreshes, and passes the Request on. It programs nothing and has no right to.

import { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { matchForwarders } from '../../protocols/nsm/match.ts';
import { nextSegment } from '../../protocols/nsm/path.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Candidate, Hop, HopRequest, NextHop } from '../connection/hop.ts';
import type { Discovery } from '../discovery/discovery.ts';
import { withExcludedPrefixes } from './excluded-prefixes.ts';

export interface ManagerHopSetup {
  /** Own component name. */
  readonly name: string;
  readonly nextHop: NextHop;
  readonly log: Log;
  readonly discovery: Discovery;
  /** Network service name of forwarders (`NSM_FORWARDER_NETWORK_SERVICE_NAME`). */
  readonly forwarderServiceName: string;
  /** Forwarders registered through this manager, with their real URLs. */
  readonly forwarders: () => readonly NetworkServiceEndpoint[];
  /** Prefixes that no Endpoint may give to this node's workloads. */
  readonly excludedPrefixes: () => readonly string[];
}

export function managerHop(setup: ManagerHopSetup): Hop {
  return {
    async request(request) {
      const connection = withExcludedPrefixes(request.connection, setup.excludedPrefixes());
      const candidates = await forwarderCandidates(setup, request);
      const sent = { connection, preferences: request.preferences };
      const result = await setup.nextHop.tryInOrder(
        candidates,
        request.call,
        async (forwarder, call) => ({
          connection: await setup.nextHop.request(forwarder.url, sent, call),
          memory: { nextUrl: forwarder.url, nextName: forwarder.name },
        }),
      );
      setup.nextHop.leaveReplaced(request.previous, result.memory);
      return result;
    },
    async close(connection, memory, call) {
      if (memory.nextUrl !== undefined) await setup.nextHop.close(memory.nextUrl, connection, call);
    },
  };
}

/** Forwarders that may carry this connection; the one that carries it already alone. */
async function forwarderCandidates(
  setup: ManagerHopSetup,
  request: HopRequest,
): Promise<readonly Candidate[]> {
  const { connection, previous, call } = request;
  const forwarders = setup.forwarders();
  const remembered = request.reselect ? undefined : previous?.memory.nextName;
  if (remembered !== undefined) {
    // A refresh needs nothing of the registry: what works keeps working while the registry is away.
    const holder = forwarders.filter(({ name }) => name === remembered);
    if (holder.length === 0) throw noForwarder(setup, connection, forwarders, remembered);
    return holder;
  }
  const view = await setup.discovery.discover(connection.networkService, call);
  const { candidates } = matchForwarders({
    service: view.networkService,
    candidates: forwarders,
    forwarderService: setup.forwarderServiceName,
    labels: connection.labels,
  });
  if (candidates.length === 0) throw noForwarder(setup, connection, forwarders, undefined);
  // The forwarder of the path holds the client's interface: after a restart of this manager and in a reselect it
  // comes first, so that the client keeps what it has. (The reference forgets it in a reselect.)
  const inPath = nextSegment(connection)?.name;
  return inPath === undefined
    ? candidates
    : candidates.toSorted((a, b) => Number(b.name === inPath) - Number(a.name === inPath));
}

function noForwarder(
  setup: ManagerHopSetup,
  connection: Connection,
  forwarders: readonly NetworkServiceEndpoint[],
  remembered: string | undefined,
): NsmError {
  const present = forwarders.map(({ name }) => name).join(', ');
  return new NsmError('NOT_FOUND', 'no forwarder of this node may carry the connection', {
    hop: setup.name,
    rule: 'select-forwarder',
    expected:
      remembered === undefined
        ? `a forwarder with the labels that service ${connection.networkService} asks for`
        : `forwarder ${remembered}, which holds this wire`,
    found: present === '' ? 'no forwarder is registered at this manager' : `registered: ${present}`,
    remedy:
      remembered === undefined
        ? 'start a forwarder on this node, or compare its NSM_LABELS with the service'
        : 'start that forwarder again, or let the client reselect',
    connectionId: connection.id,
  });
}
