// Protects scale from zero in both of its published forms, with `fallthrough` on the first match and without, and
// everybody who has no supplier from being touched by it: a supplier never changes whom a client gets from others.

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NetworkServiceSchema } from '../../../protocols/nsm/gen/registry_pb.ts';
import { matchEndpoints } from '../../../protocols/nsm/match.ts';
import { supplierLabel } from '../../../protocols/nsm/supplier.ts';
import { endpointOf } from './samples.ts';

type Matches = NonNullable<MessageInitShape<typeof NetworkServiceSchema>['matches']>;

const supplier = endpointOf('supplier', 'svc', {
  app: 'supplier',
  [supplierLabel.key]: supplierLabel.value,
});
/** As the reference's supplier registers: nothing but its configured label tells it. */
const foreign = endpointOf('foreign', 'svc', { app: 'supplier' });
const server = endpointOf('server', 'svc', { app: 'server', nodeName: 'n1' });

const toServer = { destinationSelector: { app: 'server', nodeName: '{{ .nodeName }}' } };
const toSupplier = { destinationSelector: { app: 'supplier' } };

function choose(matches: Matches, candidates: readonly (typeof server)[], nodeName = 'n1') {
  const service = create(NetworkServiceSchema, { name: 'svc', matches });
  const selection = matchEndpoints({ service, labels: { nodeName }, candidates });
  return { names: selection.candidates.map(({ name }) => name), explained: selection.explain() };
}

describe.each([true, false])('a supplier behind a match with fallthrough %s', (fallthrough) => {
  const matches = [{ routes: [toServer], fallthrough }, { routes: [toSupplier] }];

  it('is asked where nobody serves', () => {
    expect(choose(matches, [supplier]).names).toEqual(['supplier']);
    expect(choose(matches, [server, supplier], 'n2').names).toEqual(['supplier']);
  });

  it('is not asked where somebody does', () => {
    expect(choose(matches, [supplier, server]).names).toEqual(['server']);
  });

  it('is explained', () => {
    const { explained } = choose(matches, [supplier]);
    expect(explained.matches.map(({ outcome }) => outcome)).toEqual(['fellThrough', 'decided']);
    expect(explained.picked).toEqual(['supplier']);
  });
});

describe('without fallthrough', () => {
  const matches = [{ routes: [toServer] }, { routes: [toSupplier] }];

  it('a supplier that does not say that it is one is never reached, as in the reference', () => {
    expect(choose(matches, [foreign]).names).toEqual([]);
    expect(
      choose([{ ...matches[0], fallthrough: true }, matches[1] ?? {}], [foreign]).names,
    ).toEqual(['foreign']);
  });

  it('later matches give suppliers only, and only where they route to them', () => {
    const all = [{ routes: [toServer] }, { routes: [{}] }];
    expect(choose(all, [foreign, supplier]).names).toEqual(['supplier']);
    const source = { sourceSelector: { app: 'other' }, routes: [toSupplier] };
    expect(choose([{ routes: [toServer] }, source], [supplier]).names).toEqual([]);
  });

  it('a broken template behind the deciding match matters to nobody without a supplier', () => {
    const broken = { routes: [{ destinationSelector: { app: '{{ .absent }}' } }] };
    expect(choose([{ routes: [toServer] }, broken], [foreign]).names).toEqual([]);
    expect(choose([{ routes: [toServer] }, broken], [server, supplier]).names).toEqual(['server']);
  });
});

it('beside others a supplier is left out of a match, and of a service without matches', () => {
  expect(choose([], [supplier, server]).names).toEqual(['server']);
  expect(choose([{ routes: [{}] }], [supplier, server]).names).toEqual(['server']);
  expect(choose([{ metadata: {} }], [supplier, server]).names).toEqual(['server']);
  expect(choose([], [supplier]).names).toEqual(['supplier']);
});

it('suppliers change nothing for a client that gets somebody without them, and are explained', () => {
  const selector = fc.dictionary(fc.constantFrom('a', 'b'), fc.constantFrom('x', 'y', ''));
  const match = fc.record({
    routes: fc.array(selector.map((destinationSelector) => ({ destinationSelector }))),
    fallthrough: fc.boolean(),
    metadata: fc.option(fc.constant({}), { nil: undefined }),
  });
  const entry = fc.record({ labels: selector, supplies: fc.boolean() });
  fc.assert(
    fc.property(fc.array(match, { maxLength: 4 }), fc.array(entry), (matches, entries) => {
      const candidates = entries.map(({ labels, supplies }, at) => {
        const own = supplies ? { ...labels, [supplierLabel.key]: supplierLabel.value } : labels;
        return endpointOf(supplies ? `supplier-${at}` : `server-${at}`, 'svc', own);
      });
      const given = matches.map(({ metadata, ...rest }) =>
        metadata === undefined ? rest : { ...rest, metadata },
      );
      const { names, explained } = choose(given, candidates);
      const alone = choose(
        given,
        candidates.filter(({ name }) => name.startsWith('server')),
      ).names;
      if (alone.length > 0) expect(names).toEqual(alone);
      else expect(names.every((name) => name.startsWith('supplier'))).toBe(true);
      expect([...explained.picked].sort()).toEqual([...names].sort());
    }),
  );
});
