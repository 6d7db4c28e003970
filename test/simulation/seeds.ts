// Runs a range of seeds one after the other. One seed in twenty runs twice and must leave the same trace; a failing
// one is shrunk, and everything that is needed to see it again is reported.

import { describeError } from '../../protocols/errors.ts';
import type { Failure } from './ground.ts';
import { type Operation, type Plan, planOf } from './plan.ts';
import { type Outcome, runPlan } from './run.ts';
import { shrink } from './shrink.ts';

const twiceEvery = 20;

export interface SeedFailure {
  readonly seed: number;
  readonly failure: Failure;
  readonly shape: Plan['shape'];
  readonly operations: readonly Operation[];
  readonly tail: readonly string[];
}

export interface SeedsReport {
  readonly from: number;
  /** Seeds that were run. */
  readonly count: number;
  readonly ranTwice: number;
  readonly virtualMs: number;
  readonly events: number;
  readonly realMs: number;
  readonly slowestMs: number;
  readonly failures: readonly SeedFailure[];
}

export interface SeedsOptions {
  readonly from: number;
  readonly count: number;
  /** Real time; no seed begins after it. */
  readonly untilMs?: number;
  readonly nowMs: () => number;
  readonly onSeed?: (seed: number, outcome: Outcome) => void;
  readonly isShrinking?: boolean;
}

export async function runSeeds(options: SeedsOptions): Promise<SeedsReport> {
  const { from, nowMs, untilMs = Number.POSITIVE_INFINITY, isShrinking = true } = options;
  const startedMs = nowMs();
  const failures: SeedFailure[] = [];
  const sum = { count: 0, ranTwice: 0, virtualMs: 0, events: 0, slowestMs: 0 };
  for (let seed = from; seed < from + options.count && nowMs() < untilMs; seed += 1) {
    const begunMs = nowMs();
    const plan = planOf(seed);
    let outcome = await runPlan(plan);
    sum.slowestMs = Math.max(sum.slowestMs, nowMs() - begunMs);
    sum.count += 1;
    sum.virtualMs += outcome.virtualMs;
    sum.events += outcome.events;
    if (seed % twiceEvery === 0) {
      sum.ranTwice += 1;
      outcome = compare(outcome, await runPlan(plan));
    }
    options.onSeed?.(seed, outcome);
    if (outcome.failure !== undefined) failures.push(await report(plan, outcome, isShrinking));
  }
  return { from, ...sum, realMs: nowMs() - startedMs, failures };
}

function compare(first: Outcome, second: Outcome): Outcome {
  if (first.hash === second.hash || first.failure !== undefined) return first;
  const what = `trace ${first.hash} of ${first.lines} lines, then ${second.hash} of ${second.lines}`;
  return { ...first, failure: { invariant: 'a seed replays', what, atMs: first.virtualMs } };
}

async function report(plan: Plan, outcome: Outcome, isShrinking: boolean): Promise<SeedFailure> {
  const small = isShrinking ? await shrink(plan, outcome) : { plan, outcome };
  const { failure, tail } = small.outcome;
  return {
    seed: plan.seed,
    failure: failure ?? { invariant: 'none', what: describeError(undefined), atMs: 0 },
    shape: small.plan.shape,
    operations: small.plan.operations,
    tail,
  };
}
