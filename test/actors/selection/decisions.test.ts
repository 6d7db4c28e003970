// Protects the record behind `vwire why`: what was decided is found again by its own id and by the connection's id at
// any hop, each failure keeps its words, a refusal leads to its record once, and the record is bounded.

import { describe, expect, it } from 'vitest';
import {
  createDecisions,
  type DecisionFacts,
  decisionsMax,
} from '../../../actors/selection/decisions.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { connectionAt } from '../connection/hop-request.ts';
import { seededRandom } from '../runtime/fixture.ts';

const decisionsOf = (seed = 1) =>
  createDecisions({ wallClock: createManualClock(), random: seededRandom(seed) });

const facts = (change: Partial<DecisionFacts> = {}): DecisionFacts => ({
  kind: 'endpoint',
  connection: connectionAt(2, ['nsc', 'nsmgr', 'forwarder']),
  reselect: false,
  policy: 'round-robin',
  policyFrom: 'default',
  turn: 1,
  candidateCount: 2,
  explain: () => undefined,
  order: ['a', 'b'],
  passedOver: [],
  ...change,
});

const refusal = new NsmError('RESOURCE_EXHAUSTED', 'full', { remedy: 'wait' });

describe('a decision', () => {
  it('is found by its id and by the id of the connection at any hop', async () => {
    const decisions = decisionsOf();
    const { connection } = facts();
    const decision = decisions.open(facts());
    await expect(
      decision.trying('a', () => Promise.reject(new NsmError('UNAVAILABLE', 'away'))),
    ).rejects.toThrow('away');
    expect(await decision.trying('b', () => Promise.resolve('answer'))).toBe('answer');
    const ids = connection.path?.pathSegments.map(({ id }) => id) ?? [];
    expect(ids).toHaveLength(3);
    for (const key of [decision.id, ...ids]) {
      expect(decisions.find(key)).toMatchObject([
        { taken: 'b', failures: [{ name: 'a', error: 'UNAVAILABLE: away' }], client: 'nsc' },
      ]);
    }
    expect(decisions.find('somebody')).toEqual([]);
  });

  it('that ends in a refusal tells its reader where to look it up, once', () => {
    const decisions = decisionsOf();
    const nearer = decisions.open(facts());
    const told = nearer.refused(refusal);
    expect(told).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: { remedy: `wait; vwire why ${nearer.id} tells the whole choice` },
    });
    expect(decisions.open(facts({ kind: 'forwarder' })).refused(told)).toBe(told);
    expect(decisions.find(nearer.id)).toMatchObject([{ error: expect.stringContaining('full') }]);
  });

  it('notes the load as it was when it was made', () => {
    const decisions = decisionsOf();
    let load = 3;
    const { id } = decisions.open(facts({ noteOf: (name) => `${name} has ${load}` }));
    load = 9;
    expect(decisions.find(id)).toMatchObject([{ notes: ['a has 3', 'b has 3'] }]);
  });

  it('has an id that no other life of the process gives', () => {
    const ids = [1, 2].map((seed) => decisionsOf(seed).open(facts()).id);
    expect(new Set(ids).size).toBe(2);
  });
});

it('the record keeps the newest, and those newest first', () => {
  const decisions = decisionsOf();
  const ids = Array.from({ length: decisionsMax + 3 }, () => decisions.open(facts()).id);
  expect(decisions.find(firstId()).map(({ id }) => id)).toEqual(ids.slice(3).toReversed());
  expect(decisions.find(ids[2] ?? '')).toEqual([]);
});

const firstId = () => facts().connection.path?.pathSegments[0]?.id ?? '';
