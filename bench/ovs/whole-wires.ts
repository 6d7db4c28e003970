// Both ports and all flows of a wire, until the switch has applied them: natively, by the switch's own tools, and its two
// ports in one transaction with nothing else. The links are there already, on all sides alike. They take turns, each from
// rest, the first in one round the last in the next, and what was made is taken away before the next begins.

import { localWire } from '../../test/sandbox/wires.ts';
import { type Figure, judge, median, type Progress } from '../figure.ts';
import { endsThatAreThere, type LinkPair, makeLinks } from '../node-links.ts';
import { openBarePorts } from './bare-ports.ts';
import { type HandWire, handBridge, joinByHand, partByHand } from './by-hand.ts';
import { budget, type Stage, suite, timedFromRest } from './stage.ts';

const wiresAtOnce = 30;
const others = 100;
const roundsBefore = 40;
const roundsAlone = 30;
const roundsAtOnce = 10;
const forks = 'an ovs-vsctl and an ovs-ofctl for each wire';
const barePorts = 'its two ports in one transaction, and nothing else';

/** Makes the wires of these pairs of links at once, and takes them away. */
interface Way {
  make(numbers: readonly number[]): Promise<void>;
  take(numbers: readonly number[]): Promise<void>;
}

interface Ways {
  readonly native: Way;
  readonly forked: Way;
  readonly bare: Way;
}

type WayName = keyof Ways;

/** Milliseconds, by way. */
type Times = Readonly<Record<WayName, number>>;

export async function wholeWires(stage: Stage, progress: Progress): Promise<readonly Figure[]> {
  const pairs = await makeLinks(stage, wiresAtOnce + others);
  const ways = waysOver(stage, pairs);
  const made = range(0, wiresAtOnce);
  // A forwarder has made wires before; what stands beside it is a process that has not, and cannot have.
  for (let round = 0; round < roundsBefore; round += 1) {
    progress(`wires before, round ${round + 1} of ${roundsBefore}`);
    await ways.native.make(made);
    await ways.native.take(made);
  }
  const together = await times(ways, ['native', 'forked'], {
    wires: made,
    rounds: roundsAtOnce,
    report: (round) => progress(`${wiresAtOnce} wires at once, round ${round} of ${roundsAtOnce}`),
  });
  const alone = await times(ways, ['native', 'forked', 'bare'], {
    wires: made.slice(0, 1),
    rounds: roundsAlone,
    report: (round) => progress(`a wire alone, round ${round} of ${roundsAlone}`),
  });
  await ways.native.make(range(wiresAtOnce, others));
  const crowded = await times(ways, ['native', 'forked', 'bare'], {
    wires: made.slice(0, 1),
    rounds: roundsAlone,
    report: (round) => progress(`a wire beside ${others}, round ${round} of ${roundsAlone}`),
  });
  return [
    ...figuresOfOne('ports and flows of a wire alone, until applied', alone, 10),
    ...figuresOfOne(`the same beside ${others} wires that are there`, crowded),
    ...figuresOfMany(together, alone.forked),
  ];
}

function waysOver(stage: Stage, pairs: readonly LinkPair[]): Ways {
  const { tools } = stage;
  const dataplane = stage.dataplane('br-native', endsThatAreThere(pairs));
  const bare = openBarePorts(stage.ovs.databaseSocket, handBridge);
  stage.closing(() => bare.close());
  const byHand = (numbers: readonly number[]): HandWire[] =>
    numbers.map((number) => ({ number, pair: pairs[number] ?? [] }));
  const wires = pairs.map((_, number) =>
    localWire({ client: '', endpoint: '' }, number, String(number)),
  );
  const partly = async (numbers: readonly number[]) => partByHand(tools, byHand(numbers));
  return {
    native: {
      make: async (numbers) => {
        const made = numbers.flatMap((number) => wires[number] ?? []);
        await Promise.all(made.map((wire) => dataplane.ensure(wire, budget)));
      },
      take: (numbers) => dataplane.remove(numbers.map(String), budget),
    },
    forked: { make: async (numbers) => joinByHand(tools, byHand(numbers)), take: partly },
    bare: {
      make: (numbers) =>
        bare.add(byHand(numbers).flatMap(({ pair }) => pair.map(({ name }) => name))),
      take: partly,
    },
  };
}

async function times<Name extends WayName>(
  ways: Ways,
  names: readonly Name[],
  what: {
    readonly wires: readonly number[];
    readonly rounds: number;
    readonly report: (round: number) => void;
  },
): Promise<Pick<Times, Name>> {
  const { wires, rounds, report } = what;
  const found = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    report(round + 1);
    const first = round % names.length;
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      const way = ways[name];
      found.get(name)?.push(await timedFromRest(() => way.make(wires)));
      await way.take(wires);
    }
  }
  const medians = [...found].map(([name, all]) => [name, median(all)] as const);
  return Object.fromEntries(medians) as Record<Name, number>;
}

function figuresOfOne(name: string, medians: Times, atLeast?: number): Figure[] {
  const figure = { suite, name, value: 1_000 / medians.native, unit: 'per s' };
  return [
    judge(
      { ...figure, limitName: forks, limitValue: 1_000 / medians.forked },
      atLeast === undefined ? undefined : { of: 'ratio', atLeast },
    ),
    judge({ ...figure, limitName: barePorts, limitValue: 1_000 / medians.bare }),
  ];
}

function figuresOfMany(medians: Pick<Times, 'native' | 'forked'>, oneForkedMs: number): Figure[] {
  const name = `ports and flows of ${wiresAtOnce} wires at once, until applied`;
  const figure = { suite, name, value: (wiresAtOnce * 1_000) / medians.native, unit: 'per s' };
  return [
    judge(
      { ...figure, limitName: forks, limitValue: 1_000 / oneForkedMs },
      { of: 'ratio', atLeast: 10 },
    ),
    judge({
      ...figure,
      limitName: 'one ovs-vsctl and one ovs-ofctl for all of them',
      limitValue: (wiresAtOnce * 1_000) / medians.forked,
    }),
  ];
}

const range = (start: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => start + at);
