// One worker of the simulation: runs the ranges of seeds that it is sent, one after the other, and answers each with
// its report. A process of its own, so that what nact keeps of a killed system ends with it.

import { runSeeds, type SeedsReport } from './seeds.ts';

export interface Ask {
  readonly from: number;
  readonly count: number;
  readonly realMs: number;
}

export type Answer =
  | { readonly kind: 'seed'; readonly seed: number; readonly hasFailed: boolean }
  | { readonly kind: 'report'; readonly report: SeedsReport };

// Who reads the stack of a refusal that was expected pays for a million of them.
Error.stackTraceLimit = 4;
const nowMs = performance.now.bind(performance);

process.on('message', (ask: Ask) => {
  const send = (answer: Answer): void => void process.send?.(answer);
  runSeeds({
    from: ask.from,
    count: ask.count,
    untilMs: nowMs() + ask.realMs,
    nowMs,
    onSeed: (seed, { failure }) => send({ kind: 'seed', seed, hasFailed: failure !== undefined }),
  }).then(
    (report) => send({ kind: 'report', report }),
    (error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(2);
    },
  );
});
process.on('disconnect', () => process.exit(0));
