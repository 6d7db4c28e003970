// Protects "once and in order": a guard refuses what is older, answers a repeated operation from its record, and forgets
// by time and by bound.

import { describe, expect, it } from 'vitest';
import {
  createOperationGuard,
  type OperationGuardOptions,
} from '../../../protocols/messages/operation-guard.ts';
import type { Operation } from '../../../protocols/ports/rpc.ts';
import { failure } from '../../contract/rpc.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const never = (): boolean => false;

function setUp(options: Partial<OperationGuardOptions> = {}) {
  const clock = createManualClock();
  const guard = createOperationGuard({ clock, ...options });
  let runs = 0;
  const run = (id: string, epoch: number, more: Partial<Operation> = {}): Promise<number> =>
    guard.run(
      'service',
      { id, key: 'k', epoch, incarnation: 1, ...more },
      () => {
        runs += 1;
        return Promise.resolve(runs);
      },
      never,
    );
  return { clock, guard, run };
}

describe('operation guard', () => {
  it('answers a repeated id from the record, a failure too', async () => {
    const { guard, run } = setUp();
    expect(await run('a', 1)).toBe(1);
    expect(await run('a', 1)).toBe(1);
    const fail = () =>
      guard.run(
        'service',
        { id: 'f', key: 'k', epoch: 2, incarnation: 1 },
        () => Promise.reject(new Error(`run ${guard.answerCount}`)),
        never,
      );
    await expect(fail()).rejects.toThrow('run 1');
    await expect(fail()).rejects.toThrow('run 1');
  });

  it('lets a duplicate wait for the one that runs', async () => {
    const { guard } = setUp();
    let answer: (value: string) => void = () => {};
    let runs = 0;
    const execute = (): Promise<string> => {
      runs += 1;
      return new Promise((resolve) => {
        answer = resolve;
      });
    };
    const operation = { id: 'a', key: 'k', epoch: 1, incarnation: 1 };
    const first = guard.run('service', operation, execute, never);
    const second = guard.run('service', operation, execute, never);
    answer('done');
    expect(await Promise.all([first, second])).toEqual(['done', 'done']);
    expect(runs).toBe(1);
  });

  it('runs for the duplicate where the first caller gave up', async () => {
    const { guard } = setUp();
    const operation = { id: 'a', key: 'k', epoch: 1, incarnation: 1 };
    let gaveUp = false;
    let fail: (error: Error) => void = () => {};
    const first = guard.run(
      'service',
      operation,
      () =>
        new Promise((_, reject) => {
          fail = reject;
        }),
      () => gaveUp,
    );
    const second = guard.run('service', operation, () => Promise.resolve('second'), never);
    gaveUp = true;
    fail(new Error('aborted'));
    await expect(first).rejects.toThrow('aborted');
    expect(await second).toBe('second');
  });

  it('refuses an older epoch of the incarnation, and an older incarnation whatever its epoch', async () => {
    const { run } = setUp();
    await run('a', 5, { incarnation: 2 });
    expect((await failure(run('b', 4, { incarnation: 2 }))).code).toBe('ABORTED');
    expect((await failure(run('c', 9, { incarnation: 1 }))).code).toBe('ABORTED');
    expect(await run('d', 5, { incarnation: 2 })).toBe(2);
    expect(await run('e', 0, { incarnation: 3 })).toBe(3);
    expect(await run('f', 0, { key: 'other' })).toBe(4);
  });

  it('refuses a duplicate whose answer is kept no longer, and never runs it twice', async () => {
    const { clock, run } = setUp({ keepAnswerMs: 1000 });
    await run('a', 1);
    await clock.advance(1001);
    const error = await failure(run('a', 1));
    expect(error.code).toBe('ABORTED');
    expect(error.details.rule).toBe('operation-answer');
  });

  it('forgets a key after its time, and the least recently used one beyond the bound', async () => {
    const { clock, guard, run } = setUp({ keepKeyMs: 1000, keysMax: 10, answersMax: 5 });
    await run('a', 5);
    await clock.advance(1001);
    expect(await run('b', 1)).toBe(2);
    for (let key = 0; key < 50; key += 1) await run(`x${key}`, 1, { key: `k${key}` });
    expect(guard.keyCount).toBeLessThanOrEqual(11);
    expect(guard.answerCount).toBeLessThanOrEqual(6);
  });
});
