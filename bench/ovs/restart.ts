// What a switch that was killed needs until a hundred wires are whole, from its start on; beside it another with as many
// ports, made by its own tools, until its flows are back by one ovs-ofctl that asks until it is heard. They take turns.

import { localWire } from '../../test/sandbox/wires.ts';
import { type Figure, judge, median, type Progress } from '../figure.ts';
import { endsThatAreThere, makeLinks } from '../node-links.ts';
import { addFlowsArguments, addPortsByHand, flowsOf } from './by-hand.ts';
import { budget, onStage, type Stage, suite, timedFromRest } from './stage.ts';

const wireCount = 100;
const rounds = 9;

/** Resolves when all wires are whole again. */
type ComeBack = () => Promise<void>;

export function restarts(progress: Progress): Promise<readonly Figure[]> {
  return onStage((native) =>
    onStage(async (hand) => {
      progress(`${wireCount} wires, and the switch killed under them`);
      const ways = [
        { stage: native, comeBack: await nativeWires(native), timesMs: [] as number[] },
        { stage: hand, comeBack: await handWires(hand), timesMs: [] as number[] },
      ] as const;
      for (let round = 1; round <= rounds; round += 1) {
        progress(`a switch killed and started again, round ${round} of ${rounds}`);
        for (const { stage, comeBack, timesMs } of ways) {
          await stage.ovs.signal('switch', 'SIGKILL');
          timesMs.push(
            await timedFromRest(async () => {
              await stage.ovs.startSwitch();
              await comeBack();
            }),
          );
        }
      }
      const [value, limitValue] = ways.map(({ timesMs }) => median(timesMs));
      const worst = Math.max(...ways[0].timesMs).toFixed(0);
      const measured = {
        suite,
        name: `${wireCount} wires back after a killed switch`,
        value: value ?? Number.NaN,
        unit: 'ms',
        limitName: 'as many ports of a bare switch, and their flows by one ovs-ofctl',
        limitValue: limitValue ?? Number.NaN,
        note: `median of ${rounds}, the worst was ${worst} ms`,
      };
      return [judge(measured, { of: 'value', atMost: 2_000 })];
    }),
  );
}

async function nativeWires(stage: Stage): Promise<ComeBack> {
  const pairs = await makeLinks(stage, wireCount);
  const dataplane = stage.dataplane('br-again', endsThatAreThere(pairs));
  const wires = pairs.map((_, number) =>
    localWire({ client: '', endpoint: '' }, number, String(number)),
  );
  await Promise.all(wires.map((wire) => dataplane.ensure(wire, budget)));
  const areWhole = async (): Promise<boolean> => {
    const found = await Promise.all(wires.map(({ id }) => dataplane.inspect(id, budget)));
    return found.every((missing) => missing.length === 0);
  };
  return async () => {
    while (!(await areWhole())) await nextTurn();
  };
}

async function handWires(stage: Stage): Promise<ComeBack> {
  const pairs = await makeLinks(stage, wireCount);
  const wires = pairs.map((pair, number) => ({ number, pair }));
  addPortsByHand(stage.tools, wires);
  const flows = flowsOf(wires);
  return async () => {
    while (!stage.tools.tryOfctl(addFlowsArguments, flows)) await nextTurn();
  };
}

const nextTurn = () => new Promise((resolve) => setTimeout(resolve, 1));
