// Why a choice of endpoints or forwarders came out as it did, in words: what `vwire why` shows and what a refusal's
// details name. Worked out again from the same inputs, so that choosing itself pays nothing for it.

import { describeError } from '../errors.ts';
import type { Match } from './gen/registry_pb.ts';
import { accepts, labelsFor, type Selector, whyRefused } from './labels.ts';
import {
  fallsThrough,
  partSuppliers,
  renderSelector,
  type SelectionRules,
  sourceAccepts,
} from './match-rules.ts';

/** What became of one match. */
export interface MatchOutcome {
  /** From 0. */
  readonly matchIndex: number;
  readonly outcome: 'decided' | 'skipped' | 'fellThrough' | 'notReached' | 'failed';
  readonly reason: string;
}

/** Why one candidate was not picked. */
export interface RefusedCandidate {
  readonly name: string;
  readonly reason: string;
}

export interface SelectionExplanation {
  readonly service: string;
  readonly summary: string;
  readonly matches: readonly MatchOutcome[];
  readonly picked: readonly string[];
  readonly refused: readonly RefusedCandidate[];
  /** Candidates that are in neither list, since there were too many to name. */
  readonly unnamed: number;
}

/** Runs the rules once more and says at each step what happened; a template that fails becomes part of the answer. */
export function explainSelection(
  rules: SelectionRules,
  namesMax = Number.POSITIVE_INFINITY,
): SelectionExplanation {
  const parted = rules.areSuppliers === undefined ? partSuppliers(rules) : undefined;
  if (parted === undefined) return explainAmong(rules, namesMax);
  const servers = explainAmong(parted.servers, namesMax);
  const waiting = parted.suppliers.candidates.slice(0, namesMax).map(({ name }) => name);
  if (servers.picked.length > 0) {
    const left = waiting.map((name) => ({ name, reason: 'it is a supplier, and others serve' }));
    return { ...servers, refused: [...servers.refused, ...left] };
  }
  const suppliers = explainAmong(parted.suppliers, namesMax);
  const summary = `nobody serves the client (${servers.summary}); among suppliers: ${suppliers.summary}`;
  return { ...suppliers, summary, refused: [...servers.refused, ...suppliers.refused] };
}

function explainAmong(rules: SelectionRules, namesMax: number): SelectionExplanation {
  const service = rules.service.name;
  const everybody = rules.candidates.slice(0, namesMax).map(({ name }) => name);
  const unnamed = rules.candidates.length - everybody.length;
  if (rules.service.matches.length === 0) {
    const summary = 'the service has no matches, so every candidate may serve';
    return { service, summary, matches: [], picked: everybody, refused: [], unnamed };
  }
  const outcomes: MatchOutcome[] = [];
  let deciding: { matchIndex: number; verdict: Verdict } | undefined;
  for (const [matchIndex, match] of rules.service.matches.entries()) {
    if (deciding !== undefined) {
      outcomes.push({ matchIndex, outcome: 'notReached', reason: 'an earlier match decided' });
      continue;
    }
    const verdict = judgeMatch(rules, match, { matchIndex, namesMax });
    outcomes.push({ matchIndex, outcome: verdict.outcome, reason: verdict.reason });
    if (verdict.outcome === 'decided' || verdict.outcome === 'failed') {
      deciding = { matchIndex, verdict };
    }
  }
  if (deciding === undefined) {
    const refused = everybody.map((name) => ({ name, reason: 'no match of the service decided' }));
    const summary = 'no match of the service applies to the client, so nobody may serve';
    return { service, summary, matches: outcomes, picked: [], refused, unnamed };
  }
  const { picked, refused } = deciding.verdict;
  const summary = `match ${deciding.matchIndex + 1} ${deciding.verdict.outcome}: ${deciding.verdict.reason}`;
  const named = picked.length + refused.length;
  return {
    service,
    summary,
    matches: outcomes,
    picked,
    refused,
    unnamed: rules.candidates.length - named,
  };
}

interface Verdict {
  readonly outcome: 'decided' | 'skipped' | 'fellThrough' | 'failed';
  readonly reason: string;
  readonly picked: readonly string[];
  readonly refused: readonly RefusedCandidate[];
}

interface Judging {
  readonly matchIndex: number;
  readonly namesMax: number;
}

function judgeMatch(rules: SelectionRules, match: Match, judging: Judging): Verdict {
  const { matchIndex, namesMax } = judging;
  try {
    if (!sourceAccepts(rules, match, matchIndex)) {
      const reason = whySourceRefused(rules, match, matchIndex);
      return { outcome: 'skipped', reason, picked: [], refused: [] };
    }
    return judgeCandidates(rules, match, { selectors: rules.narrow(match, matchIndex), namesMax });
  } catch (thrown) {
    return { outcome: 'failed', reason: describeError(thrown), picked: [], refused: [] };
  }
}

function whySourceRefused(rules: SelectionRules, match: Match, matchIndex: number): string {
  const plain = {
    entries: Object.entries(match.sourceSelector)
      .filter(([, text]) => !text.includes('{{'))
      .map(([key, text]) => ({ key, text, value: text })),
  };
  const byPlainEntry = whyRefused(plain, rules.labels);
  const size = Object.keys(match.sourceSelector).length;
  if (byPlainEntry !== undefined) return `client: ${byPlainEntry}`;
  if (Object.keys(rules.labels).length < size) {
    return `client: the source selector has ${size} entries, more than the client has labels`;
  }
  const where = { service: rules.service.name, matchIndex, part: 'source_selector' };
  const rendered = renderSelector(match.sourceSelector, rules.labels, where);
  return `client: ${whyRefused(rendered, rules.labels) ?? 'accepted'}`;
}

function judgeCandidates(
  rules: SelectionRules,
  match: Match,
  {
    selectors,
    namesMax,
  }: { readonly selectors: readonly Selector[] | undefined; readonly namesMax: number },
): Verdict {
  if (selectors === undefined) {
    const reason = 'the match names no routes';
    const picked = rules.candidates.slice(0, namesMax).map(({ name }) => name);
    return match.fallthrough
      ? { outcome: 'fellThrough', reason, picked: [], refused: [] }
      : { outcome: 'decided', reason, picked, refused: [] };
  }
  const picked: string[] = [];
  const refused: RefusedCandidate[] = [];
  let accepted = 0;
  for (const candidate of rules.candidates) {
    const labels = labelsFor(candidate.networkServiceLabels, rules.labelsUnder);
    if (selectors.some((selector) => accepts(selector, labels))) {
      accepted += 1;
      if (picked.length < namesMax) picked.push(candidate.name);
    } else if (refused.length < namesMax) {
      const reasons = selectors.map((selector) => whyRefused(selector, labels) ?? 'accepted');
      refused.push({ name: candidate.name, reason: reasonOf(reasons) });
    }
  }
  const reason = `${accepted} of ${rules.candidates.length} candidates are accepted`;
  const found = { picked: accepted, selectors };
  const outcome = fallsThrough(rules, match, found) ? 'fellThrough' : 'decided';
  return { outcome, reason, picked, refused };
}

function reasonOf(reasons: readonly string[]): string {
  return reasons.length === 0 ? 'the match has neither routes nor metadata' : reasons.join('; ');
}
