// Protects the arithmetic of a choice: the shares of weighted routes are exact and smooth, nobody's turn is lost, a
// sticky client keeps its Endpoint when others come and go, and equal loads take turns.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  hashOf,
  highest,
  type NamedGroup,
  rendezvousScore,
  Turns,
} from '../../../protocols/nsm/selection-order.ts';

const everybody = () => true;
const range = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Group `g` has names `g-0`, `g-1` and so on. */
const groupsOf = (shapes: readonly { weight: number; size: number }[]): NamedGroup[] =>
  shapes.map(({ weight, size }, group) => ({
    weight,
    names: range(size).map((index) => `${group}-${index}`),
  }));

const firstOf = (turns: Turns, groups: readonly NamedGroup[], mayServe = everybody as Serves) =>
  [...turns.next(groups, mayServe)][0] ?? '';
type Serves = (name: string) => boolean;

const shapes = fc.array(
  fc.record({ weight: fc.integer({ min: 1, max: 20 }), size: fc.integer({ min: 1, max: 5 }) }),
  { minLength: 1, maxLength: 6 },
);

describe('turns', () => {
  it('give each route exactly its share in every run of as many choices as the weights sum up to', () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1, max: 3 }), (each, rounds) => {
        const groups = groupsOf(each);
        const turns = new Turns();
        const total = groups.length === 1 ? 1 : groups.reduce((sum, { weight }) => sum + weight, 0);
        for (const _ of range(rounds)) {
          const taken = range(total).map(() => firstOf(turns, groups));
          if (groups.length === 1) continue;
          for (const [index, { weight }] of groups.entries()) {
            expect(taken.filter((name) => name.startsWith(`${index}-`))).toHaveLength(weight);
          }
        }
      }),
    );
  });

  it('never let a route get a whole choice more or less than its share, at any moment', () => {
    fc.assert(
      fc.property(shapes, (each) => {
        const groups = groupsOf(each);
        if (groups.length === 1) return;
        const turns = new Turns();
        const total = groups.reduce((sum, { weight }) => sum + weight, 0);
        const taken = groups.map(() => 0);
        for (const step of range(2 * total)) {
          const group = Number(firstOf(turns, groups).split('-')[0]);
          taken[group] = (taken[group] ?? 0) + 1;
          for (const [index, { weight }] of groups.entries()) {
            const due = ((step + 1) * weight) / total;
            expect(Math.abs((taken[index] ?? 0) - due)).toBeLessThan(groups.length);
          }
        }
      }),
    );
  });

  it('name everybody once, whoever begins', () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 0, max: 30 }), (each, before) => {
        const groups = groupsOf(each);
        const turns = new Turns();
        for (const _ of range(before)) firstOf(turns, groups);
        const all = groups.flatMap(({ names }) => names);
        expect([...turns.next(groups, everybody)].toSorted()).toEqual(all.toSorted());
      }),
    );
  });

  it('spread a route evenly over its Endpoints', () => {
    const groups = groupsOf([
      { weight: 3, size: 2 },
      { weight: 1, size: 1 },
    ]);
    const turns = new Turns();
    const taken = range(16).map(() => firstOf(turns, groups));
    const count = (wanted: string) => taken.filter((name) => name === wanted).length;
    expect([count('0-0'), count('0-1'), count('1-0')]).toEqual([6, 6, 4]);
  });

  it('save no credit for a route that has nobody to serve', () => {
    const groups = groupsOf([
      { weight: 1, size: 1 },
      { weight: 1, size: 1 },
    ]);
    const turns = new Turns();
    for (const _ of range(50)) firstOf(turns, groups, (name) => name === '0-0');
    const after = range(10).map(() => firstOf(turns, groups));
    expect(after.filter((name) => name === '1-0').length).toBeLessThanOrEqual(6);
  });
});

describe('the highest scores', () => {
  it('come first, equal ones in the order in which they came', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 40 }),
        fc.integer({ min: 1, max: 10 }),
        fc.nat(50),
        fc.constantFrom(5, Infinity),
        (scores, limit, from, best) => {
          const items = range(scores.length);
          const score = (item: number) => scores[item] ?? 0;
          const inTurn = items.map((item) => (from + item) % items.length);
          const wanted = inTurn.toSorted((a, b) => score(b) - score(a)).slice(0, limit);
          expect(highest(items, score, { limit, from, best })).toEqual(wanted);
        },
      ),
    );
  });
});

describe('rendezvous hashing', () => {
  const names = range(10).map((index) => `endpoint-${index}`);
  const takenBy = (key: string, present: readonly string[], heavy?: string) => {
    const score = (place: number) => {
      const name = present[place] ?? '';
      const weight = name === heavy ? 3 : 1;
      return rendezvousScore(hashOf(key), hashOf(name), heavy === undefined ? undefined : weight);
    };
    const ranking = { limit: 1, from: 0, best: Infinity };
    return present[highest(range(present.length), score, ranking)[0] ?? 0];
  };

  it('moves only the clients of an Endpoint that goes', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(9), (key, gone) => {
        const left = names.filter((_, index) => index !== gone);
        const before = takenBy(key, names);
        if (before === names[gone]) return;
        expect(takenBy(key, left)).toBe(before);
      }),
    );
  });

  it('spreads clients by weight', () => {
    const heavy = 'endpoint-0';
    const keys = range(6_000).map((index) => `client-${index}`);
    const taken = keys.map((key) => takenBy(key, names, heavy));
    const share = (name: string) => taken.filter((each) => each === name).length / keys.length;
    expect(share(heavy)).toBeGreaterThan(2.5 / 12);
    expect(share(heavy)).toBeLessThan(3.5 / 12);
    for (const name of names.slice(1)) {
      expect(share(name)).toBeGreaterThan(0.7 / 12);
      expect(share(name)).toBeLessThan(1.3 / 12);
    }
  });
});
