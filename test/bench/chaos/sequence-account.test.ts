// Protects the arithmetic behind the chaos table: which packets were lost, in which direction, in runs of what length,
// and that neither a duplicate nor a late packet is taken for a loss.

import fc from 'fast-check';
import { expect, test } from 'vitest';

import { SequenceAccount } from '../../../bench/chaos/sequence-account.ts';

/** Sends `count` packets; each is answered, in the order of numbers, unless lost on its way there or back. */
function exchange(count: number, lostThere: readonly number[], lostBack: readonly number[]) {
  const account = new SequenceAccount(1);
  let answers = 0;
  for (let index = 0; index < count; index += 1) {
    const number = account.send();
    if (lostThere.includes(number)) continue;
    const answer = answers++;
    if (!lostBack.includes(number)) account.receive(number, 1, answer, number);
  }
  return { account, answers };
}

test('nothing lost', () => {
  const { account } = exchange(10, [], []);
  expect(account.isComplete).toBe(true);
  expect(account.losses()).toMatchObject({ sent: 10, lostThere: 0, lostBack: 0 });
  expect(account.losses().longest).toBeUndefined();
});

test('the longest and the last run of lost packets, also at the end', () => {
  const { account } = exchange(20, [3, 4, 5, 18, 19], []);
  const losses = account.losses();
  expect(losses.longest).toEqual({ first: 3, packets: 3 });
  expect(losses.last).toEqual({ first: 18, packets: 2 });
});

test('packets flow again when an answer comes, however early what it answers was kept on the way', () => {
  const account = new SequenceAccount(1);
  for (let number = 0; number < 20; number += 1) account.send();
  account.receive(0, 1, 0, 1);
  // 1 to 9 are lost; 10 to 15 waited somewhere.
  for (let number = 10; number < 20; number += 1)
    account.receive(number, 1, number - 9, 16 + number / 10);
  expect(account.losses().resumedMs).toBe(17);
  expect(exchange(10, [], []).account.losses().resumedMs).toBeUndefined();
  expect(exchange(20, [3, 4], []).account.losses().resumedMs).toBe(5);
  expect(exchange(20, [19], []).account.losses().resumedMs).toBeUndefined();
});

test('more packets than the account has room for at first', () => {
  const { account } = exchange(10_000, [9_999], []);
  expect(account.losses()).toMatchObject({ sent: 10_000, lostThere: 1, lostBack: 0 });
});

test('a duplicate is counted and is no second answer, a late packet is reordered', () => {
  const account = new SequenceAccount(1);
  for (let index = 0; index < 3; index += 1) account.send();
  account.receive(0, 1, 0, 0);
  account.receive(2, 1, 2, 2);
  account.receive(1, 1, 1, 3);
  account.receive(1, 1, 3, 4);
  expect(account.losses()).toMatchObject({
    lostThere: 0,
    lostBack: 0,
    duplicated: 1,
    reordered: 1,
  });
});

test('a number that was never sent is nobody', () => {
  const { account } = exchange(2, [], []);
  account.receive(7, 1, 2, 2);
  expect(account.losses()).toMatchObject({ sent: 2, lostThere: 0, duplicated: 0 });
});

test('each loss is counted once, in its direction', () => {
  const numbers = fc.uniqueArray(fc.integer({ min: 0, max: 99 }));
  fc.assert(
    fc.property(numbers, numbers, (there, back) => {
      const onlyBack = back.filter((number) => !there.includes(number));
      const { account, answers } = exchange(100, there, onlyBack);
      account.tellAnswered(1, answers);
      expect(account.losses()).toMatchObject({
        lostThere: there.length,
        lostBack: onlyBack.length,
        duplicated: 0,
      });
    }),
  );
});
