// Protects endpoint and forwarder selection: the reference's order of matches, its fallthrough and templates, and the
// three places where vwire differs on purpose (no duplicates, refused templates, an explanation).

import { create, type MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { NetworkServiceSchema } from '../../../protocols/nsm/gen/registry_pb.ts';
import { matchEndpoints, matchForwarders } from '../../../protocols/nsm/match.ts';
import { endpointOf } from './samples.ts';

type Matches = NonNullable<MessageInitShape<typeof NetworkServiceSchema>['matches']>;

function serviceOf(matches: Matches) {
  return create(NetworkServiceSchema, { name: 'svc', matches });
}

const a = endpointOf('a', 'svc', { app: 'a', nodeName: 'n1' });
const b = endpointOf('b', 'svc', { app: 'b', nodeName: 'n2' });
const bare = endpointOf('bare', 'svc');
const everybody = [a, b, bare];

function picked(matches: Matches, labels: Record<string, string> = {}): readonly string[] {
  return matchEndpoints({
    service: serviceOf(matches),
    labels,
    candidates: everybody,
  }).candidates.map(({ name }) => name);
}

describe('matchEndpoints', () => {
  it('takes everybody, in order, where the service has no matches', () => {
    expect(picked([])).toEqual(['a', 'b', 'bare']);
  });

  it('takes nobody where the service has matches and none applies', () => {
    expect(picked([{ sourceSelector: { app: 'x' }, routes: [{}] }])).toEqual([]);
  });

  it('lets the first applying match decide, even with an empty result', () => {
    const empty = { routes: [{ destinationSelector: { app: 'none' } }] };
    const all = { routes: [{}] };
    expect(picked([empty, all])).toEqual([]);
    expect(picked([{ ...empty, fallthrough: true }, all])).toEqual(['a', 'b', 'bare']);
  });

  it('takes nobody for a match with neither routes nor metadata, everybody for one with metadata', () => {
    expect(picked([{}])).toEqual([]);
    expect(picked([{ metadata: { labels: { p2p: 'true' } } }])).toEqual(['a', 'b', 'bare']);
    expect(picked([{ metadata: {}, fallthrough: true }])).toEqual([]);
  });

  it('accepts an endpoint without labels only by an empty selector', () => {
    expect(picked([{ routes: [{ destinationSelector: { app: '' } }] }])).toEqual([]);
    expect(picked([{ routes: [{}] }])).toContain('bare');
  });

  it('renders templates over the client labels in both selectors', () => {
    const route = { destinationSelector: { nodeName: '{{ .nodeName }}' } };
    expect(picked([{ routes: [route] }], { nodeName: 'n2' })).toEqual(['b']);
    const source = { app: '{{index . "role"}}' };
    expect(
      picked([{ sourceSelector: source, routes: [{}] }], { app: 'x', role: 'x' }),
    ).toHaveLength(3);
  });

  it('lists a candidate that satisfies two routes once', () => {
    const routes = [
      { destinationSelector: { app: 'a' } },
      { destinationSelector: { nodeName: 'n1' } },
      {},
    ];
    expect(picked([{ routes }])).toEqual(['a', 'b', 'bare']);
  });

  it('refuses a template with a missing key, naming service, match, place and key', () => {
    const route = { destinationSelector: { nodeName: '{{ .nodeName }}' } };
    const skipped = { sourceSelector: { app: 'x' }, routes: [route] };
    try {
      picked([skipped, { routes: [route] }], { app: 'y' });
      expect.unreachable('a label is missing');
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(NsmError);
      const { code, message, details } = thrown as NsmError;
      expect(code).toBe('INVALID_ARGUMENT');
      expect(message).toContain('nodeName');
      expect(details.rule).toContain('match 2 of service svc, routes[0].destination_selector');
      expect(details.remedy).toContain('index');
    }
  });

  it('does not render what cannot change the choice', () => {
    const unrenderable = { destinationSelector: { x: '{{ .missing }}' } };
    const all = { routes: [{}] };
    expect(picked([all, { routes: [unrenderable] }])).toHaveLength(3);
    const source = { app: 'other', x: '{{ .missing }}' };
    expect(
      picked([{ sourceSelector: source, routes: [{}] }, all], { app: 'y', z: '' }),
    ).toHaveLength(3);
  });

  it('is not misled by label names that objects have by themselves', () => {
    expect(picked([{ sourceSelector: { constructor: 'x' }, routes: [{}] }], { a: 'b' })).toEqual(
      [],
    );
    const selector: Record<string, string> = JSON.parse('{"__proto__":"x"}');
    expect(picked([{ sourceSelector: selector, routes: [{}] }], { a: 'b' })).toEqual([]);
  });
});

describe('explain', () => {
  it('says why each match and each candidate came out as it did', () => {
    const matches = [
      { sourceSelector: { app: 'x' }, routes: [{}] },
      { routes: [{ destinationSelector: { app: 'none' } }], fallthrough: true },
      { routes: [{ destinationSelector: { app: 'a' } }] },
      { routes: [{}] },
    ];
    const input = { service: serviceOf(matches), labels: { app: 'y' }, candidates: everybody };
    const { matches: outcomes, picked: names, refused } = matchEndpoints(input).explain();
    expect(outcomes.map(({ outcome }) => outcome)).toEqual([
      'skipped',
      'fellThrough',
      'decided',
      'notReached',
    ]);
    expect(outcomes[0]?.reason).toContain('label app is "y", expected "x"');
    expect(names).toEqual(['a']);
    expect(refused).toEqual([
      { name: 'b', reason: 'label app is "b", expected "a"' },
      { name: 'bare', reason: 'label app is absent, expected "a"' },
    ]);
  });

  it('agrees with the choice on any input', () => {
    const word = fc.constantFrom('a', 'b', '{{ .a }}', '{{index . "b"}}', '');
    const map = fc.dictionary(fc.constantFrom('a', 'b', 'c'), word, { maxKeys: 3 });
    const plain = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('a', 'b', ''));
    const match = fc.record({
      sourceSelector: map,
      routes: fc.array(
        map.map((destinationSelector) => ({ destinationSelector })),
        { maxLength: 3 },
      ),
      fallthrough: fc.boolean(),
      metadata: fc.option(fc.constant({}), { nil: undefined }),
    });
    fc.assert(
      fc.property(
        fc.array(match, { maxLength: 4 }),
        plain,
        fc.array(plain),
        (matches, labels, own) => {
          const candidates = own.map((each, at) => endpointOf(`e${at}`, 'svc', each));
          const service = serviceOf(
            matches.map(({ metadata, ...rest }) =>
              metadata === undefined ? rest : { ...rest, metadata },
            ),
          );
          const input = { service, labels, candidates };
          let names: readonly string[] | undefined;
          let explain;
          try {
            const selection = matchEndpoints(input);
            names = selection.candidates.map(({ name }) => name);
            explain = selection.explain();
            expect(new Set(names).size).toBe(names.length);
            expect([...explain.picked].sort()).toEqual([...names].sort());
          } catch (thrown) {
            expect(thrown).toMatchObject({ code: 'INVALID_ARGUMENT' });
          }
        },
      ),
    );
  });
});

