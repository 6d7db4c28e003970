// Which Endpoints a Request may go to: the named one alone, or what the service's matches pick, in round robin.

import { NsmError } from '../../protocols/errors.ts';
import type { Candidate, HopRequest } from '../connection/hop.ts';
import type { Discovery } from '../discovery/discovery.ts';

export interface SelectionSetup {
  readonly name: string;
  readonly discovery: Discovery;
}

/** Candidates that are tried before the Request is refused. */
const candidatesTriedMax = 16;

export interface EndpointChoice {
  readonly candidates: readonly Candidate[];
  /** `IP` or `ETHERNET`, from the service unless the client named the Endpoint itself. */
  readonly payload: string;
}

export function endpointCandidates(
  setup: SelectionSetup,
  request: HopRequest,
): Promise<EndpointChoice> {
  return request.connection.networkServiceEndpointName === ''
    ? byService(setup, request)
    : byName(setup, request);
}

async function byName(setup: SelectionSetup, request: HopRequest): Promise<EndpointChoice> {
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

async function byService(setup: SelectionSetup, request: HopRequest): Promise<EndpointChoice> {
  const { connection, call } = request;
  const service = connection.networkService;
  const view = await setup.discovery.discover(service, call);
  const candidates = setup.discovery.selectEndpoints(view, connection.labels);
  if (candidates.length === 0) {
    throw new NsmError('NOT_FOUND', `no Endpoint of ${service} fits this client`, {
      hop: setup.name,
      rule: 'select-endpoint',
      expected:
        'an Endpoint that one of the matches of the service picks for the labels of the client',
      found: `${view.endpointCount} registered for the service, labels of the client: ${labelsText(connection.labels)}`,
      remedy: 'compare the matches of the service with the labels of its Endpoints',
      connectionId: connection.id,
    });
  }
  return {
    candidates: candidates.slice(0, candidatesTriedMax),
    payload: view.networkService.payload,
  };
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? 'none' : pairs.join(',');
}
