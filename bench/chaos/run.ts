// `npm run chaos`: does to a mesh of real processes what happens to meshes, under 1,000 packets a second each way, and
// prints what it did to the packets. `--case name` (may be repeated) runs only those, `--rounds n` each so often,
// `--quick` a minute of it all, `--json` ends with one line for programs, `--write` renews docs/benchmarks.md.
// `--previous folder`, or VWIRE_PREVIOUS, is a compiled tree of the release to change from; without it the one in
// package.json is made from the history, and where there is none, the cases that need it are skipped.
// The exit code is 1 where a row misses its bound.

import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import { withSection } from '../document-section.ts';
import { machineOf } from '../report.ts';
import { allCases } from './cases/all.ts';
import { provideReleases } from './releases.ts';
import { chaosRemarks, chaosTable, isMet, type Row } from './row.ts';
import { quickCases, runChaos } from './run-chaos.ts';

const page = 'docs/benchmarks.md';
const section = 'Chaos';
const roundsDefault = 5;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function options() {
  const { values } = parseArgs({
    options: {
      case: { type: 'string', multiple: true },
      rounds: { type: 'string' },
      previous: { type: 'string' },
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      write: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds ?? (values.quick ? 1 : roundsDefault));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1_000) {
    throw new UsageError(`--rounds: expected 1 to 1000, found ${values.rounds}`);
  }
  const known = allCases.map(({ name }) => name);
  const unknown = values.case?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`no case ${unknown}; there are ${known.join(', ')}`);
  }
  const chosen = allCases.filter(({ name }) => values.case?.includes(name) ?? true);
  return { ...values, rounds, cases: values.quick ? quickCases(chosen) : chosen };
}

class UsageError extends Error {}

function documentOf(machine: string, rows: readonly Row[]): string {
  const date = new Date().toISOString().slice(0, 10);
  const remarks = chaosRemarks(rows).map((remark) => `- ${remark}`);
  return `
Written by \`npm run chaos -- --write\` on ${date}: real processes in namespaces, and a probe of 1,000 numbered packets a
second on every wire, each of which the Endpoint's side answers with a number of its own, while the fault happens. A
round counts only if its control run of equal length without the fault lost nothing. Pairs are median and worst over
the wires of ${rows[0]?.rounds ?? 0} rounds. *Longest gap*: packets lost in a row; *flows again*: from the fault to
the first answer after the last lost packet; *all well again*: until every client is content and new wires can be made. *Interface*: index,
name, MAC and addresses of the client's end.

Machine: ${machine}.

${chaosTable(rows)}
${remarks.length === 0 ? '' : `\n${remarks.join('\n')}\n`}`;
}

async function main(): Promise<number> {
  const { cases, rounds, quick, json, write, previous } = options();
  const reason = whyNoNamespaces();
  if (reason !== undefined) {
    say(`chaos needs network namespaces: ${reason}`);
    return 1;
  }
  const machine = machineOf();
  const interrupted = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      say(`${signal}: ending everything`);
      interrupted.abort(new Error(signal));
    });
  }
  const releases = await provideReleases({
    needs: new Set(cases.flatMap((each) => each.releases ?? [])),
    repository: process.cwd(),
    previousDir: previous ?? process.env['VWIRE_PREVIOUS'],
    progress: say,
  });
  const { whyNoPrevious } = releases;
  const left = cases.filter(
    ({ releases: needed = [] }) => whyNoPrevious === undefined || !needed.includes('previous'),
  );
  for (const { name } of cases.filter((each) => !left.includes(each))) {
    say(`${name} is skipped: ${whyNoPrevious}`);
  }
  const rows = await runChaos({
    cases: left,
    rounds,
    sharesStages: quick,
    otherReleases: releases.others,
    progress: say,
    signal: interrupted.signal,
  }).finally(() => releases.end());
  process.stdout.write(`\n${machine}\n\n${chaosTable(rows)}\n`);
  for (const remark of chaosRemarks(rows)) process.stdout.write(`${remark}\n`);
  if (json) process.stdout.write(`${JSON.stringify(rows)}\n`);
  if (write) {
    await writeFile(
      page,
      withSection(await readFile(page, 'utf8'), section, documentOf(machine, rows)),
    );
    say(`${page} written`);
  }
  return rows.every(isMet) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = error instanceof UsageError ? 64 : 1;
}
