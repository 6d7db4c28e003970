// One row of the chaos table: the rounds of a case, median and worst, held against the case's bound. Pure.

import { median } from '../figure.ts';
import type { Bound } from './case.ts';
import type { CaseOutcome } from './run-case.ts';
import { lostOf, type WireOutcome } from './round.ts';

export interface Spread {
  readonly median: number;
  readonly worst: number;
}

export interface Row {
  readonly name: string;
  readonly title: string;
  readonly rounds: number;
  readonly packets: number;
  /** Of one wire in one round. */
  readonly lostThere: Spread;
  readonly lostBack: Spread;
  readonly duplicated: number;
  readonly longestMs: Spread;
  readonly restoredMs: Spread;
  readonly recoveryMs: Spread;
  readonly changed: readonly string[];
  readonly lostAddresses: readonly string[];
  readonly newAddresses: readonly string[];
  readonly leftovers: readonly string[];
  readonly broken: readonly string[];
  readonly bound: string;
  /** What the bound does not allow, however slow the machine: losses, changes, leftovers. */
  readonly wrong: readonly string[];
  /** Times that are over the bound. */
  readonly late: readonly string[];
}

export function rowOf({ chaos, rounds, leftovers, broken }: CaseOutcome): Row {
  const wires = rounds.flatMap((round) => round.wires);
  const spread = (of: (wire: WireOutcome) => number): Spread => spreadOf(wires.map(of));
  const row = {
    name: chaos.name,
    title: chaos.title,
    rounds: rounds.length,
    packets: wires.reduce((sum, { sent }) => sum + sent, 0),
    lostThere: spread(({ lostThere }) => lostThere),
    lostBack: spread(({ lostBack }) => lostBack),
    duplicated: wires.reduce((sum, { duplicated }) => sum + duplicated, 0),
    longestMs: spread(({ longestMs }) => longestMs),
    restoredMs: spread(({ restoredMs }) => restoredMs),
    recoveryMs: spreadOf(rounds.map(({ recoveryMs }) => recoveryMs)),
    changed: [...new Set(wires.flatMap(({ changed }) => changed))],
    lostAddresses: wires.flatMap((wire) => wire.lostAddresses),
    newAddresses: wires.flatMap((wire) => wire.newAddresses),
    leftovers,
    broken,
    bound: boundText(chaos.bound),
  };
  return { ...row, wrong: wrongOf(chaos.bound, row, wires), late: lateOf(chaos.bound, row) };
}

function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), worst: Math.max(...values) };
}

function boundText({ lost, restored, wellAgain }: Bound): string {
  if (wellAgain !== undefined) return `well again in ${wellAgain} ms`;
  if (restored === undefined) return `${lost ?? 0} lost`;
  const middle = restored.median === undefined ? '' : `, median ${restored.median} ms`;
  return `flows again in ${restored.worst} ms${middle}`;
}

type Measured = Omit<Row, 'wrong' | 'late'>;

function wrongOf(bound: Bound, row: Measured, wires: readonly WireOutcome[]): readonly string[] {
  const changed = row.changed.filter(
    (each) => !(bound.interfaceMayBeNew === true && each.startsWith('ifindex ')),
  );
  const wrong = [...row.broken.slice(0, 1), ...changed];
  const lost = Math.max(0, ...wires.map(lostOf));
  if (bound.lost !== undefined && lost > bound.lost) wrong.push(`${lost} packets lost`);
  if (row.duplicated > 0) wrong.push(`${row.duplicated} packets arrived twice`);
  if (bound.addressesMayChange !== true) {
    wrong.push(...row.lostAddresses.map((each) => `address ${each} lost`));
    wrong.push(...row.newAddresses.map((each) => `address ${each} added`));
  }
  if (row.leftovers.length > 0) wrong.push(`left over: ${row.leftovers.length}`);
  return wrong;
}

function lateOf(
  { restored, wellAgain }: Bound,
  { restoredMs, recoveryMs }: Measured,
): readonly string[] {
  const isOver = (found: number, most: number | undefined): boolean =>
    most !== undefined && found > most;
  const late: string[] = [];
  if (isOver(restoredMs.worst, restored?.worst)) {
    late.push(`flows again after ${restoredMs.worst.toFixed(0)} ms at the worst`);
  }
  if (isOver(restoredMs.median, restored?.median)) {
    late.push(`flows again after ${restoredMs.median.toFixed(0)} ms in the median`);
  }
  if (isOver(recoveryMs.worst, wellAgain)) {
    late.push(`well again after ${recoveryMs.worst.toFixed(0)} ms at the worst`);
  }
  return late;
}

export const isMet = ({ wrong, late }: Row): boolean => wrong.length + late.length === 0;

const columns = [
  'case',
  'lost to Endpoint',
  'lost to client',
  'longest gap ms',
  'flows again ms',
  'all well again ms',
  'interface',
  'left over',
  'bound',
  '',
] as const;

export function chaosTable(rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.title,
    pair(row.lostThere),
    pair(row.lostBack),
    pair(row.longestMs),
    pair(row.restoredMs),
    pair(row.recoveryMs),
    row.changed.join(', ') || addressText(row),
    row.leftovers.length === 0 ? 'nothing' : String(row.leftovers.length),
    row.bound,
    isMet(row) ? 'met' : 'MISSED',
  ]);
  const all: readonly (readonly string[])[] = [columns, ...cells];
  const widths = columns.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [line(columns), rule, ...cells.map(line)].join('\n');
}

function addressText({ lostAddresses, newAddresses }: Row): string {
  if (lostAddresses.length > 0) return 'other addresses';
  return newAddresses.length > 0 ? 'the same, more addresses' : 'the same';
}

/** Median and worst. */
function pair({ median: middle, worst }: Spread): string {
  if (!Number.isFinite(worst)) return '-';
  return `${middle.toFixed(0)} / ${worst.toFixed(0)}`;
}

const leftoversNamedMax = 5;

/** One line for every row that missed its bound, and what was left over. */
export function chaosRemarks(rows: readonly Row[]): readonly string[] {
  return rows.flatMap((row) => {
    const { name, wrong, late, leftovers } = row;
    const left = leftovers.slice(0, leftoversNamedMax).join('; ');
    return [
      ...(isMet(row) ? [] : [`${name} missed its bound: ${[...wrong, ...late].join('; ')}`]),
      ...(left === '' ? [] : [`${name} left over: ${left}`]),
    ];
  });
}
