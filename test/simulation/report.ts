// How the simulation speaks to people: one failure with all that is needed to see it again, and the sum of a batch.

import type { SeedFailure, SeedsReport } from './seeds.ts';

export function failureText({ seed, failure, shape, operations, tail }: SeedFailure): string {
  return [
    `seed ${seed} failed at ${(failure.atMs / 1000).toFixed(3)} s of virtual time`,
    `  invariant: ${failure.invariant}`,
    `  found:     ${failure.what}`,
    `  replay:    npm run sim -- --seed ${seed} -v`,
    `  shape:     ${JSON.stringify(shape)}`,
    `  operations that are needed (${operations.length}):`,
    ...operations.map((each) => `    ${JSON.stringify(each)}`),
    '  the end of its trace:',
    ...tail.slice(-25).map((line) => `    ${line.slice(0, 300)}`),
  ].join('\n');
}

export function sumOf(reports: readonly SeedsReport[], wallMs: number): string {
  const total = (of: (report: SeedsReport) => number): number =>
    reports.reduce((sum, each) => sum + of(each), 0);
  const count = total((each) => each.count);
  const failures = reports.flatMap((each) => each.failures);
  const virtualMs = total((each) => each.virtualMs);
  const realMs = total((each) => each.realMs);
  const perInvariant = new Map<string, number[]>();
  for (const { seed, failure } of failures) {
    perInvariant.set(failure.invariant, [...(perInvariant.get(failure.invariant) ?? []), seed]);
  }
  return [
    `${count} seeds, ${total((each) => each.ranTwice)} of them twice, in ${(wallMs / 1000).toFixed(1)} s`,
    `ranges: ${rangesOf(reports)}`,
    `${(virtualMs / 3_600_000).toFixed(1)} h of virtual time, ${Math.round(virtualMs / realMs)} times as fast as real time per core, ` +
      `${(realMs / Math.max(1, count)).toFixed(0)} ms per seed, slowest ${Math.max(...reports.map((each) => each.slowestMs)).toFixed(0)} ms`,
    `${failures.length} failures`,
    ...[...perInvariant].map(
      ([name, seeds]) => `  ${seeds.length} x ${name}: seeds ${seeds.join(', ')}`,
    ),
  ].join('\n');
}

function rangesOf(reports: readonly SeedsReport[]): string {
  const ranges = reports
    .filter(({ count }) => count > 0)
    .map(({ from, count }) => ({ from, to: from + count - 1 }))
    .toSorted((left, right) => left.from - right.from);
  const joined: { from: number; to: number }[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && last.to + 1 === range.from) last.to = range.to;
    else joined.push({ ...range });
  }
  return joined.map(({ from, to }) => `${from} to ${to}`).join(', ');
}
