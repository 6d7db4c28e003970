// `npm run sim`: one seed with its trace, or as many as there is time for. Ends with 1 where an invariant failed.

import { parseArgs } from 'node:util';
import { runBatch } from './batch.ts';
import { planOf } from './plan.ts';
import { failureText, sumOf } from './report.ts';
import { runPlan } from './run.ts';
import { runCorpus } from './corpus.ts';
import { runSeeds } from './seeds.ts';

const usage = `npm run sim -- --seed N [-v]       one seed, with its trace where -v is given
npm run sim -- [--seeds N] [--minutes M] [--from K] [--workers W]
npm run sim -- --corpus             the runs that failed once`;

/** A week: as good as no end. */
const minutesMax = 7 * 24 * 60;

const nowMs = performance.now.bind(performance);
const print = (text: string): void => void process.stdout.write(`${text}\n`);

function numberOf(text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  const number = Number(text);
  if (Number.isFinite(number) && number >= 0) return number;
  throw new Error(`expected a number, found ${text}\n${usage}`);
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

async function runMany(options: Parameters<typeof runBatch>[0]): Promise<number> {
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

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      minutes: { type: 'string' },
      from: { type: 'string' },
      workers: { type: 'string' },
      corpus: { type: 'boolean', default: false },
      verbose: { type: 'boolean', short: 'v', default: false },
    },
  });
  Error.stackTraceLimit = values.verbose ? 10 : 4;
  if (values.corpus) return runCorpus(print);
  if (values.seed !== undefined) return runOne(numberOf(values.seed, 1), values.verbose);
  const minutes = numberOf(values.minutes, values.seeds === undefined ? 1 : minutesMax);
  return runMany({
    from: numberOf(values.from, 1),
    count: numberOf(values.seeds, Number.MAX_SAFE_INTEGER / 2),
    minutes,
    workers: Math.max(1, numberOf(values.workers, 1)),
    onSeed: () => {},
  });
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exit(2);
  },
);
