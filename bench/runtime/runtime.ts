// The runtime's benchmark: every scenario on bare nact and on vwire's runtime, in turns, in one process.
// The limit is the same run's bare nact, so that the machine's speed does not matter.

import { type Figure, judge, median, type RunSuite } from '../figure.ts';
import { bareNact, type Contestant, vwireRuntime } from './contestants.ts';
import { asking, collect, fanOut, flood, idleHeap, spawning } from './scenarios.ts';

interface Scenario {
  readonly name: string;
  readonly unit: 'per s' | 'bytes';
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

/** Medians of so many rounds; the two contestants take turns within each round. */
const rounds = 5;

export const run: RunSuite = async (progress) => {
  const figures: Figure[] = [];
  for (const scenario of scenarios) {
    progress(scenario.name);
    figures.push(await measure(scenario));
  }
  return figures;
};

async function measure(scenario: Scenario): Promise<Figure> {
  const { name, unit, limit } = scenario;
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
  return judge(
    {
      suite: 'runtime',
      name,
      unit,
      value: median(vwireRounds),
      limitName: 'bare nact',
      limitValue: median(nactRounds),
    },
    unit === 'per s' ? { of: 'ratio', atLeast: limit } : { of: 'ratio', atMost: limit },
  );
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
