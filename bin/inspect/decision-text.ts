// A choice told to a person: who was chosen for whom and by which policy, what each match said, and a table of the
// candidates with what spoke for or against each.

import { type Colour, createPaint, type Paint } from '../output/colours.ts';
import { formatTable, printable } from '../output/table.ts';
import type { DecisionView, WhyView } from './decision-view.ts';

export function whyText({ decisions, unheard }: WhyView, paint = stdoutPaint()): string {
  const texts = decisions.map((each) => decisionText(each, paint));
  const silent = unheard.map((each) => `not heard from ${printable(each)}\n`);
  return [...texts, ...silent].join('\n');
}

const stdoutPaint = (): Paint => createPaint(process.stdout, process.env);

const kindNames = { endpoint: 'Endpoint', forwarder: 'forwarder' } as const;

/** As people read them, by the word of the protocol. */
const verdictTexts: Readonly<Record<string, string>> = {
  taken: 'taken',
  mayServe: 'may serve',
  failed: 'failed',
  inReserve: 'in reserve',
  passedOver: 'passed over',
  refused: 'refused',
};

const outcomeTexts: Readonly<Record<string, string>> = {
  decided: 'decided',
  skipped: 'does not apply',
  fellThrough: 'fell through',
  notReached: 'not reached',
  failed: 'failed',
};

function decisionText(decision: DecisionView, paint: Paint): string {
  const facts = factsOf(decision);
  const width = Math.max(...facts.map(([name]) => name.length));
  const lines = facts.map(([name, value]) => `  ${name.padEnd(width)}  ${printable(value)}\n`);
  const table = formatTable(
    decision.verdicts,
    [
      { title: decision.kind === 'endpoint' ? 'ENDPOINT' : 'FORWARDER', cell: ({ name }) => name },
      { title: 'VERDICT', cell: ({ verdict }) => verdictTexts[verdict] ?? verdict },
      { title: 'WHY', cell: ({ reason }) => reason || undefined },
    ],
    paint,
  );
  const more = decision.unnamed === 0 ? '' : `and ${decision.unnamed} more that are not named\n`;
  return `${title(decision, paint)}\n${lines.join('')}\n${table}${more}`;
}

function title({ kind, service, taken, error, id }: DecisionView, paint: Paint): string {
  const what = `${kindNames[kind]} for ${printable(service)}`;
  const colour: Colour = error === null ? 'green' : 'red';
  if (id === null) return paint('bold', `${what}, as it would be chosen now`);
  if (taken === null) return paint(colour, `${what}: ${error === null ? 'still open' : 'refused'}`);
  return `${paint('bold', what)}: ${paint(colour, printable(taken))}`;
}

function factsOf(view: DecisionView): readonly (readonly [string, string])[] {
  const { id, hop, at, client, connectionIds, policy, policyFrom, turn, error } = view;
  const [connectionId] = connectionIds;
  const facts: (readonly [string, string])[] = [];
  if (id !== null) facts.push(['decision', `${id} by ${hop ?? '-'} at ${at ?? '-'}`]);
  if (client !== null) {
    const again = view.reselect ? ', which asked for another Endpoint' : '';
    facts.push(['client', `${client}, connection ${connectionId ?? '-'}${again}`]);
  }
  facts.push(['labels', labelsText(view.labels)]);
  if (policy !== '') {
    const turnText = turn === null ? '' : `, choice ${turn} of its match`;
    facts.push(['policy', `${policy} (${policyFrom})${turnText}`]);
  }
  facts.push(['candidates', String(view.candidates)]);
  facts.push(...matchFacts(view));
  if (error !== null) facts.push(['refused', error]);
  return facts;
}

function matchFacts({ matches }: DecisionView): readonly (readonly [string, string])[] {
  if (matches.length === 0) return [['matches', 'the service has none: every candidate may serve']];
  return matches.map(({ match, outcome, reason }, index) => [
    index === 0 ? 'matches' : '',
    `${match} ${outcomeTexts[outcome] ?? outcome}: ${reason}`,
  ]);
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return pairs.join(', ') || 'none';
}
