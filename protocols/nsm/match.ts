// Which endpoints may serve a client, and which forwarders may carry it: the reference's match rules.
// The first match whose source selector accepts the client decides, unless it finds nothing and says `fallthrough`.
// Deviations, on purpose: a candidate that satisfies two routes is listed once (the reference lists it twice, which
// doubles its share); a template that cannot be rendered is refused with INVALID_ARGUMENT instead of being compared
// as `<no value>`. It is refused only where the choice comes to depend on it: matches behind the deciding one, and
// selectors that a plain entry refuses already, are not rendered. Weights are not read, as in the reference.
// Suppliers of ours (supplier.ts) are no candidates beside others. A client that gets nobody is matched once more
// against them alone, every match that picks none of them falling through, whether it says so or not.

import type { NetworkServiceEndpoint } from './gen/registry_pb.ts';
import { accepts, countLabels, type Labels, labelsFor, type Selector } from './labels.ts';
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

export type { SelectionInput } from './match-rules.ts';

/** Who was picked, route by route and in registry order within each, and by which match. */
export interface Selection {
  readonly candidates: readonly NetworkServiceEndpoint[];
  /** The deciding match, from 0; undefined where the service has none or none applied. */
  readonly matchIndex: number | undefined;
  /** Why it came out so, worked out only when asked for. */
  explain(): SelectionExplanation;
}

/** The endpoints that may serve the client. */
export function matchEndpoints(input: SelectionInput): Selection {
  const rules = { ...input, labelsUnder: input.service.name, narrow: routesOf(input) };
  const parted = partSuppliers(rules);
  if (parted === undefined) return select(rules);
  const chosen = select(parted.servers);
  const found = chosen.candidates.length > 0 ? chosen : select(parted.suppliers);
  return { ...found, explain: () => explainSelection(rules) };
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
  return select({ ...input, labelsUnder: input.forwarderService, narrow: forwarderLabels(input) });
}

function select(rules: SelectionRules): Selection {
  const explain = (): SelectionExplanation => explainSelection(rules);
  const { matches } = rules.service;
  if (matches.length === 0) {
    return { candidates: rules.candidates, matchIndex: undefined, explain };
  }
  for (let matchIndex = 0; matchIndex < matches.length; matchIndex += 1) {
    const match = matches[matchIndex];
    if (match === undefined || !sourceAccepts(rules, match, matchIndex)) continue;
    const selectors = rules.narrow(match, matchIndex);
    const picked =
      selectors === undefined ? rules.candidates : pick(rules, selectors, rules.labelsUnder);
    if (fallsThrough(rules, match, { picked: picked.length, selectors })) continue;
    return { candidates: picked, matchIndex, explain };
  }
  return { candidates: [], matchIndex: undefined, explain };
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
    const named = match.metadata?.labels ?? {};
    const wanted = countLabels(named) === 0 ? pointToPoint : named;
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
  rules: SelectionInput,
  selectors: readonly Selector[],
  labelsUnder: string,
): readonly NetworkServiceEndpoint[] {
  const picked: NetworkServiceEndpoint[] = [];
  const seen = selectors.length > 1 ? new Set<NetworkServiceEndpoint>() : undefined;
  for (const selector of selectors) {
    for (const candidate of rules.candidates) {
      if (seen?.has(candidate) === true) continue;
      if (!accepts(selector, labelsFor(candidate.networkServiceLabels, labelsUnder))) continue;
      picked.push(candidate);
      seen?.add(candidate);
    }
  }
  return picked;
}
