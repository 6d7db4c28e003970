// Why a choice of endpoints or forwarders came out as it did, in words: what `vwire why` shows and what a refusal's
// details name. Worked out again from the same inputs, so that choosing itself pays nothing for it.

import { describeError } from '../errors.ts';
import type { Match } from './gen/registry_pb.ts';
import { labelsFor, type Selector, whyRefused } from './labels.ts';
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
}

/** Runs the rules once more and says at each step what happened; a template that fails becomes part of the answer. */
export function explainSelection(rules: SelectionRules): SelectionExplanation {
  const parted = rules.areSuppliers === undefined ? partSuppliers(rules) : undefined;
  if (parted === undefined) return explainAmong(rules);
  const servers = explainAmong(parted.servers);
  const waiting = parted.suppliers.candidates.map(({ name }) => name);
  if (servers.picked.length > 0) {
    const left = waiting.map((name) => ({ name, reason: 'it is a supplier, and others serve' }));
    return { ...servers, refused: [...servers.refused, ...left] };
  }
  const suppliers = explainAmong(parted.suppliers);
  const summary = `nobody serves the client (${servers.summary}); among suppliers: ${suppliers.summary}`;
  return { ...suppliers, summary, refused: [...servers.refused, ...suppliers.refused] };
}

function explainAmong(rules: SelectionRules): SelectionExplanation {
  const service = rules.service.name;
  const everybody = rules.candidates.map(({ name }) => name);
  if (rules.service.matches.length === 0) {
    const summary = 'the service has no matches, so every candidate may serve';
    return { service, summary, matches: [], picked: everybody, refused: [] };
  }
  const outcomes: MatchOutcome[] = [];
  let deciding: { matchIndex: number; verdict: Verdict } | undefined;
  for (const [matchIndex, match] of rules.service.matches.entries()) {
    if (deciding !== undefined) {
      outcomes.push({ matchIndex, outcome: 'notReached', reason: 'an earlier match decided' });
      continue;
    }
    const verdict = judgeMatch(rules, match, matchIndex);
    outcomes.push({ matchIndex, outcome: verdict.outcome, reason: verdict.reason });
    if (verdict.outcome === 'decided' || verdict.outcome === 'failed') {
      deciding = { matchIndex, verdict };
    }
  }
  if (deciding === undefined) {
    const refused = everybody.map((name) => ({ name, reason: 'no match of the service decided' }));
    const summary = 'no match of the service applies to the client, so nobody may serve';
    return { service, summary, matches: outcomes, picked: [], refused };
  }
  const { picked, refused } = deciding.verdict;
  const summary = `match ${deciding.matchIndex + 1} ${deciding.verdict.outcome}: ${deciding.verdict.reason}`;
  return { service, summary, matches: outcomes, picked, refused };
}

interface Verdict {
  readonly outcome: 'decided' | 'skipped' | 'fellThrough' | 'failed';
  readonly reason: string;
  readonly picked: readonly string[];
  readonly refused: readonly RefusedCandidate[];
}

function judgeMatch(rules: SelectionRules, match: Match, matchIndex: number): Verdict {
  try {
    if (!sourceAccepts(rules, match, matchIndex)) {
      const reason = whySourceRefused(rules, match, matchIndex);
      return { outcome: 'skipped', reason, picked: [], refused: [] };
    }
    return judgeCandidates(rules, match, rules.narrow(match, matchIndex));
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
  selectors: readonly Selector[] | undefined,
): Verdict {
  const everybody = rules.candidates.map(({ name }) => name);
  if (selectors === undefined) {
    const reason = 'the match names no routes';
    return match.fallthrough
      ? { outcome: 'fellThrough', reason, picked: [], refused: [] }
      : { outcome: 'decided', reason, picked: everybody, refused: [] };
  }
  const picked: string[] = [];
  const refused: RefusedCandidate[] = [];
  for (const candidate of rules.candidates) {
    const labels = labelsFor(candidate.networkServiceLabels, rules.labelsUnder);
    const reasons = selectors.map((selector) => whyRefused(selector, labels));
    if (reasons.includes(undefined)) picked.push(candidate.name);
    else refused.push({ name: candidate.name, reason: reasonOf(reasons) });
  }
  const reason = `${picked.length} of ${everybody.length} candidates are accepted`;
  const found = { picked: picked.length, selectors };
  const outcome = fallsThrough(rules, match, found) ? 'fellThrough' : 'decided';
  return { outcome, reason, picked, refused };
}

function reasonOf(reasons: readonly (string | undefined)[]): string {
  return reasons.length === 0 ? 'the match has neither routes nor metadata' : reasons.join('; ');
}
