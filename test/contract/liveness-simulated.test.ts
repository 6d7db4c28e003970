// Protects the liveness of simulated wires: the same promises as over real ones, under a clock by hand.

import { describe, expect } from 'vitest';
import { createEchoJudge } from '../../actors/client/echo-judge.ts';
import { createEchoLiveness } from '../../actors/client/echo-liveness.ts';
import { createEchoRounds } from '../../actors/client/echo-rounds.ts';
import { createManualClock } from '../sandbox/manual-clock.ts';
import { type Fate, simulatedEchoes } from '../sandbox/simulated-echoes.ts';
import { livenessContract, type LivenessWorld } from './liveness.ts';

const judges = {
  continuous: (startMs: number) =>
    createEchoJudge({ intervalMs: 20, missedMax: 4, firstAnswerMs: 300 }, startMs),
  rounds: (startMs: number) => createEchoRounds({ intervalMs: 50, timeoutMs: 100 }, startMs),
};

describe.each(['continuous', 'rounds'] as const)('simulated echoes, %s', (which) => {
  livenessContract(async (): Promise<LivenessWorld> => {
    const clock = createManualClock();
    let isThere = true;
    let isUp = true;
    const fate = (): Fate => (isUp ? (isThere ? 'answered' : 'lost') : 'hindered');
    const echoes = simulatedEchoes(clock, fate);
    const judge = judges[which];
    const until = async (isSo: () => boolean): Promise<boolean> => {
      for (let spentMs = 0; spentMs < 2_000 && !isSo(); spentMs += 5) await clock.advance(5);
      return isSo();
    };
    return {
      liveness: createEchoLiveness({ clock, open: echoes.open, judge, confirmMsMax: 1_000 }),
      setEndpoint: async (isNow) => void (isThere = isNow),
      setInterface: async (isNow) => void (isUp = isNow),
      until,
      linger: () => clock.advance(1_000),
      async run(work) {
        let isOver = false;
        const ended = work.finally(() => (isOver = true));
        expect(await until(() => isOver)).toBe(true);
        return ended;
      },
      async close() {
        expect(echoes.openLines, 'lines left open').toBe(0);
        expect(clock.pendingTimers, 'timers left behind').toBe(0);
      },
    };
  });
});
