// Which endpoints may serve a client, and which forwarders may carry it: the reference's match rules.
// The first match whose source selector accepts the client decides, unless it finds nothing and says `fallthrough`.
// Deviations, on purpose: a candidate that satisfies two routes is listed once (the reference lists it twice, which
// doubles its share); a template that cannot be rendered is refused with INVALID_ARGUMENT instead of being compared
// as `<no value>`. It is refused only where the choice comes to depend on it: matches behind the deciding one, and
// selectors that a plain entry refuses already, are not rendered. Weights are honoured, and labels of
// ours in a match's metadata are asked of no forwarder (docs/decisions/0014).
// Suppliers of ours (supplier.ts) are no candidates beside others. A client that gets nobody is matched once more
// against them alone, every match that picks none of them falling through, whether it says so or not.

import type { Match, NetworkServiceEndpoint } from './gen/registry_pb.ts';
import { accepts, type Labels, labelsFor, type Selector } from './labels.ts';
import { explainSelection, type SelectionExplanation } from './match-explanation.ts';
import {
  fallsThrough,
  type Narrow,
  partSuppliers,
  renderSelector,
  type SelectionInput,
  type SelectionRules,
  sourceAccepts,
} from './match-rules.ts';
import { isOurLabel } from './selection-policy.ts';

export type { SelectionInput } from './match-rules.ts';

/** Candidates that share one weight: those that one route picked, or all where nothing is weighted. */
export interface WeightedGroup {
  readonly weight: number;
  readonly candidates: readonly NetworkServiceEndpoint[];
}

/** Who was picked, route by route and in registry order within each, and by which match. */
export interface Selection {
  readonly candidates: readonly NetworkServiceEndpoint[];
  /** The same by route, in their order, where the deciding match weighs its routes, else in one group. */
  readonly groups: readonly WeightedGroup[];
  /** The deciding match, from 0; undefined where the service has none or none applied. */
  readonly matchIndex: number | undefined;
  /** Why it came out so, worked out only when asked for; past `namesMax` candidates are counted, not named. */
  explain(namesMax?: number): SelectionExplanation;
}

/** The endpoints that may serve the client. */
export function matchEndpoints(input: SelectionInput): Selection {
  const rules: SelectionRules = {
    ...input,
    labelsUnder: input.service.name,
    narrow: routesOf(input),
    weightsOf: routeWeights,
  };
  const parted = partSuppliers(rules);
  if (parted === undefined) return select(rules);
  const chosen = select(parted.servers);
  const found = chosen.candidates.length > 0 ? chosen : select(parted.suppliers);
  return { ...found, explain: (namesMax) => explainSelection(rules, namesMax) };
}

export interface ForwarderInput extends SelectionInput {
  /** The service under which forwarders register; `forwarder` unless configured. */
  readonly forwarderService: string;
}

/**
 * The forwarders that may carry the client's connection to the service. Routes play no part: the deciding match's
 * metadata labels do, and `p2p: true` where it has none.
 */
export function matchForwarders(input: ForwarderInput): Selection {
  return select({
    ...input,
    labelsUnder: input.forwarderService,
    narrow: forwarderLabels(input),
    weightsOf: () => undefined,
  });
}

function select(rules: SelectionRules): Selection {
  const explain = (namesMax?: number): SelectionExplanation => explainSelection(rules, namesMax);
  const { matches } = rules.service;
  if (matches.length === 0)
    return { ...inOneGroup(rules.candidates), matchIndex: undefined, explain };
  for (let matchIndex = 0; matchIndex < matches.length; matchIndex += 1) {
    const match = matches[matchIndex];
    if (match === undefined || !sourceAccepts(rules, match, matchIndex)) continue;
    const selectors = rules.narrow(match, matchIndex);
    const picked =
      selectors === undefined
        ? inOneGroup(rules.candidates)
        : pick(rules, selectors, rules.weightsOf(match));
    const found = { picked: picked.candidates.length, selectors };
    if (fallsThrough(rules, match, found)) continue;
    return { ...picked, matchIndex, explain };
  }
  return { ...inOneGroup([]), matchIndex: undefined, explain };
}

type Picked = Pick<Selection, 'candidates' | 'groups'>;

function inOneGroup(candidates: readonly NetworkServiceEndpoint[]): Picked {
  return { candidates, groups: [{ weight: 1, candidates }] };
}

/** Undefined where no route of the match names a weight; then every candidate has the same share. */
function routeWeights(match: Match): readonly number[] | undefined {
  if (match.routes.every(({ weight }) => weight === 0)) return undefined;
  return match.routes.map(({ weight }) => weight || 1);
}

function routesOf(input: SelectionInput): Narrow {
  return (match, matchIndex) => {
    // The reference takes every endpoint where a match says metadata but no routes.
    if (match.routes.length === 0 && match.metadata !== undefined) return undefined;
    return match.routes.map((route, index) =>
      renderSelector(route.destinationSelector, input.labels, {
        service: input.service.name,
        matchIndex,
        part: `routes[${index}].destination_selector`,
      }),
    );
  };
}

/** The reference's default where a match names no forwarder labels. */
const pointToPoint: Labels = { p2p: 'true' };

function forwarderLabels(input: SelectionInput): Narrow {
  return (match, matchIndex) => {
    const named = Object.entries(match.metadata?.labels ?? {}).filter(([key]) => !isOurLabel(key));
    const wanted = named.length === 0 ? pointToPoint : Object.fromEntries(named);
    return [
      renderSelector(wanted, input.labels, {
        service: input.service.name,
        matchIndex,
        part: 'metadata.labels',
      }),
    ];
  };
}

function pick(
  rules: SelectionRules,
  selectors: readonly Selector[],
  weights: readonly number[] | undefined,
): Picked {
  const picked: NetworkServiceEndpoint[] = [];
  const groups: WeightedGroup[] = [];
  const seen = selectors.length > 1 ? new Set<NetworkServiceEndpoint>() : undefined;
  for (const [route, selector] of selectors.entries()) {
    const from = picked.length;
    for (const candidate of rules.candidates) {
      if (seen?.has(candidate) === true) continue;
      if (!accepts(selector, labelsFor(candidate.networkServiceLabels, rules.labelsUnder)))
        continue;
      picked.push(candidate);
      seen?.add(candidate);
    }
    const weight = weights?.[route];
    if (weight !== undefined) groups.push({ weight, candidates: picked.slice(from) });
  }
  return weights === undefined ? inOneGroup(picked) : { candidates: picked, groups };
}
