// Protects the verdict about a wire by its echoes: a slow wire is no dead one, a process that was held up blames
// nobody, a few missed in a row are death and the first reply is life.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createEchoJudge, type EchoJudge } from '../../../actors/client/echo-judge.ts';
import { createEchoRounds } from '../../../actors/client/echo-rounds.ts';

const options = { intervalMs: 20, missedMax: 4, firstAnswerMs: 1_000 };

interface Wire {
  /** Undefined where an echo sent then gets no reply. */
  readonly roundTripMs: (sentMs: number) => number | undefined;
  /** Times between which the process does not run. */
  readonly heldUp?: readonly [fromMs: number, toMs: number];
}

/** Drives a judge as a process does, looking every millisecond; returns the changes of verdict with their times. */
function drive(judge: EchoJudge, { roundTripMs, heldUp = [0, 0] }: Wire, untilMs: number) {
  const changes: (readonly [string, number])[] = [];
  const replies: { readonly sequence: number; readonly atMs: number }[] = [];
  let [sequence, verdict] = [0, 'unknown'];
  for (let nowMs = 0; nowMs <= untilMs; nowMs += 1) {
    if (nowMs > heldUp[0] && nowMs < heldUp[1]) continue;
    for (const each of replies.splice(0)) {
      if (each.atMs <= nowMs) judge.onAnswered(each.sequence, nowMs);
      else replies.push(each);
    }
    if (nowMs >= judge.dueMs) {
      const trip = roundTripMs(nowMs);
      if (trip !== undefined) replies.push({ sequence, atMs: nowMs + trip });
      judge.onSent(sequence, nowMs);
      sequence += 1;
    }
    const now = judge.verdictAt(nowMs);
    if (now !== verdict) changes.push([now, nowMs]);
    verdict = now;
  }
  return { changes, sent: sequence };
}

describe('echoes without an end', () => {
  it('notice a death within five intervals and a life with the first reply', () => {
    const roundTripMs = (sentMs: number) => (sentMs > 1_000 && sentMs < 1_500 ? undefined : 0.1);
    const { changes } = drive(createEchoJudge(options, 0), { roundTripMs }, 2_000);
    expect(changes.map(([kind]) => kind)).toEqual(['alive', 'dead', 'alive']);
    const [, [, deadMs] = ['', 0], [, backMs] = ['', 0]] = changes;
    expect(deadMs - 1_000).toBeLessThanOrEqual(100);
    expect(backMs - 1_500).toBeLessThanOrEqual(options.intervalMs + 1);
  });

  it('never call a wire dead for being slow, once it has answered', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 900 }),
        fc.integer({ min: 0, max: 40 }),
        (delayMs, jitterMs) => {
          const roundTripMs = (sentMs: number) => delayMs + ((sentMs * 7919) % (jitterMs + 1)) / 2;
          const { changes } = drive(createEchoJudge(options, 0), { roundTripMs }, 5_000);
          expect(changes.map(([kind]) => kind)).toEqual(['alive']);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('blame nobody for a time in which the process itself did not run', () => {
    fc.assert(
      fc.property(fc.integer({ min: 500, max: 600 }), fc.nat(3_000), (fromMs, forMs) => {
        const wire = { roundTripMs: () => 0.1, heldUp: [fromMs, fromMs + forMs] as const };
        const { changes } = drive(createEchoJudge(options, 0), wire, fromMs + forMs + 500);
        expect(changes.map(([kind]) => kind)).toEqual(['alive']);
      }),
      { numRuns: 60 },
    );
  });

  it('bear as many lost in a row as one less than the most', () => {
    const roundTripMs = (sentMs: number) => (sentMs > 1_000 && sentMs <= 1_060 ? undefined : 0.1);
    const { changes } = drive(createEchoJudge(options, 0), { roundTripMs }, 2_000);
    expect(changes.map(([kind]) => kind)).toEqual(['alive']);
  });

  it('come closely while somebody waits, until the next reply', () => {
    const judge = createEchoJudge({ ...options, intervalMs: 1_000 }, 0);
    drive(judge, { roundTripMs: () => 0.1 }, 10);
    judge.urge(500);
    expect(judge.dueMs).toBe(500);
    judge.onSent(1, 500);
    expect(judge.dueMs).toBe(510);
    judge.onAnswered(1, 501);
    judge.onSent(2, 510);
    expect(judge.dueMs).toBe(1_000);
  });

  it('come at their ordinary pace again once the other end is dead', () => {
    const judge = createEchoJudge({ ...options, intervalMs: 1_000 }, 0);
    drive(judge, { roundTripMs: () => 0.1 }, 10);
    judge.urge(500);
    let sent = 0;
    for (let nowMs = judge.dueMs; nowMs < 60_500; nowMs = judge.dueMs, sent += 1) {
      judge.onSent(1_000 + sent, nowMs);
    }
    expect(judge.verdictAt(60_500)).toBe('dead');
    expect(sent).toBeLessThan(100);
  });

  it('say nothing where this side is hindered, and begin anew after it', () => {
    const judge = createEchoJudge(options, 0);
    drive(judge, { roundTripMs: () => 0.1 }, 100);
    judge.onHindered(120);
    expect(judge.verdictAt(5_000)).toBe('unknown');
    judge.onSent(100, 5_000);
    expect(judge.verdictAt(5_900)).toBe('unknown');
    for (let at = 1; at < 6; at += 1) judge.onSent(100 + at, 5_000 + at * 20);
    expect(judge.verdictAt(6_000)).toBe('dead');
  });
});

describe('rounds as the reference makes them', () => {
  const rounds = () => createEchoRounds({ intervalMs: 200, timeoutMs: 1_000 }, 0);

  it('need one reply to one of four echoes, then pause', () => {
    let sent = 0;
    const roundTripMs = () => (sent++ % 4 === 3 ? 1 : undefined);
    const { changes, sent: all } = drive(rounds(), { roundTripMs }, 9_400);
    expect(changes.map(([kind]) => kind)).toEqual(['alive']);
    // A round of 751 ms and its pause, nearly ten times.
    expect(all).toBe(40);
  });

  it('call a wire dead after a round without a reply', () => {
    const roundTripMs = (sentMs: number) => (sentMs > 500 ? undefined : 1);
    const { changes } = drive(rounds(), { roundTripMs }, 3_000);
    expect(changes.map(([kind]) => kind)).toEqual(['alive', 'dead']);
    expect(changes[1]?.[1]).toBeLessThanOrEqual(500 + 200 + 1_000 + 5);
  });
});
