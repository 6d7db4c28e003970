// What the matches of a service say for one set of labels, worked out once and used until the service or its Endpoints
// change: who may serve, in which groups, by which policy, and a bounded explanation for the record of each decision.
// Draining Endpoints are left out here and nowhere else, before the matches run, so that a match may fall through.

import type {
  NetworkService,
  NetworkServiceEndpoint,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { isDraining } from '../../protocols/nsm/draining.ts';
import type { Labels } from '../../protocols/nsm/labels.ts';
import { matchEndpoints } from '../../protocols/nsm/match.ts';
import type { SelectionExplanation } from '../../protocols/nsm/match-explanation.ts';
import { hashOf, type NamedGroup } from '../../protocols/nsm/selection-order.ts';
import { type PolicyChoice, policyOf } from '../../protocols/nsm/selection-policy.ts';

/** Candidates that an explanation names of each kind. */
const namesMax = 32;

export interface RememberedChoice extends PolicyChoice {
  readonly matchIndex: number | undefined;
  readonly groups: readonly NamedGroup[];
  readonly names: readonly string[];
  /** 0 to the last place in `names`. */
  readonly places: readonly number[];
  /** By place; undefined where nothing is weighted. A group's weight is shared by its names. */
  readonly weights: readonly number[] | undefined;
  /** By place. */
  readonly hashes: readonly number[];
  readonly explanation: SelectionExplanation;
  /** Bounded like the explanation. */
  readonly draining: readonly string[];
}

export interface ChoiceInput {
  readonly service: NetworkService;
  readonly labels: Labels;
  readonly endpoints: Iterable<NetworkServiceEndpoint>;
}

/** Errors: INVALID_ARGUMENT where a template of the service cannot be rendered. */
export function workOutChoice({ service, labels, endpoints }: ChoiceInput): RememberedChoice {
  const candidates: NetworkServiceEndpoint[] = [];
  const draining: string[] = [];
  for (const endpoint of endpoints) {
    if (!isDraining(endpoint)) candidates.push(endpoint);
    else if (draining.length < namesMax) draining.push(endpoint.name);
  }
  const selection = matchEndpoints({ service, labels, candidates });
  const { matchIndex } = selection;
  const match = matchIndex === undefined ? undefined : service.matches[matchIndex];
  const groups = selection.groups.map((group) => ({
    weight: group.weight,
    names: group.candidates.map(({ name }) => name),
  }));
  const names = groups.flatMap((group) => group.names);
  const policy = policyOf(service.name, match, selection.candidates);
  return {
    ...policy,
    matchIndex,
    groups,
    names,
    places: names.map((_, place) => place),
    weights: groups.length > 1 ? groups.flatMap(sharedWeights) : undefined,
    hashes: policy.policy === 'sticky' ? names.map(hashOf) : [],
    explanation: selection.explain(namesMax),
    draining,
  };
}

function sharedWeights({ weight, names }: NamedGroup): readonly number[] {
  return names.map(() => weight / names.length);
}
