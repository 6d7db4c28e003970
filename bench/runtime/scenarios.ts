// What is measured of an actor runtime. Each function runs one round on one contestant and returns its figure.

import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Contestant, Message, Target } from './contestants.ts';

const message: Message = {};

setFlagsFromString('--expose-gc');
/** Takes the garbage of earlier rounds out of the measurement. */
export const collect = runInNewContext('gc') as () => void;

/** Messages per second through one actor whose mailbox is always full. */
export async function flood(contestant: Contestant, count = 500_000): Promise<number> {
  const { target, done } = counting(contestant, count);
  const startMs = performance.now();
  for (let sent = 0; sent < count; sent += 1) contestant.tell(target, message);
  await done;
  return perSecond(count, startMs);
}

export interface FanOut {
  readonly actorCount: number;
  /** Messages that each actor has waiting. */
  readonly each: number;
  /** A wave begins when the last one has been handled, so that no actor ever has more than `each`. */
  readonly waves: number;
}

/** Messages per second over many actors. */
export async function fanOut(contestant: Contestant, load: FanOut): Promise<number> {
  let left = 0;
  let finish = (): void => {};
  const spawn = contestant.kind(() => {
    left -= 1;
    if (left === 0) finish();
  });
  const targets: Target[] = [];
  for (let index = 0; index < load.actorCount; index += 1) targets.push(spawn(`fan-${index}`));
  await turn();
  const startMs = performance.now();
  for (let wave = 0; wave < load.waves; wave += 1) {
    left = load.actorCount * load.each;
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    for (let round = 0; round < load.each; round += 1) {
      for (const target of targets) contestant.tell(target, message);
    }
    await done;
  }
  return perSecond(load.actorCount * load.each * load.waves, startMs);
}

/** Actors spawned per second. */
export async function spawning(contestant: Contestant, count = 30_000): Promise<number> {
  const spawn = contestant.kind(() => {});
  const startMs = performance.now();
  for (let index = 0; index < count; index += 1) spawn(`spawn-${index}`);
  return perSecond(count, startMs);
}

/** Asks per second with 1,000 in flight at one actor. */
export async function asking(contestant: Contestant, rounds = 100): Promise<number> {
  const target = contestant.kind(() => {})('answers');
  const concurrent = 1_000;
  const startMs = performance.now();
  for (let round = 0; round < rounds; round += 1) {
    const asks: Promise<unknown>[] = [];
    for (let index = 0; index < concurrent; index += 1) asks.push(contestant.ask(target));
    await Promise.all(asks);
  }
  return perSecond(concurrent * rounds, startMs);
}

/** Bytes of heap per actor that does nothing. */
export async function idleHeap(contestant: Contestant, count = 50_000): Promise<number> {
  const spawn = contestant.kind(() => {});
  const targets: Target[] = [];
  await turn();
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < count; index += 1) targets.push(spawn(`idle-${index}`));
  await turn();
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / count;
  return targets.length === count ? bytes : Number.NaN;
}

function counting(
  contestant: Contestant,
  count: number,
): { readonly target: Target; readonly done: Promise<void> } {
  let target: Target;
  const done = new Promise<void>((resolve) => {
    let left = count;
    target = contestant.kind(() => {
      left -= 1;
      if (left === 0) resolve();
    })('one');
  });
  return { target, done };
}

function perSecond(count: number, startMs: number): number {
  return count / ((performance.now() - startMs) / 1_000);
}
