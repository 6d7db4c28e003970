// Protects those who write tests for a policy of their own: a question stands there as it was written, and a slip is
// refused with its place.

import { describe, expect, it } from 'vitest';
import { operatorPolicyTestsFrom } from '../../../protocols/authorization/operator-policy-tests.ts';
import { describeError } from '../../../protocols/errors.ts';

const read = (...tests: unknown[]) => operatorPolicyTestsFrom({ tests }, () => undefined, 5_000);

describe('a question', () => {
  it('has what is written, and what a call within a mesh would have', () => {
    const [test] = read({ operation: 'Request', client: 'spiffe://a/b', expect: 'allow' });
    expect(test).toEqual({
      expect: 'allow',
      line: undefined,
      question: {
        operation: 'Request',
        hop: 'nsmgr',
        self: '',
        client: 'spiffe://a/b',
        peer: 'spiffe://a/b',
        time: 5,
        path: [],
      },
    });
  });

  it('may have everything that the input document has', () => {
    const question = {
      operation: 'Register',
      hop: 'registry',
      self: 'spiffe://a/registry',
      peer: 'spiffe://a/m',
      client: 'spiffe://a/b',
      time: 1.5,
      path: [
        { sub: 'spiffe://a/b', aud: ['spiffe://a/m'], exp: 9 },
        { sub: '', aud: [] },
      ],
      name: 'nse-1',
      offers: [{ service: 's', labels: { tier: 'gold' } }],
      service: 's',
      labels: { tier: 'gold' },
      connectionId: 'c',
      connectionIds: ['c'],
      services: ['s'],
    };
    expect(read({ ...question, expect: 'deny' })[0]?.question).toEqual(question);
  });
});

it.each([
  [{ expect: 'allow' }, 'tests.0.operation', 'Request or Close or'],
  [{ operation: 'Find', expect: 'allow' }, 'tests.0.operation', 'Request or Close or'],
  [{ operation: 'Close' }, 'tests.0.expect', 'allow or deny'],
  [
    { operation: 'Close', expect: 'deny', clients: 'a' },
    'tests.0.clients',
    'found: the key clients',
  ],
  [{ operation: 'Close', expect: 'deny', time: 'now' }, 'tests.0.time', 'seconds since 1970'],
  [{ operation: 'Close', expect: 'deny', path: [{ token: 'a' }] }, 'tests.0.path.0.token', 'token'],
])('a slip is refused with its place: %j', (test, place, text) => {
  let refusal: unknown;
  try {
    read(test);
  } catch (error) {
    refusal = error;
  }
  expect(describeError(refusal)).toContain(place);
  expect(describeError(refusal)).toContain(text);
});
