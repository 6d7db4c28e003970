// The runtime's benchmark: every scenario on bare nact and on vwire's runtime, in turns, in one process.
// The limit is the same run's bare nact, so that the machine's speed does not matter.

import { bareNact, type Contestant, vwireRuntime } from './contestants.ts';
import { asking, collect, fanOut, flood, idleHeap, spawning } from './scenarios.ts';

export interface RuntimeFigure {
  readonly name: string;
  readonly unit: 'per s' | 'bytes';
  readonly nact: number;
  readonly vwire: number;
  /** vwire divided by nact. */
  readonly ratio: number;
  readonly target: string;
  readonly isMet: boolean;
}

interface Scenario {
  readonly name: string;
  readonly unit: RuntimeFigure['unit'];
  readonly run: (contestant: Contestant) => Promise<number>;
  /** For rates the ratio must be at least this, for bytes at most. */
  readonly limit: number;
}

const triesMax = 5;
const many = { actorCount: 10_000 };

const scenarios: readonly Scenario[] = [
  { name: 'one actor, flooded', unit: 'per s', run: (c) => flood(c), limit: 8 },
  {
    name: '10,000 actors, 20 messages each',
    unit: 'per s',
    run: (c) => fanOut(c, { ...many, each: 20, waves: 5 }),
    limit: 5,
  },
  {
    name: '10,000 actors, 1 message each',
    unit: 'per s',
    run: (c) => fanOut(c, { ...many, each: 1, waves: 20 }),
    limit: 0.7,
  },
  { name: 'spawn', unit: 'per s', run: (c) => spawning(c), limit: 0.7 },
  { name: 'asks, 1,000 at once', unit: 'per s', run: (c) => asking(c), limit: 2.5 },
  { name: 'heap per idle actor', unit: 'bytes', run: (c) => idleHeap(c), limit: 1.3 },
];

/** Medians of `rounds` rounds; the two contestants take turns within each round. */
export async function benchRuntime(rounds = 5): Promise<readonly RuntimeFigure[]> {
  const figures: RuntimeFigure[] = [];
  for (const scenario of scenarios) figures.push(await measure(scenario, rounds));
  return figures;
}

async function measure(scenario: Scenario, rounds: number): Promise<RuntimeFigure> {
  const nactRounds: number[] = [];
  const vwireRounds: number[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const nact = await once(bareNact, scenario);
    const vwire = await once(vwireRuntime, scenario);
    // The first round only warms up.
    if (round < 0) continue;
    nactRounds.push(nact);
    vwireRounds.push(vwire);
  }
  const nact = median(nactRounds);
  const vwire = median(vwireRounds);
  const ratio = vwire / nact;
  const isRate = scenario.unit === 'per s';
  return {
    name: scenario.name,
    unit: scenario.unit,
    nact,
    vwire,
    ratio,
    target: `${isRate ? '>=' : '<='} ${scenario.limit}x`,
    isMet: isRate ? ratio >= scenario.limit : ratio <= scenario.limit,
  };
}

/** nact draws its reply ids at random, so now and then an answer goes to another caller: that round is done again. */
async function once(start: () => Contestant, scenario: Scenario): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    collect();
    const contestant = start();
    try {
      return await scenario.run(contestant);
    } catch (error) {
      if (contestant.name !== 'nact' || tries === triesMax) throw error;
    } finally {
      await contestant.stop();
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
