// Protects people who write NetworkService files: what the reference would silently drop is refused with line, place,
// expected shape and a remedy.

import { toJson } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { readNetworkServices } from '../../../bin/network-service-file.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { NetworkServiceSchema } from '../../../protocols/nsm/gen/registry_pb.ts';

const good = `apiVersion: networkservicemesh.io/v1
kind: NetworkService
metadata:
  name: chain
spec:
  payload: ETHERNET
  matches:
    - source_selector:
        app: firewall
      fallthrough: true
      routes:
        - destination_selector:
            nodeName: "{{.nodeName}}"
          weight: 2
    - metadata:
        labels:
          p2p: "true"
`;

function refused(text: string): NsmError {
  try {
    readNetworkServices(text, 'services.yaml');
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(NsmError);
    expect((thrown as NsmError).code).toBe('INVALID_ARGUMENT');
    return thrown as NsmError;
  }
  throw new Error('nothing was refused');
}

describe('a NetworkService file', () => {
  it('is read as a Kubernetes resource or as a bare spec, several per file', () => {
    const bare = 'name: plain\npayload: ip\n';
    const services = readNetworkServices(`${good}---\n${bare}---\n`, 'f');
    expect(services.map((each) => toJson(NetworkServiceSchema, each))).toEqual([
      {
        name: 'chain',
        payload: 'ETHERNET',
        matches: [
          {
            sourceSelector: { app: 'firewall' },
            fallthrough: true,
            routes: [{ destinationSelector: { nodeName: '{{.nodeName}}' }, weight: 2 }],
          },
          { metadata: { labels: { p2p: 'true' } } },
        ],
      },
      { name: 'plain', payload: 'IP' },
    ]);
  });

  const spec = (body: string): string =>
    `kind: NetworkService\nmetadata: {name: a}\nspec:\n${body}`;
  it.each([
    [
      'routes inside the source selector',
      spec(
        '  matches:\n    - source_selector:\n        app: x\n        routes:\n          - destination_selector: {a: b}\n',
      ),
      7,
      /move it there/,
    ],
    [
      'routes beside matches',
      spec('  matches: []\n  routes:\n    - destination_selector: {a: b}\n'),
      5,
      /below matches/,
    ],
    [
      'routes as a mapping',
      spec('  matches:\n    - routes:\n        destination_selector: {a: b}\n'),
      5,
      /^$/,
    ],
    [
      'the old nesting',
      spec('  matches:\n    - match:\n      route:\n        - destination: {}\n'),
      5,
      /leave the level/,
    ],
    [
      'labels beside their selector',
      spec('  matches:\n    - routes:\n        - destination_selector:\n          app: y\n'),
      7,
      /^$/,
    ],
    ['another spelling', spec('  matches:\n    - sourceSelector: {a: b}\n'), 5, /source_selector/],
    ['a number as label', spec('  matches:\n    - source_selector:\n        a: 1\n'), 6, /^$/],
    ['an unknown payload', spec('  payload: TCP\n'), 4, /^$/],
    ['another kind', 'kind: Pod\nspec: {}\n', 1, /^$/],
    [
      'an unknown policy',
      spec('  matches:\n    - metadata:\n        labels:\n          vwire.io/select: loaded\n'),
      7,
      /^$/,
    ],
    ['a negative weight', spec('  matches:\n    - routes:\n        - weight: -1\n'), 6, /^$/],
  ])('is refused for %s, with the line', (_, text, line, remedy) => {
    const { details } = refused(text);
    expect(details.rule).toMatch(new RegExp(`^line ${line},`));
    expect(details.expected).toBeTruthy();
    expect(details.found).toBeTruthy();
    expect(details.remedy ?? '').toMatch(remedy);
  });

  it.each([
    '{',
    'a: *missing',
    '- 1',
    '5',
    'payload: IP',
    'a: 1\na: 2',
    `${'a'.repeat(1_048_577)}`,
  ])('is refused where it is no document at all (%#)', (text) => {
    expect(refused(text).details.rule).toBeTruthy();
  });

  it('cannot blow up through aliases', () => {
    const levels = Array.from(
      { length: 12 },
      (_, at) => `x${at + 1}: &x${at + 1} [${Array(9).fill(`*x${at}`).join(',')}]`,
    );
    expect(refused(`x0: &x0 y\n${levels.join('\n')}\n`).message).toContain('cannot be read');
  });
});
