// Protects VPP against more slow calls at a time than it answers soon, and callers against waiting longer than they may.

import { expect, test } from 'vitest';
import { Turns } from '../../../dataplane/vpp/turns.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const budget = { timeoutMs: 1_000 };

test('no more run at a time than there are turns, in the order of asking', async () => {
  const turns = new Turns(createManualClock(), 2);
  const running: number[] = [];
  const order: number[] = [];
  let most = 0;
  await Promise.all(
    [0, 1, 2, 3, 4].map((number) =>
      turns.take(budget, async () => {
        running.push(number);
        order.push(number);
        most = Math.max(most, running.length);
        await Promise.resolve();
        running.splice(running.indexOf(number), 1);
      }),
    ),
  );
  expect(most).toBe(2);
  expect(order).toEqual([0, 1, 2, 3, 4]);
});

test('whoever waits too long is told, and the turn goes to the next', async () => {
  const clock = createManualClock();
  const turns = new Turns(clock, 1);
  let end: () => void = () => {};
  const first = turns.take(budget, () => new Promise<void>((resolve) => (end = resolve)));
  const impatient = turns.take({ timeoutMs: 100 }, async () => 'never');
  const patient = turns.take(budget, async ({ timeoutMs }) => timeoutMs);
  const refused = expect(impatient).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    details: { rule: 'turn' },
  });
  await clock.advance(300);
  await refused;
  end();
  await first;
  // What it has waited is taken off its time.
  expect(await patient).toBe(700);
});

test('a turn that failed is free again, and a caller that gave up takes none', async () => {
  const turns = new Turns(createManualClock(), 1);
  await expect(turns.take(budget, () => Promise.reject(new Error('as planned')))).rejects.toThrow(
    'as planned',
  );
  const signal = AbortSignal.abort();
  await expect(turns.take({ ...budget, signal }, async () => 'never')).rejects.toMatchObject({
    code: 'CANCELLED',
  });
  expect(await turns.take(budget, async () => 'done')).toBe('done');
});
