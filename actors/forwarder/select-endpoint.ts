// Which Endpoints a Request may go to: the named one alone, or what the service's matches pick, in the order of their
// policy. Each choice is recorded, so that `vwire why` can tell it later.

import { NsmError } from '../../protocols/errors.ts';
import type { Candidate, HopRequest } from '../connection/hop.ts';
import { stickyKeyOf } from '../../protocols/nsm/selection-policy.ts';
import type { Choosing, Discovery, EndpointChoice, ServiceView } from '../discovery/discovery.ts';
import type { Decisions, OpenDecision } from '../selection/decisions.ts';

export interface SelectionSetup {
  readonly name: string;
  readonly discovery: Discovery;
  readonly decisions: Decisions;
  /** Connections of this forwarder that lead to the Endpoint. */
  readonly loadOf: (endpointName: string) => number;
}

/** Candidates that are tried before the Request is refused. */
const candidatesTriedMax = 16;

/** Time for a candidate behind the next hop that a reselect leaves; a live one answers in a few milliseconds. */
const sameWayMsMax = 700;

export interface SelectedEndpoints {
  readonly candidates: readonly Candidate[];
  /** `IP` or `ETHERNET`, from the service unless the client named the Endpoint itself. */
  readonly payload: string;
  /** Absent where the client named the Endpoint: nothing was decided. */
  readonly decision?: OpenDecision;
}

export function endpointCandidates(
  setup: SelectionSetup,
  request: HopRequest,
): Promise<SelectedEndpoints> {
  return request.connection.networkServiceEndpointName === ''
    ? byService(setup, request)
    : byName(setup, request);
}

async function byName(setup: SelectionSetup, request: HopRequest): Promise<SelectedEndpoints> {
  const { connection, previous, reselect, call } = request;
  const name = connection.networkServiceEndpointName;
  const { payload } = connection;
  try {
    const endpoint = await setup.discovery.findEndpointByName(name, call);
    if (endpoint !== undefined) return { candidates: [endpoint], payload };
  } catch (error) {
    if (previous === undefined) throw error;
  }
  const url = previous?.memory.nextUrl;
  if (!reselect && url !== undefined && previous?.memory.nextName === name) {
    // A registry that is away or has lost its data is no evidence against an Endpoint that may well answer.
    return { candidates: [{ name, url }], payload };
  }
  throw new NsmError('NOT_FOUND', `the Endpoint ${name} is not registered`, {
    hop: setup.name,
    rule: 'select-endpoint',
    expected: `a registered Endpoint named ${name}`,
    found: 'none',
    remedy: 'start it, or let the client reselect',
    connectionId: connection.id,
  });
}

async function byService(setup: SelectionSetup, request: HopRequest): Promise<SelectedEndpoints> {
  const { connection, call } = request;
  const view = await setup.discovery.discover(connection.networkService, call);
  const choosing = choosingOf(setup, request);
  const choice = setup.discovery.choose(view, choosing);
  const candidates = choice.candidates.slice(0, candidatesTriedMax);
  const decision = record(setup, request, { view, choice, candidates });
  if (candidates.length === 0) throw decision.refused(nobodyFits(setup, request, { view, choice }));
  const { payload } = view.networkService;
  return { candidates: withHaste(candidates, request), payload, decision };
}

function choosingOf(
  setup: SelectionSetup,
  { connection, reselect, previous }: HopRequest,
): Choosing {
  const { labels, path } = connection;
  const left = reselect ? previous?.memory.nextName : undefined;
  return {
    labels,
    stickyKey: stickyKeyOf(labels, path?.pathSegments[0]?.name ?? ''),
    loadOf: setup.loadOf,
    lastBecause: ({ name }) => (name === left ? 'the client leaves it' : undefined),
  };
}

interface Chosen {
  readonly view: ServiceView;
  readonly choice: EndpointChoice;
}

function record(
  setup: SelectionSetup,
  { connection, reselect }: HopRequest,
  { view, choice, candidates }: Chosen & { readonly candidates: readonly Candidate[] },
): OpenDecision {
  const { by, turn, passedOver } = choice;
  // Of the choice the record keeps no more than that: each belongs to one state of the registry, with its Endpoints.
  const explanation = by?.explanation;
  return setup.decisions.open({
    kind: 'endpoint',
    connection,
    reselect,
    policy: by?.policy ?? '',
    policyFrom: by?.from ?? '',
    turn,
    candidateCount: view.endpointCount,
    explain: () => explanation,
    order: candidates.map(({ name }) => name),
    ...(by?.policy === 'least-loaded' ? { noteOf: (name) => loadText(setup, name) } : {}),
    passedOver: [
      ...(by?.draining ?? []).map((name) => ({ name, reason: 'draining' })),
      ...passedOver,
    ],
  });
}

function loadText(setup: SelectionSetup, name: string): string {
  return `load ${setup.loadOf(name)}`;
}

function nobodyFits(
  setup: SelectionSetup,
  { connection }: HopRequest,
  { view, choice }: Chosen,
): NsmError {
  const service = connection.networkService;
  const draining = choice.by?.draining.length ?? 0;
  const without = draining === 0 ? '' : `, ${draining} of them draining`;
  return new NsmError('NOT_FOUND', `no Endpoint of ${service} fits this client`, {
    hop: setup.name,
    rule: 'select-endpoint',
    expected:
      'an Endpoint that one of the matches of the service picks for the labels of the client',
    found: `${view.endpointCount} registered for the service${without}, labels of the client: ${labelsText(connection.labels)}`,
    remedy: 'compare the matches of the service with the labels of its Endpoints',
    connectionId: connection.id,
  });
}

/** Who is reached as the one that a reselect leaves has little time: its node may be what is lost. */
function withHaste(
  candidates: readonly Candidate[],
  { reselect, previous }: HopRequest,
): readonly Candidate[] {
  const left = previous?.memory.nextUrl;
  if (!reselect || left === undefined) return candidates;
  return candidates.map(({ name, url }) =>
    url === left ? { name, url, hangMsMax: sameWayMsMax } : { name, url },
  );
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? 'none' : pairs.join(',');
}
