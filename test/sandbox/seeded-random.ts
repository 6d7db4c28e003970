// Randomness from a seed and a name, so that each part of a simulated mesh has a stream of its own: taking one part's
// draw away changes no other part's, which keeps a shrunk run close to the one that failed.

import type { Random } from '../../protocols/ports/random.ts';

export interface SeededRandom extends Random {
  /** Uniform in [0, 1). */
  unit(): number;
  /** Uniform in [from, to). */
  between(from: number, to: number): number;
  pick<T>(from: readonly T[]): T;
  chance(probability: number): boolean;
}

export function randomOf(seed: number, name: string): SeededRandom {
  let state = hash(name, Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b));
  // Mulberry32.
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const unit = (): number => next() / 2 ** 32;
  const hex = (digits: number): string => next().toString(16).padStart(8, '0').slice(0, digits);
  return {
    unit,
    between: (from, to) => from + unit() * (to - from),
    integer: (exclusiveMax) => Math.floor(unit() * exclusiveMax),
    chance: (probability) => unit() < probability,
    pick: (from) => from[Math.floor(unit() * from.length)] as (typeof from)[number],
    uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(8)}${hex(4)}`,
  };
}

/** FNV-1a over UTF-16 units, going on from `start`. */
export function hash(text: string, start = 0x811c9dc5): number {
  let value = start | 0;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return value;
}
