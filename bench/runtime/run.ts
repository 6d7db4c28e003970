// Prints the runtime's benchmark as a table: `npx tsx bench/runtime/run.ts`. Exits 1 if a target is missed.

import { benchRuntime } from './runtime.ts';

const figures = await benchRuntime();
console.table(
  figures.map(({ name, unit, nact, vwire, ratio, target, isMet }) => ({
    scenario: name,
    unit,
    'bare nact': Math.round(nact),
    vwire: Math.round(vwire),
    ratio: Number(ratio.toFixed(2)),
    target,
    result: isMet ? 'met' : 'MISSED',
  })),
);
if (figures.some((figure) => !figure.isMet)) process.exitCode = 1;
