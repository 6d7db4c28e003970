// Spreads a range of seeds over worker processes, a few hundred at a time, until the seeds or the time are used up.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { SeedsReport } from './seeds.ts';
import type { Answer, Ask } from './sim-child.ts';

/** Seeds per process: beyond, what a run leaves in tables of libraries would add up. */
const perProcess = 250;

export interface BatchOptions {
  readonly from: number;
  readonly count: number;
  readonly minutes: number;
  readonly workers: number;
  readonly onSeed: (seed: number, hasFailed: boolean) => void;
}

export async function runBatch(options: BatchOptions): Promise<readonly SeedsReport[]> {
  const endMs = performance.now() + options.minutes * 60_000;
  const reports: SeedsReport[] = [];
  let next = options.from;
  const work = async (): Promise<void> => {
    while (next < options.from + options.count && performance.now() < endMs) {
      const from = next;
      const count = Math.min(perProcess, options.from + options.count - from);
      next += count;
      reports.push(await inChild({ from, count, realMs: endMs - performance.now() }, options));
    }
  };
  await Promise.all(Array.from({ length: options.workers }, work));
  return reports.toSorted((left, right) => left.from - right.from);
}

/** Compiled or not, the worker stands beside this file. */
const program = fileURLToPath(new URL('sim-child.ts', import.meta.url)).replace(
  /\.ts$/,
  import.meta.url.endsWith('.js') ? '.js' : '.ts',
);

function inChild(ask: Ask, { onSeed }: BatchOptions): Promise<SeedsReport> {
  const execArgv = program.endsWith('.ts') ? ['--import', 'tsx'] : [];
  const child = fork(program, [], { execArgv, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  return new Promise((resolve, reject) => {
    let last = ask.from;
    child.on('message', (answer: Answer) => {
      if (answer.kind === 'seed') {
        last = answer.seed;
        onSeed(answer.seed, answer.hasFailed);
        return;
      }
      resolve(answer.report);
      child.disconnect();
    });
    child.on('exit', (code) => reject(new Error(`a worker ended with ${code} after seed ${last}`)));
    child.send(ask);
  });
}
