// What a soak found, for people: counts, what is left over, what was lost, what has grown, and whether that is within
// the bounds. Pure.

import type { Growth, SoakResult } from './run-soak.ts';

const heapGrowthMax = 0.1;

/** Everything that is not as promised; empty where the soak is passed. */
export function findingsOf(result: SoakResult): readonly string[] {
  return [
    ...result.orphans.map((each) => `left over: ${each}`),
    ...result.broken.map((each) => `broken: ${each}`),
    ...result.growth.flatMap(grownOf),
  ];
}

function grownOf({ part, before, after }: Growth): readonly string[] {
  const grown: string[] = [];
  const heap = after.heapUsed / before.heapUsed - 1;
  if (heap > heapGrowthMax) grown.push(`${part}: heap grew by ${percent(heap)}`);
  if (after.timers > before.timers) {
    grown.push(`${part}: ${after.timers} timers, ${before.timers} before`);
  }
  if (after.descriptors > before.descriptors) {
    grown.push(`${part}: ${after.descriptors} descriptors, ${before.descriptors} before`);
  }
  return grown;
}

export function soakReport(result: SoakResult): string {
  const { seed, counts, refusals, growth, seconds } = result;
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const findings = findingsOf(result);
  return [
    `${total} random operations (seed ${seed}) in ${seconds.toFixed(0)} s, each phase followed by quiet:`,
    `${listOf(counts)}.`,
    '',
    findings.length === 0
      ? 'Left over: nothing. No wire was lost that nobody had broken. Nothing has grown beyond its bound.'
      : findings.map((each) => `- ${each}`).join('\n'),
    '',
    '| part | heap before | heap after | timers | descriptors | resident memory, slope |',
    '|---|---|---|---|---|---|',
    ...growth.map(
      ({ part, before, after, slope }) =>
        `| ${part} | ${megabytes(before.heapUsed)} | ${megabytes(after.heapUsed)} | ${before.timers}, ${after.timers} | ${before.descriptors}, ${after.descriptors} | ${megabytes(slope)} per 1,000 operations |`,
    ),
    '',
    Object.keys(refusals).length === 0
      ? 'No operation was refused.'
      : `Operations that failed while something was down: ${listOf(refusals)}.`,
  ].join('\n');
}

function listOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2)} MB`;
