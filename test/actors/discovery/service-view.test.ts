// Protects the order of the candidates under every policy: who drains or has expired is left out, who is to come last comes
// last and is still there, everybody else comes once, and the record says why anybody was kept back.

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type EndpointChoice, ServiceEntries } from '../../../actors/discovery/service-view.ts';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import {
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import { policies } from '../../../protocols/nsm/selection-policy.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';

const conditions = ['good', 'last', 'expired', 'draining'] as const;
const lifeMs = 1_000;

const populations = fc.record({
  policy: fc.constantFrom(...policies),
  conditions: fc.array(fc.constantFrom(...conditions), { maxLength: 20 }),
  isWeighted: fc.boolean(),
  loads: fc.array(fc.nat(3), { minLength: 20, maxLength: 20 }),
  limit: fc.integer({ min: 1, max: 25 }),
});

type Population = typeof populations extends fc.Arbitrary<infer T> ? T : never;
interface Named {
  readonly name: string;
  readonly condition: (typeof conditions)[number];
}

function populate({ policy, conditions: all, isWeighted }: Population, clock: ManualClock) {
  const entries = new ServiceEntries('service', { clock, wallClock: clock });
  const route = (app: string, weight: number) => ({
    destinationSelector: { app },
    weight: isWeighted ? weight : 0,
  });
  const metadata = { labels: { 'vwire.io/select': policy } };
  const matches = [{ routes: [route('0', 3), route('1', 1)], metadata }];
  entries.setService(create(NetworkServiceSchema, { name: 'service', matches }));
  const expirationTime = timestampFromEpochMs(clock.epochMs() + lifeMs);
  const named = all.map((condition, index): Named => {
    const name = `${condition}-${index}`;
    const draining = condition === 'draining' ? { 'vwire.io/draining': 'true' } : {};
    const labels = { app: String(index % 2), ...draining };
    entries.setEndpoint(
      create(NetworkServiceEndpointSchema, {
        name,
        networkServiceNames: ['service'],
        networkServiceLabels: { service: { labels } },
        ...(condition === 'expired' ? { expirationTime } : {}),
      }),
    );
    return { name, condition };
  });
  return { entries, named };
}

function expectOrder(choice: EndpointChoice, named: readonly Named[], limit: number): void {
  const of = (wanted: string) =>
    named.filter(({ condition }) => condition === wanted).map(({ name }) => name);
  const order = choice.candidates.map(({ name }) => name);
  expect(new Set(order).size).toBe(order.length);
  expect(order.length).toBe(Math.min(limit, of('good').length + of('last').length));
  const first = order.slice(0, Math.min(limit, of('good').length));
  expect(first.every((name) => name.startsWith('good'))).toBe(true);
  expect(choice.by?.draining ?? []).toEqual(of('draining'));
  for (const { name, reason } of choice.passedOver) {
    expect(reason).toBe(name.startsWith('last') ? 'told so' : 'expired');
  }
}

it('holds for any Endpoints, policy, weights and loads', async () => {
  await fc.assert(
    fc.asyncProperty(populations, async (population) => {
      const { policy, isWeighted, loads, limit } = population;
      const clock = createManualClock();
      const { entries, named } = populate(population, clock);
      await clock.advance(lifeMs + 1);
      const loadOf = (name: string) => loads[Number(name.split('-')[1])] ?? 0;
      const lastBecause = ({ name }: { readonly name: string }) =>
        name.startsWith('last') ? 'told so' : undefined;
      for (const stickyKey of ['one client', 'another', 'a third']) {
        const choice = entries.choose({ labels: {}, stickyKey, loadOf, lastBecause }, limit);
        expectOrder(choice, named, limit);
        const good = named.filter(({ condition }) => condition === 'good');
        if (policy !== 'least-loaded' || isWeighted || good.length === 0) continue;
        const least = Math.min(...good.map(({ name }) => loadOf(name)));
        expect(loadOf(choice.candidates[0]?.name ?? '')).toBe(least);
      }
    }),
    { numRuns: 300 },
  );
});