describe('matchForwarders', () => {
  const p2p = endpointOf('p2p', 'forwarder', { p2p: 'true' });
  const sriov = endpointOf('sriov', 'forwarder', { sriov: 'true' });
  const unlabelled = endpointOf('unlabelled', 'forwarder');
  const candidates = [p2p, sriov, unlabelled];
  const forwarders = (matches: Matches, labels: Record<string, string> = {}): readonly string[] =>
    matchForwarders({
      service: serviceOf(matches),
      labels,
      candidates,
      forwarderService: 'forwarder',
    }).candidates.map(({ name }) => name);

  it('takes all without matches, those with p2p=true where the match names no labels', () => {
    expect(forwarders([])).toEqual(['p2p', 'sriov', 'unlabelled']);
    expect(forwarders([{ routes: [{}] }])).toEqual(['p2p']);
    expect(forwarders([{ metadata: {} }])).toEqual(['p2p']);
  });

  it('takes those that the metadata names, templates included', () => {
    expect(forwarders([{ metadata: { labels: { sriov: 'true' } } }])).toEqual(['sriov']);
    const labels = { sriov: '{{ .wanted }}' };
    expect(forwarders([{ metadata: { labels } }], { wanted: 'true' })).toEqual(['sriov']);
  });

  it('falls through only where the match says so', () => {
    const none = { metadata: { labels: { gpu: 'true' } } };
    expect(forwarders([none, {}])).toEqual([]);
    expect(forwarders([{ ...none, fallthrough: true }, {}])).toEqual(['p2p']);
    expect(forwarders([{ sourceSelector: { app: 'x' } }])).toEqual([]);
  });
});
