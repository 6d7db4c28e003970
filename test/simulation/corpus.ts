// Runs that failed once, each with what was wrong: kept as whole plans, so that they stay the same runs whatever is
// drawn from a seed later.

import { readFileSync } from 'node:fs';
import type { Plan } from './plan.ts';
import { runPlan } from './run.ts';

interface CorpusEntry {
  /** What the run showed when it failed. */
  readonly why: string;
  readonly plan: Plan;
}

/** Beside the sources, from where the compiled files find it too. */
function readCorpus(): readonly CorpusEntry[] {
  const up = import.meta.url.endsWith('.js') ? '../../../../../../' : '../../';
  const file = new URL(`${up}test/simulation/corpus.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as readonly CorpusEntry[];
}

/** Returns the exit code: 1 where one of them fails again. */
export async function runCorpus(print: (text: string) => void): Promise<number> {
  const entries = readCorpus();
  let failed = 0;
  for (const { why, plan } of entries) {
    const { failure, tail } = await runPlan(plan);
    if (failure === undefined) continue;
    failed += 1;
    print(`failed again: ${why}\n  ${failure.invariant}: ${failure.what}\n  ${tail.join('\n  ')}`);
  }
  print(`corpus: ${entries.length} runs, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
