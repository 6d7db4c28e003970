// Makes a failing plan as small as it gets: operations are left out as long as the same invariant still fails, first
// many at a time, then one by one (delta debugging); then what remains of the shape is cut down.

import type { Plan } from './plan.ts';
import { type Outcome, runPlan } from './run.ts';

/** Runs that may be spent on one failure. */
const runsMax = 200;

export interface Shrunk {
  readonly plan: Plan;
  readonly outcome: Outcome;
  readonly runs: number;
}

export async function shrink(plan: Plan, failed: Outcome): Promise<Shrunk> {
  let best = { plan, outcome: failed };
  let runs = 0;
  const isStillFailing = async (candidate: Plan): Promise<boolean> => {
    if (runs >= runsMax) return false;
    runs += 1;
    const outcome = await runPlan(candidate);
    if (outcome.failure?.invariant !== failed.failure?.invariant) return false;
    best = { plan: candidate, outcome };
    return true;
  };
  let size = Math.ceil(plan.operations.length / 2);
  while (size >= 1) {
    const isSmaller = await leaveOut(best.plan, size, isStillFailing);
    if (!isSmaller) size = size === 1 ? 0 : Math.ceil(size / 2);
  }
  while (await leaveOutClient(best.plan, isStillFailing));
  return { ...best, runs };
}

async function leaveOut(
  plan: Plan,
  size: number,
  isStillFailing: (candidate: Plan) => Promise<boolean>,
): Promise<boolean> {
  for (let from = 0; from < plan.operations.length; from += size) {
    const operations = plan.operations.filter((_, index) => index < from || index >= from + size);
    if (await isStillFailing({ ...plan, operations })) return true;
  }
  return false;
}

async function leaveOutClient(
  plan: Plan,
  isStillFailing: (candidate: Plan) => Promise<boolean>,
): Promise<boolean> {
  for (const index of plan.shape.clients.keys()) {
    const clients = plan.shape.clients.filter((_, each) => each !== index);
    if (await isStillFailing({ ...plan, shape: { ...plan.shape, clients } })) return true;
  }
  return false;
}
