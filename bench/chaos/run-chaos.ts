// Chaos from beginning to end: each case on a stage of its own, or, in the quick run, all on as few as they need.
// Invariant: every stage is closed, also after an interruption, and what it left is part of the last row.

import { describeError } from '../../protocols/errors.ts';
import type { ChaosCase } from './case.ts';
import { localAndRemote } from './cases/wires.ts';
import type { OtherReleases } from './releases.ts';
import { type Row, rowOf } from './row.ts';
import { type CaseOutcome, type Progress, runCase } from './run-case.ts';
import { Scene } from './scene.ts';
import { createStage, type Stage, type StageOptions } from './stage.ts';

export interface ChaosOptions {
  readonly cases: readonly ChaosCase[];
  readonly rounds: number;
  /** Cases with the same needs share a stage. */
  readonly sharesStages: boolean;
  readonly executable?: string;
  readonly otherReleases?: OtherReleases;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

export async function runChaos(options: ChaosOptions): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const group of groupsOf(options)) rows.push(...(await runGroup(options, group)));
  return rows;
}

function groupsOf({ cases, sharesStages }: ChaosOptions): readonly (readonly ChaosCase[])[] {
  if (!sharesStages) return cases.map((each) => [each]);
  const groups = new Map<string, ChaosCase[]>();
  for (const each of cases) {
    const key = JSON.stringify(each.stage ?? {});
    groups.set(key, [...(groups.get(key) ?? []), each]);
  }
  return [...groups.values()];
}

async function runGroup(
  options: ChaosOptions,
  group: readonly ChaosCase[],
): Promise<readonly Row[]> {
  const { rounds, progress, signal } = options;
  const outcomes: CaseOutcome[] = [];
  let stage: Stage | undefined;
  try {
    signal.throwIfAborted();
    stage = await createStage(stageOf(options, group[0]));
    await warmUp(stage);
    for (const chaos of group) {
      outcomes.push(await runCase(stage, chaos, { rounds, progress, signal }));
    }
  } catch (error) {
    if (signal.aborted) throw error;
    const broken = [describeError(error)];
    for (const chaos of group.slice(outcomes.length)) {
      outcomes.push({ chaos, rounds: [], leftovers: [], broken });
    }
  } finally {
    const left = (await stage?.close()) ?? [];
    const last = outcomes.pop();
    if (last !== undefined) outcomes.push({ ...last, leftovers: [...last.leftovers, ...left] });
    for (const each of left) progress(`left over: ${each}`);
  }
  return outcomes.map(rowOf);
}

function stageOf(
  { executable, otherReleases }: ChaosOptions,
  chaos: ChaosCase | undefined,
): StageOptions {
  return {
    nodes: 2,
    busServers: 1,
    identityProcess: true,
    ...chaos?.stage,
    ...(executable === undefined ? {} : { executable }),
    ...(otherReleases === undefined ? {} : { otherReleases }),
  };
}

/** What a process opens once and for all when its first wire is made is not left over. */
async function warmUp(stage: Stage): Promise<void> {
  const scene = new Scene(stage);
  try {
    await localAndRemote(scene);
  } finally {
    await scene.end();
  }
}

/** The cases of the quick run: those that have a short window. */
export function quickCases(cases: readonly ChaosCase[]): readonly ChaosCase[] {
  return cases.flatMap((each) =>
    each.quickWindowMs === undefined ? [] : [{ ...each, windowMs: each.quickWindowMs }],
  );
}
