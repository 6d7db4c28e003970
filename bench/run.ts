// `npm run bench`: runs the suites one after the other, each in a process of its own, and prints one table.
// A missed target is a figure like any other: only a suite that breaks makes the exit code 1.

import { fork } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand, UsageError } from './command-line.ts';
import { withTop } from './document-section.ts';
import type { Figure } from './figure.ts';
import { documentOf, machineOf, remarksOf, type SuiteResult, tableOf } from './report.ts';
import type { SuiteMessage } from './suite-process.ts';
import { suites } from './suites.ts';
import { type ProfileKind, topCosts } from './profile.ts';

const page = 'docs/benchmarks.md';
/** A suite that hangs must not keep the others from their turn. */
const suiteTimeoutMs = 600_000;

const usage = `npm run bench -- [options]: measures, and prints one table
  --suite name   only this one; may be repeated
  --write        renews the top of ${page}, where all suites have run
Suites: ${Object.keys(suites).join(', ')}.
Exit code: 0, targets missed or not; 1 where a suite breaks; 2 for a wrong command line.`;

interface Outcome extends Omit<SuiteResult, 'profile'> {
  readonly isBroken: boolean;
}

function runSuite(suite: string, execArgv: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const entry = fileURLToPath(new URL('./suite-process.js', import.meta.url));
    const child = fork(entry, [suite], { execArgv: [...execArgv] });
    const late = setTimeout(() => child.kill('SIGKILL'), suiteTimeoutMs);
    let outcome: Outcome = { suite, figures: [], isBroken: true };
    child.on('message', (message: SuiteMessage) => {
      if ('progress' in message) say(`${suite}: ${message.progress}`);
      else if ('skipped' in message) {
        outcome = { suite, figures: [], isBroken: false, skipped: message.skipped };
      } else outcome = { suite, figures: message.figures, isBroken: false };
    });
    child.once('exit', () => {
      clearTimeout(late);
      resolve(outcome);
    });
  });
}

/** Runs a suite again under the profiler; the processes that it starts inherit the flags. */
async function profileSuite(suite: string, kind: ProfileKind): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'vwire-bench-profile-'));
  try {
    say(`${suite}: a target was missed, running it again under the profiler`);
    const flags = [`--${kind}-prof`, `--${kind}-prof-dir=${folder}`];
    const { isBroken } = await runSuite(suite, flags);
    return isBroken ? ['the profiled run broke'] : await topCosts(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Why targets were missed: time by a CPU profile, bytes by a heap profile. */
async function explain(suite: string, figures: readonly Figure[]): Promise<readonly string[]> {
  const missed = figures.filter(({ met }) => !met);
  const isOfMemory = ({ unit }: Figure): boolean => unit === 'kB' || unit === 'bytes';
  return [
    ...(missed.some((figure) => !isOfMemory(figure)) ? await profileSuite(suite, 'cpu') : []),
    ...(missed.some(isOfMemory) ? await profileSuite(suite, 'heap') : []),
  ];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

await runCommand({
  usage,
  options: {
    suite: { type: 'string', multiple: true },
    write: { type: 'boolean', default: false },
  },
  async run({ suite, write }) {
    const known = Object.keys(suites);
    const names = suite ?? known;
    const unknown = names.find((name) => !known.includes(name));
    if (unknown !== undefined) {
      throw new UsageError(`--suite: expected one of ${known.join(', ')}, found ${unknown}`);
    }
    const machine = machineOf();
    const results: SuiteResult[] = [];
    let broken = 0;
    for (const name of names) {
      say(`${name}: started`);
      const { isBroken, ...outcome } = await runSuite(name, []);
      results.push({ ...outcome, profile: await explain(name, outcome.figures) });
      if (!isBroken) continue;
      broken += 1;
      say(`${name}: BROKEN, it ended without figures`);
    }
    process.stdout.write(`\n${machine}\n\n${tableOf(results)}\n`);
    for (const remark of remarksOf(results)) process.stdout.write(`${remark}\n`);
    if (write && suite === undefined && broken === 0) {
      await writeFile(page, withTop(await readFile(page, 'utf8'), documentOf(machine, results)));
      say(`${page} written`);
    }
    return broken === 0 ? 0 : 1;
  },
});
