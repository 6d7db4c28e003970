// `npm run sim`: one seed with its trace, or as many as there is time for. Ends with 1 where an invariant failed.

import { integerOf, runCommand, UsageError } from '../../bench/command-line.ts';
import { type BatchOptions, runBatch } from './batch.ts';
import { planOf } from './plan.ts';
import { failureText, sumOf } from './report.ts';
import { runPlan } from './run.ts';
import { runCorpus } from './corpus.ts';
import { runSeeds } from './seeds.ts';

const usage = `npm run sim -- [options]: simulated meshes under seeded faults, for a minute where nothing else is said
  --seed n      this one alone; with -v, --verbose its trace and what its parts log
  --seeds n     how many
  --from n      the first of them; default 1
  --minutes m   as many as there is time for
  --workers n   processes at the same time; default 1
  --corpus      the runs that failed once
Exit code: 0; 1 where an invariant failed; 2 for a wrong command line.`;

/** A week: as good as no end. */
const minutesMax = 7 * 24 * 60;

/** As good as all. */
const seedsMax = 2 ** 52;

const nowMs = performance.now.bind(performance);
const print = (text: string): void => void process.stdout.write(`${text}\n`);

function minutesOf(value: string | undefined, fallback: number): number {
  const found = Number(value ?? fallback);
  if (value !== '' && found >= 0 && found <= minutesMax) return found;
  throw new UsageError(`--minutes: expected a number from 0 to ${minutesMax}, found ${value}`);
}

async function runOne(seed: number, isVerbose: boolean): Promise<number> {
  const plan = planOf(seed);
  print(`seed ${seed}: ${JSON.stringify(plan.shape)}`);
  for (const operation of plan.operations) print(`  ${JSON.stringify(operation)}`);
  if (isVerbose) await runPlan(plan, { onLine: print, logs: true });
  const report = await runSeeds({ from: seed, count: 1, nowMs });
  for (const failure of report.failures) print(failureText(failure));
  print(sumOf([report], report.realMs));
  return report.failures.length === 0 ? 0 : 1;
}

async function runMany(options: Omit<BatchOptions, 'onSeed'>): Promise<number> {
  const startedMs = nowMs();
  let done = 0;
  let failed = 0;
  let shownMs = startedMs;
  const onSeed = (seed: number, hasFailed: boolean): void => {
    done += 1;
    if (hasFailed) {
      failed += 1;
      print(`seed ${seed} failed`);
    }
    if (nowMs() - shownMs < 10_000) return;
    shownMs = nowMs();
    print(`${done} seeds, ${failed} failed, ${((shownMs - startedMs) / 1000).toFixed(0)} s`);
  };
  const reports = await runBatch({ ...options, onSeed });
  const failures = reports.flatMap((each) => each.failures);
  for (const failure of failures) print(failureText(failure));
  print(sumOf(reports, nowMs() - startedMs));
  return failures.length === 0 ? 0 : 1;
}

await runCommand({
  usage,
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    from: { type: 'string' },
    workers: { type: 'string' },
    corpus: { type: 'boolean', default: false },
    verbose: { type: 'boolean', short: 'v', default: false },
  },
  async run({ corpus, verbose, ...given }) {
    Error.stackTraceLimit = verbose ? 10 : 4;
    const seed = integerOf('seed', given.seed, { fallback: 1 });
    const batch = {
      from: integerOf('from', given.from, { fallback: 1 }),
      count: integerOf('seeds', given.seeds, { fallback: seedsMax, max: seedsMax }),
      minutes: minutesOf(given.minutes, given.seeds === undefined ? 1 : minutesMax),
      workers: integerOf('workers', given.workers, { fallback: 1, max: 1_000 }),
    };
    if (corpus) return runCorpus(print);
    return given.seed === undefined ? runMany(batch) : runOne(seed, verbose);
  },
});
