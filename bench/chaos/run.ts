// `npm run chaos`: does to a mesh of real processes what happens to meshes, under 1,000 packets a second each way, and
// prints what it did to the packets.

import { readFile, writeFile } from 'node:fs/promises';
import { whyNoNamespaces } from '../../test/sandbox/namespaces.ts';
import { integerOf, runCommand, UsageError } from '../command-line.ts';
import { withSection } from '../document-section.ts';
import { machineOf } from '../report.ts';
import type { ChaosCase } from './case.ts';
import { allCases } from './cases/all.ts';
import { provideReleases } from './releases.ts';
import { chaosRemarks, chaosTable, isMet, type Row } from './row.ts';
import { resumed } from './resumed.ts';
import { quickCases, runChaos } from './run-chaos.ts';

const page = 'docs/benchmarks.md';
const section = 'Chaos';
const roundsDefault = 5;

const usage = `npm run chaos -- [options]: each fault in turn under 1,000 packets a second each way, and what it cost
  --case name   only this one; may be repeated
  --rounds n    each so often; default ${roundsDefault}, and 1 with --quick
  --quick       one case of each kind, about a minute
  --previous d  a compiled tree of the release to change from, or VWIRE_PREVIOUS; without either the one in package.json
                is made from the history, and where there is none, the cases that need it are skipped
  --resume f    keeps the rows in that file, and takes from it what it has: a long run in several sittings
  --json        ends with one line for programs
  --write       renews the section "${section}" of ${page}
Cases: ${allCases.map(({ name }) => name).join(', ')}.
Exit code: 0; 1 where a row misses its bound; 2 for a wrong command line.`;

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function casesOf(names: readonly string[] | undefined) {
  const known = allCases.map(({ name }) => name);
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(`--case: expected one of ${known.join(', ')}, found ${unknown}`);
  }
  return allCases.filter(({ name }) => names?.includes(name) ?? true);
}

function documentOf(machine: string, rows: readonly Row[], sittings: number): string {
  const date = new Date().toISOString().slice(0, 10);
  const remarks = chaosRemarks(rows).map((remark) => `- ${remark}`);
  return `
Written by \`npm run chaos -- --write\` on ${date}: real processes in namespaces, and a probe of 1,000 numbered packets a
second on every wire, each of which the Endpoint's side answers with a number of its own, while the fault happens. A
round counts only if its control run of equal length without the fault lost nothing. Pairs are median and worst over
the wires of ${rows[0]?.rounds ?? 0} rounds. *Longest gap*: packets lost in a row; *flows again*: from the fault to
the first answer after the last lost packet; *all well again*: until every client is content and new wires can be made.
*Interface*: index, name, MAC and addresses of the client's end. Measured in ${sittings} ${sittings === 1 ? 'run' : 'runs of some of the cases each'}.

Machine: ${machine}.

${chaosTable(rows)}
${remarks.length === 0 ? '' : `\n${remarks.join('\n')}\n`}`;
}

await runCommand({
  usage,
  options: {
    case: { type: 'string', multiple: true },
    rounds: { type: 'string' },
    previous: { type: 'string' },
    resume: { type: 'string' },
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
  async run({ quick, json, write, previous, resume, ...given }) {
    const chosen = casesOf(given.case);
    const fallback = quick ? 1 : roundsDefault;
    const rounds = integerOf('rounds', given.rounds, { fallback, max: 1_000 });
    const reason = whyNoNamespaces();
    if (reason !== undefined) throw new Error(`chaos needs network namespaces: ${reason}`);
    const machine = machineOf();
    const interrupted = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        say(`${signal}: ending everything`);
        interrupted.abort(new Error(signal));
      });
    }
    const cases = quick ? quickCases(chosen) : chosen;
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
    const run = (some: readonly ChaosCase[]): Promise<readonly Row[]> =>
      runChaos({
        cases: some,
        rounds,
        sharesStages: quick,
        otherReleases: releases.others,
        progress: say,
        signal: interrupted.signal,
      });
    const measuring =
      resume === undefined
        ? run(left).then((all) => ({ sittings: 1, rows: all }))
        : resumed(resume, { cases: left, order: allCases, run: (each) => run([each]) });
    const { rows, sittings } = await measuring.finally(() => releases.end());
    process.stdout.write(`\n${machine}\n\n${chaosTable(rows)}\n`);
    for (const remark of chaosRemarks(rows)) process.stdout.write(`${remark}\n`);
    if (json) process.stdout.write(`${JSON.stringify(rows)}\n`);
    if (write) {
      const document = documentOf(machine, rows, sittings);
      await writeFile(page, withSection(await readFile(page, 'utf8'), section, document));
      say(`${page} written`);
    }
    return rows.every(isMet) ? 0 : 1;
  },
});
