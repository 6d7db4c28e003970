// What a soak found, for people: operations, kills, what is left over by kind, what was lost, what has grown, and
// whether that is within the bounds. Pure.

import type { Growth, SoakResult } from './run-soak.ts';

const heapGrowthMax = 0.1;

/** Of what is left over, by the line that tells of it; the first that fits. */
const orphanKinds: readonly (readonly [string, RegExp])[] = [
  ['registry entries', /^registry entry /],
  ['interfaces of workloads', /^interface /],
  ['links in the nodes, tunnels included', /^\S+ link |^link /],
  ['filter tables and entries', /^\S+ table /],
  ['connections', /^connection /],
  ['quarantined wires', /^quarantined /],
  ['address leases', /^lease /],
  ['processes', /^process /],
  ['namespaces held', /^namespace /],
  ['files', /^path /],
  ['others', /^/],
];

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
  const { seed, counts, refusals, growth, warmUp, seconds } = result;
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const findings = findingsOf(result);
  const isTrouble = ([name]: readonly [string, number]): boolean => /^(kill|damage) /.test(name);
  const all = Object.entries(counts);
  return [
    `${total} random operations (seed ${seed}) in ${seconds.toFixed(0)} s, each of three phases followed by quiet.`,
    '',
    `- Operations: ${listOf(all.filter((each) => !isTrouble(each)))}.`,
    `- Kills and damage: ${listOf(all.filter(isTrouble)) || 'none'}.`,
    `- Left over: ${orphansOf(result.orphans)}.`,
    `- Wires lost or not the same that nobody had broken: ${result.broken.length}.`,
    `- Refused while something was down: ${listOf(byCode(refusals)) || 'none'}.`,
    '',
    ...(findings.length === 0 ? [] : [...findings.map((each) => `- MISSED: ${each}`), '']),
    `Before: quiet after the first ${warmUp} operations; after: quiet after the second phase, in the same processes.`,
    'Both after a forced collection. Code is what functions were compiled to. The slope is that of the line that fits resident memory best.',
    '',
    '| part | heap before | heap after | growth | of it code | timers | descriptors | resident memory | slope per 1,000 operations |',
    '|---|---|---|---|---|---|---|---|---|',
    ...growth.map(rowOf),
  ].join('\n');
}

/** `create: UNAVAILABLE: what was said` and others like it as one `create: UNAVAILABLE`. */
function byCode(refusals: SoakResult['refusals']): readonly (readonly [string, number])[] {
  const sums = new Map<string, number>();
  for (const [what, count] of Object.entries(refusals)) {
    const key = what.split(': ', 2).join(': ');
    sums.set(key, (sums.get(key) ?? 0) + count);
  }
  return [...sums];
}

function rowOf({ part, before, after, slope }: Growth): string {
  const cells = [
    part,
    megabytes(before.heapUsed),
    megabytes(after.heapUsed),
    percent(after.heapUsed / before.heapUsed - 1),
    percent((after.code - before.code) / before.heapUsed),
    `${before.timers}, ${after.timers}`,
    `${before.descriptors}, ${after.descriptors}`,
    `${megabytes(before.rss)}, ${megabytes(after.rss)}`,
    megabytes(slope),
  ];
  return `| ${cells.join(' | ')} |`;
}

function orphansOf(orphans: readonly string[]): string {
  const kindOf = (line: string): string => orphanKinds.find(([, is]) => is.test(line))?.[0] ?? '';
  return orphanKinds
    .map(([kind]) => `${orphans.filter((line) => kindOf(line) === kind).length} ${kind}`)
    .join(', ');
}

function listOf(counts: readonly (readonly [string, number])[]): string {
  return counts
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `${count} ${name}`)
    .join(', ');
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;
const megabytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2)} MB`;
