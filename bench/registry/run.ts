// Prints the registry's benchmark as a table: `npx tsx bench/registry/run.ts`. Exits 1 if a target is missed.

import { benchRegistry } from './registry.ts';

const figures = await benchRegistry();
console.table(
  figures.map(({ name, unit, value, limit, target, isMet }) => ({
    figure: name,
    unit,
    vwire: Number(value.toFixed(unit === 'per s' ? 0 : 3)),
    'raw KV put': limit === undefined ? '' : Math.round(limit),
    target,
    result: isMet ? 'met' : 'MISSED',
  })),
);
if (figures.some((figure) => !figure.isMet)) process.exitCode = 1;
