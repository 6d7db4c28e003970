// The steps that choosing and explaining share: does a match apply to a client, and what do its selectors ask for once
// their templates are rendered. See match.ts for the rules and where they deviate from the reference.

import { NsmError } from '../errors.ts';
import type { Match, NetworkService, NetworkServiceEndpoint } from './gen/registry_pb.ts';
import { accepts, countLabels, type Labels, labelOf, type Selector } from './labels.ts';
import { isSupplier } from './supplier.ts';
import { isTemplate, renderTemplate } from './template.ts';

/** What a choice is made from. */
export interface SelectionInput {
  readonly service: NetworkService;
  /** The client's labels. */
  readonly labels: Labels;
  /** In registry order; those that have expired are left out by the caller. */
  readonly candidates: readonly NetworkServiceEndpoint[];
}

/** How one match narrows the candidates; undefined for all of them. */
export type Narrow = (match: Match, matchIndex: number) => readonly Selector[] | undefined;

/** The rules above with what differs between the two kinds of choice filled in. */
export interface SelectionRules extends SelectionInput {
  /** Under which service the candidates' labels are looked up. */
  readonly labelsUnder: string;
  readonly narrow: Narrow;
  /** Weights of the selectors that `narrow` gives for the match; undefined where it weighs nothing. */
  readonly weightsOf: (match: Match) => readonly number[] | undefined;
  /** Set where the candidates are suppliers alone: then a match that picks none falls through by itself. */
  readonly areSuppliers?: boolean;
}

/** The rules for those who serve and for suppliers; undefined where there are no suppliers. */
export function partSuppliers(
  rules: SelectionRules,
): { readonly servers: SelectionRules; readonly suppliers: SelectionRules } | undefined {
  const { name } = rules.service;
  const suppliers = rules.candidates.filter((each) => isSupplier(each, name));
  if (suppliers.length === 0) return undefined;
  const servers = rules.candidates.filter((each) => !suppliers.includes(each));
  return {
    servers: { ...rules, candidates: servers },
    suppliers: { ...rules, candidates: suppliers, areSuppliers: true },
  };
}

/** Whether the next match is to be tried. One that names no routes and falls through picks nobody. */
export function fallsThrough(
  rules: SelectionRules,
  match: Match,
  found: { readonly picked: number; readonly selectors: readonly Selector[] | undefined },
): boolean {
  if (match.fallthrough && found.selectors === undefined) return true;
  return found.picked === 0 && (match.fallthrough || rules.areSuppliers === true);
}

/** Whether the match applies to the client at all. */
export function sourceAccepts(rules: SelectionInput, match: Match, matchIndex: number): boolean {
  const where: Where = { service: rules.service.name, matchIndex, part: 'source_selector' };
  const { labels } = rules;
  const keys = Object.keys(match.sourceSelector);
  if (keys.length === 0) return true;
  if (countLabels(labels) < keys.length) return false;
  for (const key of keys) {
    const text = labelOf(match.sourceSelector, key);
    if (!isTemplate(text) && labelOf(labels, key) !== text) return false;
  }
  return accepts(renderSelector(match.sourceSelector, labels, where), labels);
}

/** Which selector, for errors. */
export interface Where {
  readonly service: string;
  readonly matchIndex: number;
  readonly part: string;
}

/** The selector with its templates rendered over the client's labels. Throws INVALID_ARGUMENT naming the place. */
export function renderSelector(selector: Labels, labels: Labels, where: Where): Selector {
  const entries = Object.keys(selector).map((key) => {
    const text = labelOf(selector, key);
    if (!isTemplate(text)) return { key, text, value: text };
    try {
      return { key, text, value: renderTemplate(text, labels) };
    } catch (thrown) {
      throw inSelector(thrown, key, where);
    }
  });
  return { entries };
}

function inSelector(thrown: unknown, key: string, where: Where): unknown {
  if (!(thrown instanceof NsmError)) return thrown;
  const place = `match ${where.matchIndex + 1} of service ${where.service}, ${where.part}, ${key}`;
  return new NsmError('INVALID_ARGUMENT', `${thrown.message} (in ${place})`, {
    ...thrown.details,
    rule: place,
    cause: thrown,
  });
}
