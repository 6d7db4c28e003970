// Which forwarders of its node a manager may ask for a connection, and in which order. The one that holds the wire alone,
// as long as it is there or may come back; where it is gone for good another one takes the wire over.
// Invariant: between counting what each carries and recording who is asked nothing is awaited, so that Requests that
// arrive together are spread as those that come one after the other.

import { NsmError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import { matchForwarders } from '../../protocols/nsm/match.ts';
import { nextSegment } from '../../protocols/nsm/path.ts';
import type { Candidate, HopRequest } from '../connection/hop.ts';
import type { Discovery, ServiceView } from '../discovery/discovery.ts';
import type { Decisions, OpenDecision } from '../selection/decisions.ts';
import type { Absences } from './absences.ts';
import { type ForwarderPolicy, orderForwarders } from './forwarder-order.ts';

export interface ForwarderSelectionSetup {
  /** Own component name. */
  readonly name: string;
  readonly discovery: Pick<Discovery, 'discover'>;
  readonly decisions: Decisions;
  /** Network service name of forwarders (`NSM_FORWARDER_NETWORK_SERVICE_NAME`). */
  readonly forwarderServiceName: string;
  /** Forwarders registered through this manager, with their real URLs. */
  readonly forwarders: () => readonly NetworkServiceEndpoint[];
  readonly forwarderPolicy: ForwarderPolicy;
  /** Connections of this manager that go through the forwarder. */
  readonly loadOf: (forwarder: string) => number;
  readonly absences: Absences;
}

export interface SelectedForwarders {
  readonly candidates: readonly Candidate[];
  /** Absent where the connection has its forwarder already: nothing was decided. */
  readonly decision?: OpenDecision;
}

/**
 * The forwarder that a refresh goes to; undefined where one is to be chosen. A refresh needs nothing of the registry: what
 * works keeps working while that is away. Throws NOT_FOUND where the holder is away and may come back, or is gone and
 * has been the only one; UNAVAILABLE where it is `silent`.
 */
export function holderOf(
  setup: ForwarderSelectionSetup,
  { connection, previous, reselect }: HopRequest,
  silent: string | undefined,
): SelectedForwarders | undefined {
  const holder = reselect ? undefined : previous?.memory.nextName;
  if (holder === undefined) return undefined;
  const forwarders = setup.forwarders();
  const registered = forwarders.filter(({ name }) => name === holder);
  if (registered.length === 0) setup.absences.missed(holder);
  const mayGoOn = forwarders.length > registered.length && setup.absences.isGone(holder);
  if (mayGoOn) return undefined;
  if (silent !== undefined) throw hangs(setup, connection, silent);
  if (registered.length === 0) throw noForwarder(setup, connection, holder);
  return { candidates: registered };
}

/** Throws NOT_FOUND where nobody may carry the connection. `silent`: a forwarder that hangs. */
export function chooseForwarders(
  setup: ForwarderSelectionSetup,
  request: HopRequest,
  view: ServiceView,
  silent: string | undefined,
): SelectedForwarders {
  const { connection, previous, preferences, reselect } = request;
  const { forwarderServiceName: forwarderService, forwarderPolicy: policy, loadOf } = setup;
  const forwarders = setup.forwarders().filter(({ name }) => name !== silent);
  const selection = matchForwarders({
    service: view.networkService,
    candidates: forwarders,
    forwarderService,
    labels: connection.labels,
  });
  const asked = [connection.mechanism, ...preferences].flatMap((each) => each?.type ?? []);
  // The forwarder of the path holds the client's interface: after a restart of this manager and in a reselect it
  // comes first, so that the client keeps what it has. (The reference forgets it in a reselect.)
  const inPath = nextSegment(connection)?.name;
  const { order, last } = orderForwarders({
    candidates: selection.candidates,
    forwarderService,
    asked: [...new Set(asked)],
    inPath,
    policy,
    loadOf,
  });
  const lost = previous?.memory.nextName;
  const isMoved = lost !== undefined && !reselect;
  const decision = setup.decisions.open({
    kind: 'forwarder',
    connection,
    reselect,
    policy: order[0]?.name === inPath ? 'the one of the path first' : policy,
    policyFrom: policy === 'least-loaded' ? 'default' : 'VWIRE_FORWARDER_POLICY',
    turn: 0,
    candidateCount: forwarders.length,
    explain: () => selection.explain(),
    order: order.map(({ name }) => name),
    noteOf: (name) => `carries ${loadOf(name)}`,
    passedOver: [
      ...last,
      ...(isMoved ? [{ name: lost, reason: 'it held the wire and has not come back' }] : []),
    ],
  });
  if (order.length > 0) return { candidates: order, decision };
  throw decision.refused(noForwarder(setup, connection, undefined));
}

function noForwarder(
  setup: ForwarderSelectionSetup,
  connection: Connection,
  holder: string | undefined,
): NsmError {
  const present = setup
    .forwarders()
    .map(({ name }) => name)
    .join(', ');
  return new NsmError('NOT_FOUND', 'no forwarder of this node may carry the connection', {
    hop: setup.name,
    rule: 'select-forwarder',
    expected:
      holder === undefined
        ? `a forwarder with the labels that service ${connection.networkService} asks for`
        : `forwarder ${holder}, which holds this wire`,
    found: present === '' ? 'no forwarder is registered at this manager' : `registered: ${present}`,
    remedy:
      holder === undefined
        ? 'start a forwarder on this node, or compare its NSM_LABELS with the service'
        : 'start that forwarder again, or let the client reselect',
    connectionId: connection.id,
  });
}

function hangs({ name }: ForwarderSelectionSetup, { id }: Connection, holder: string): NsmError {
  return new NsmError('UNAVAILABLE', 'the forwarder that holds this wire says nothing', {
    hop: name,
    rule: 'select-forwarder',
    expected: `an answer of forwarder ${holder}, which is registered`,
    found: 'none',
    remedy: 'end that process, so that its supervisor starts it again; or let the client reselect',
    connectionId: id,
  });
}
