// The manager's part of a connection: it chooses a forwarder of its node, by the service's matches, keeps to it
// across refreshes, and passes the Request on. It programs nothing and has no right to.

import { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { matchForwarders } from '../../protocols/nsm/match.ts';
import { nextSegment } from '../../protocols/nsm/path.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Candidate, Hop, HopRequest, HopResult, NextHop } from '../connection/hop.ts';
import type { Discovery } from '../discovery/discovery.ts';
import type { Decisions, OpenDecision } from '../selection/decisions.ts';
import { withExcludedPrefixes, withoutAddedPrefixes } from './excluded-prefixes.ts';

export interface ManagerHopSetup {
  /** Own component name. */
  readonly name: string;
  readonly nextHop: NextHop;
  readonly log: Log;
  readonly discovery: Discovery;
  readonly decisions: Decisions;
  /** Network service name of forwarders (`NSM_FORWARDER_NETWORK_SERVICE_NAME`). */
  readonly forwarderServiceName: string;
  /** Forwarders registered through this manager, with their real URLs. */
  readonly forwarders: () => readonly NetworkServiceEndpoint[];
  /** Prefixes that no Endpoint may give to this node's workloads. */
  readonly excludedPrefixes: () => readonly string[];
  /** Told of each connection that has come up, or was refreshed. */
  readonly onAnswered?: (connection: Connection) => void;
}

export function managerHop(setup: ManagerHopSetup): Hop {
  return {
    async request(request) {
      const excluded = setup.excludedPrefixes();
      const connection = withExcludedPrefixes(request.connection, excluded);
      const selected = await forwarderCandidates(setup, request);
      const answered = await tryForwarders(setup, { ...request, connection }, selected);
      const result = {
        ...answered,
        connection: withoutAddedPrefixes(answered.connection, request.connection, excluded),
      };
      setup.nextHop.leaveReplaced(request.previous, result.memory);
      setup.onAnswered?.(result.connection);
      return result;
    },
    async close(connection, memory, call) {
      if (memory.nextUrl !== undefined) await setup.nextHop.close(memory.nextUrl, connection, call);
    },
  };
}

interface SelectedForwarders {
  readonly candidates: readonly Candidate[];
  /** Absent where the connection has its forwarder already: nothing was decided. */
  readonly decision?: OpenDecision;
}

async function tryForwarders(
  setup: ManagerHopSetup,
  request: HopRequest,
  { candidates, decision }: SelectedForwarders,
): Promise<HopResult> {
  const { connection, preferences, call, previous } = request;
  const sent = { connection, preferences };
  try {
    return await setup.nextHop.tryInOrder(candidates, call, async (forwarder, left) => {
      const memory = { nextUrl: forwarder.url, nextName: forwarder.name };
      // Should this process be killed before it has the answer, its next life closes there what it cannot name.
      if (previous === undefined) await request.recordIntent(memory);
      const attempt = () => setup.nextHop.request(forwarder.url, sent, left);
      const answer = decision === undefined ? attempt() : decision.trying(forwarder.name, attempt);
      return { connection: await answer, memory };
    });
  } catch (thrown) {
    throw decision === undefined ? thrown : decision.refused(thrown);
  }
}

/** Forwarders that may carry this connection; the one that carries it already alone. */
async function forwarderCandidates(
  setup: ManagerHopSetup,
  request: HopRequest,
): Promise<SelectedForwarders> {
  const { connection, previous, call } = request;
  const forwarders = setup.forwarders();
  const remembered = request.reselect ? undefined : previous?.memory.nextName;
  if (remembered !== undefined) {
    // A refresh needs nothing of the registry: what works keeps working while the registry is away.
    const holder = forwarders.filter(({ name }) => name === remembered);
    if (holder.length === 0) throw noForwarder(setup, connection, forwarders, remembered);
    return { candidates: holder };
  }
  const view = await setup.discovery.discover(connection.networkService, call);
  const selection = matchForwarders({
    service: view.networkService,
    candidates: forwarders,
    forwarderService: setup.forwarderServiceName,
    labels: connection.labels,
  });
  // The forwarder of the path holds the client's interface: after a restart of this manager and in a reselect it
  // comes first, so that the client keeps what it has. (The reference forgets it in a reselect.)
  const inPath = nextSegment(connection)?.name;
  const candidates =
    inPath === undefined
      ? selection.candidates
      : selection.candidates.toSorted(
          (a, b) => Number(b.name === inPath) - Number(a.name === inPath),
        );
  const decision = setup.decisions.open({
    kind: 'forwarder',
    connection,
    reselect: request.reselect,
    policy: inPath === undefined ? 'first that answers' : 'the one of the path first',
    policyFrom: 'default',
    turn: 0,
    candidateCount: forwarders.length,
    explain: () => selection.explain(),
    order: candidates.map(({ name }) => name),
    passedOver: [],
  });
  if (candidates.length > 0) return { candidates, decision };
  throw decision.refused(noForwarder(setup, connection, forwarders, undefined));
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
