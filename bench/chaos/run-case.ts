// Runs the rounds of a case on a stage and gathers its row. Invariant: a case that breaks is a row that says why, and
// what its wires left behind is part of the row.

import { readdirSync, readlinkSync } from 'node:fs';
import { describeError } from '../../protocols/errors.ts';
import type { ChaosCase } from './case.ts';
import { type RoundOutcome, runRound, sleep } from './round.ts';
import { Scene } from './scene.ts';
import type { Stage } from './stage.ts';

export interface CaseOutcome {
  readonly chaos: ChaosCase;
  readonly rounds: readonly RoundOutcome[];
  /** Objects, interfaces, registry entries and descriptors that outlived the clients of the case. */
  readonly leftovers: readonly string[];
  /** Why a round did not come to its end. */
  readonly broken: readonly string[];
}

export type Progress = (text: string) => void;

export async function runCase(
  stage: Stage,
  chaos: ChaosCase,
  options: { readonly rounds: number; readonly progress: Progress; readonly signal: AbortSignal },
): Promise<CaseOutcome> {
  const rounds: RoundOutcome[] = [];
  const leftovers: string[] = [];
  const broken: string[] = [];
  const before = descriptorsOf(stage);
  let scene: Scene | undefined;
  const endScene = async (): Promise<void> => {
    leftovers.push(...((await scene?.end()) ?? []));
    scene = undefined;
  };
  try {
    for (let round = 1; round <= options.rounds; round += 1) {
      options.signal.throwIfAborted();
      options.progress(`${chaos.name}: round ${round} of ${options.rounds}`);
      if (scene === undefined) {
        scene = new Scene(stage);
        await chaos.setUp(scene);
      }
      const outcome = await runRound(scene, chaos);
      rounds.push(outcome);
      options.progress(`${chaos.name}: ${summaryOf(outcome)}`);
      await chaos.restore?.(scene);
      if (chaos.isFreshEachRound === true) await endScene();
    }
  } catch (error) {
    options.signal.throwIfAborted();
    broken.push(describeError(error), ...stage.logLines());
  } finally {
    await endScene().catch((error: unknown) => void broken.push(describeError(error)));
  }
  leftovers.push(...(await grownDescriptors(stage, before)));
  return { chaos, rounds, leftovers, broken };
}

function summaryOf({ wires, recoveryMs }: RoundOutcome): string {
  const lines = wires.map((wire) => {
    const { service, sent, lostThere, lostBack, longestMs, restoredMs } = wire;
    return [
      `${service} lost ${lostThere}+${lostBack} of ${sent}`,
      `longest gap ${longestMs} ms`,
      `flows again after ${restoredMs.toFixed(0)} ms`,
      ...wire.changed,
      ...wire.lostAddresses.map((each) => `lost ${each}`),
      ...wire.newAddresses.map((each) => `has ${each} as well`),
    ].join(', ');
  });
  return `${lines.join('; ')}; recovered in ${recoveryMs.toFixed(0)} ms`;
}

/** What each descriptor of a part's process is; one that was started again meanwhile is not compared. */
type Descriptors = ReadonlyMap<string, readonly string[]>;

function descriptorsOf(stage: Stage): Descriptors {
  const counted = stage.parts.filter(({ kind }) => kind !== 'bus');
  return new Map(
    counted.map((part) => [`${part.name} (${part.pid()})`, openDescriptors(part.pid())]),
  );
}

function openDescriptors(pid: number): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${descriptor}`)];
      } catch {
        return [];
      }
    });
  } catch {
    return [];
  }
}

/** Sockets to Endpoints and clients of the case are closed some time after them. */
const descriptorsSettleMs = 15_000;

async function grownDescriptors(stage: Stage, before: Descriptors): Promise<readonly string[]> {
  const deadline = performance.now() + descriptorsSettleMs;
  for (;;) {
    const grown = [...descriptorsOf(stage)].flatMap(([name, open]) => {
      const known = before.get(name);
      if (known === undefined || open.length <= known.length) return [];
      const others = open.filter((each) => !known.includes(each));
      return [`${open.length - known.length} descriptors more in ${name}: ${others.join(' ')}`];
    });
    if (grown.length === 0 || performance.now() > deadline) return grown;
    await sleep(250);
  }
}
