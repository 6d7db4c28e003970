// What would be chosen now for a client with certain labels, worked out from what a manager knows: by the rules that
// forwarders and managers choose by, without taking a turn of anybody.

import { workOutChoice } from '../../actors/discovery/remembered-choice.ts';
import { NsmError } from '../../protocols/errors.ts';
import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../protocols/nsm/gen/registry_pb.ts';
import type { Labels } from '../../protocols/nsm/labels.ts';
import { matchForwarders } from '../../protocols/nsm/match.ts';
import type { SelectionExplanation } from '../../protocols/nsm/match-explanation.ts';
import { nearestName } from '../commands/nearest-name.ts';
import type { DecisionView } from './decision-view.ts';

export interface MeshNow {
  readonly services: readonly NetworkService[];
  readonly endpoints: readonly NetworkServiceEndpoint[];
  /** Names of the forwarders of the manager that was asked; undefined where it does not tell. */
  readonly forwarders: ReadonlySet<string> | undefined;
  readonly forwarderService: string;
  readonly nowEpochMs: number;
}

export interface WouldBe {
  readonly service: string;
  readonly labels: Labels;
}

/** The forwarder first, then the Endpoint. Errors: NOT_FOUND with the nearest name of a service. */
export function wouldChoose(mesh: MeshNow, { service, labels }: WouldBe): readonly DecisionView[] {
  const entry = mesh.services.find(({ name }) => name === service);
  if (entry === undefined) throw unknownService(mesh.services, service);
  return [
    ...(mesh.forwarders === undefined ? [] : [wouldForward(mesh, entry, labels)]),
    wouldServe(mesh, entry, labels),
  ];
}

function wouldServe(mesh: MeshNow, service: NetworkService, labels: Labels): DecisionView {
  const ofService = mesh.endpoints.filter(({ networkServiceNames }) =>
    networkServiceNames.includes(service.name),
  );
  const isLive = ({ expirationTime }: NetworkServiceEndpoint): boolean =>
    expirationTime === undefined || timestampToEpochMs(expirationTime) > mesh.nowEpochMs;
  const expired = ofService.filter((each) => !isLive(each)).map(({ name }) => name);
  const choice = workOutChoice({ service, labels, endpoints: ofService.filter(isLive) });
  const { explanation, draining } = choice;
  const left = [
    ...draining.map((name) => ({ name, verdict: 'passedOver', reason: 'draining' })),
    ...expired.map((name) => ({ name, verdict: 'passedOver', reason: 'expired' })),
  ];
  const counted = { explanation, candidates: ofService.length };
  const view = viewOf('endpoint', { service, labels }, counted);
  const verdicts = [...servers(explanation), ...left, ...refused(explanation)];
  return { ...view, policy: choice.policy, policyFrom: choice.from, verdicts };
}

function wouldForward(mesh: MeshNow, service: NetworkService, labels: Labels): DecisionView {
  const { forwarderService } = mesh;
  const candidates = mesh.endpoints.filter(
    ({ name, networkServiceNames }) =>
      networkServiceNames.includes(forwarderService) && mesh.forwarders?.has(name) === true,
  );
  const selection = matchForwarders({ service, labels, candidates, forwarderService });
  const explanation = selection.explain();
  const counted = { explanation, candidates: candidates.length };
  const view = viewOf('forwarder', { service, labels }, counted);
  const verdicts = [...servers(explanation), ...refused(explanation)];
  return { ...view, policy: '', policyFrom: '', verdicts };
}

type Verdicts = DecisionView['verdicts'];

const servers = ({ picked }: SelectionExplanation): Verdicts =>
  picked.map((name) => ({ name, verdict: 'mayServe', reason: '' }));

const refused = (explanation: SelectionExplanation): Verdicts =>
  explanation.refused.map(({ name, reason }) => ({ name, verdict: 'refused', reason }));

function viewOf(
  kind: DecisionView['kind'],
  { service, labels }: { readonly service: NetworkService; readonly labels: Labels },
  counted: { readonly explanation: SelectionExplanation; readonly candidates: number },
): Omit<DecisionView, 'policy' | 'policyFrom' | 'verdicts'> {
  const { explanation, candidates } = counted;
  return {
    id: null,
    at: null,
    hop: null,
    kind,
    service: service.name,
    client: null,
    connectionIds: [],
    labels: { ...labels },
    reselect: false,
    turn: null,
    matches: explanation.matches.map(({ matchIndex, outcome, reason }) => ({
      match: matchIndex + 1,
      outcome,
      reason,
    })),
    candidates,
    unnamed: explanation.unnamed,
    taken: null,
    error: null,
  };
}

function unknownService(services: readonly NetworkService[], wanted: string): NsmError {
  const names = services.map(({ name }) => name);
  const near = nearestName(wanted, names);
  return new NsmError('NOT_FOUND', `there is no Network Service "${wanted}"`, {
    found: names.slice(0, 5).join(', ') || 'no services at all',
    remedy: near === undefined ? 'list them with "vwire get services"' : `did you mean ${near}?`,
  });
}
