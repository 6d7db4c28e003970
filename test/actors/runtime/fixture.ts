// A system of actors on a manual clock with seeded randomness, which must be empty again when the test ends.

import { expect } from 'vitest';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import type { ActorSystem, ActorSystemOptions, DeadLetter } from '../../../actors/runtime/api.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { Random } from '../../../protocols/ports/random.ts';
import { ManualClock } from './manual-clock.ts';
import { turns } from './turns.ts';

export interface Fixture {
  readonly system: ActorSystem;
  readonly clock: ManualClock;
  readonly letters: DeadLetter[];
  /** Stops the system and checks that no actor and no timer is left. */
  readonly end: () => Promise<void>;
}

export function fixture(options: Partial<ActorSystemOptions> = {}): Fixture {
  const clock = new ManualClock();
  const letters: DeadLetter[] = [];
  const system = createActorSystem({
    name: 'node/test',
    clock,
    random: seededRandom(1),
    log: silentLog,
    onDeadLetter: (letter) => letters.push(letter),
    ...options,
  });
  return {
    system,
    clock,
    letters,
    end: async () => {
      const stopped = system.stop(60_000);
      await turns();
      await clock.advance(10_000);
      await stopped;
      expect(system.actorCount).toBe(0);
      expect(system.tree()).toEqual([]);
      expect(clock.armedCount).toBe(0);
    },
  };
}

/** A small linear generator: good enough to shuffle, and the same on every machine. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
  const hex = (digits: number): string =>
    Array.from({ length: digits }, () => (next() >>> 28).toString(16)).join('');
  return {
    integer: (exclusiveMax) => Math.floor((next() / 2 ** 32) * exclusiveMax),
    uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`,
  };
}
