// Both ports and all flows of a wire, until the switch has applied them: natively, by the switch's own tools, and its two
// ports in one transaction with nothing else. The links are there already, on all sides alike. Two take turns at a time,
// each from rest, the first in one round the last in the next, and what was made is taken away before the next begins.
// The client that makes bare ports is there for its own rounds alone: what it hears, a forwarder has not to read.

import { localWire } from '../../test/sandbox/wires.ts';
import { type Figure, judge, median, type Progress } from '../figure.ts';
import { endsThatAreThere, type LinkPair, makeLinks } from '../node-links.ts';
import { openBarePorts } from './bare-ports.ts';
import { type HandWire, handBridge, joinByHand, partByHand } from './by-hand.ts';
import { budget, type Stage, suite, timedFromRest } from './stage.ts';

const wiresAtOnce = 30;
const others = 100;
const roundsBefore = 40;
/** A few milliseconds each, on a machine that has other things to do now and then. */
const roundsAlone = 90;
const roundsBeside = 30;
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
}

/** Medians in milliseconds: of the wire made natively, and of what took turns with it. */
interface Times {
  readonly nativeMs: number;
  readonly otherMs: number;
}

/** Of one wire at a time. */
interface TimesOfOne {
  readonly forked: Times;
  readonly bare: Times;
}

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
  const together = await times(ways.native, ways.forked, {
    wires: made,
    rounds: roundsAtOnce,
    report: (round) => progress(`${wiresAtOnce} wires at once, round ${round} of ${roundsAtOnce}`),
  });
  const timesOfOne = async (what: string, rounds: number): Promise<TimesOfOne> => {
    const report = (round: number) => progress(`a wire ${what}, round ${round} of ${rounds}`);
    const series = { wires: made.slice(0, 1), rounds, report };
    const forked = await times(ways.native, ways.forked, series);
    return { forked, bare: await timesBesideBare(stage, { pairs, ways }, series) };
  };
  const alone = await timesOfOne('alone', roundsAlone);
  await ways.native.make(range(wiresAtOnce, others));
  const crowded = await timesOfOne(`beside ${others}`, roundsBeside);
  return [
    ...figuresOfOne('ports and flows of a wire alone, until applied', alone, 10),
    ...figuresOfOne(`the same beside ${others} wires that are there`, crowded),
    ...figuresOfMany(together, alone.forked.otherMs),
  ];
}

function waysOver(stage: Stage, pairs: readonly LinkPair[]): Ways {
  const { tools } = stage;
  const dataplane = stage.dataplane('br-native', endsThatAreThere(pairs));
  const wires = pairs.map((_, number) =>
    localWire({ client: '', endpoint: '' }, number, String(number)),
  );
  return {
    native: {
      make: async (numbers) => {
        const made = numbers.flatMap((number) => wires[number] ?? []);
        await Promise.all(made.map((wire) => dataplane.ensure(wire, budget)));
      },
      take: (numbers) => dataplane.remove(numbers.map(String), budget),
    },
    forked: {
      make: async (numbers) => joinByHand(tools, handWires(pairs, numbers)),
      take: async (numbers) => partByHand(tools, handWires(pairs, numbers)),
    },
  };
}

const handWires = (pairs: readonly LinkPair[], numbers: readonly number[]): HandWire[] =>
  numbers.map((number) => ({ number, pair: pairs[number] ?? [] }));

async function timesBesideBare(
  stage: Stage,
  { pairs, ways }: { readonly pairs: readonly LinkPair[]; readonly ways: Ways },
  series: Series,
): Promise<Times> {
  const bare = openBarePorts(stage.ovs.databaseSocket, handBridge);
  const namesOf = (numbers: readonly number[]): string[] =>
    numbers.flatMap((number) => pairs[number] ?? []).map(({ name }) => name);
  try {
    const way: Way = {
      make: (numbers) => bare.add(namesOf(numbers)),
      take: (numbers) => ways.forked.take(numbers),
    };
    return await times(ways.native, way, series);
  } finally {
    await bare.close();
  }
}

interface Series {
  readonly wires: readonly number[];
  readonly rounds: number;
  readonly report: (round: number) => void;
}

async function times(native: Way, other: Way, { wires, rounds, report }: Series): Promise<Times> {
  const [ofNative, ofOther]: [number[], number[]] = [[], []];
  const turns = [
    { way: native, found: ofNative },
    { way: other, found: ofOther },
  ];
  for (let round = 0; round < rounds; round += 1) {
    report(round + 1);
    for (const { way, found } of round % 2 === 0 ? turns : turns.toReversed()) {
      found.push(await timedFromRest(() => way.make(wires)));
      await way.take(wires);
    }
  }
  return { nativeMs: median(ofNative), otherMs: median(ofOther) };
}

function figuresOfOne(name: string, { forked, bare }: TimesOfOne, atLeast?: number): Figure[] {
  const figure = ({ nativeMs, otherMs }: Times, limitName: string) => ({
    suite,
    name,
    value: 1_000 / nativeMs,
    unit: 'per s',
    limitName,
    limitValue: 1_000 / otherMs,
  });
  return [
    judge(figure(forked, forks), atLeast === undefined ? undefined : { of: 'ratio', atLeast }),
    judge(figure(bare, barePorts)),
  ];
}

function figuresOfMany({ nativeMs, otherMs }: Times, oneForkedMs: number): Figure[] {
  const name = `ports and flows of ${wiresAtOnce} wires at once, until applied`;
  const figure = { suite, name, value: (wiresAtOnce * 1_000) / nativeMs, unit: 'per s' };
  return [
    judge(
      { ...figure, limitName: forks, limitValue: 1_000 / oneForkedMs },
      { of: 'ratio', atLeast: 10 },
    ),
    judge({
      ...figure,
      limitName: 'one ovs-vsctl and one ovs-ofctl for all of them',
      limitValue: (wiresAtOnce * 1_000) / otherMs,
    }),
  ];
}

const range = (start: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => start + at);
