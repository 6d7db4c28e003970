// Protects the operator's own policy: the first rule that applies decides, a document that does not mean what it says is
// refused as a whole with its line, and a document whose own tests fail is never put in force.

import { describe, expect, it } from 'vitest';
import {
  type AccessRequest,
  accessPolicy,
  decide,
  failedTests,
  hopAllowed,
} from '../../../protocols/authorization/access-policy.ts';
import {
  accessPolicyFrom,
  testedAccessPolicyFrom,
} from '../../../protocols/authorization/access-policy-document.ts';
import { readYamlDocument } from '../../../bin/yaml-file.ts';

const text = `
default: deny
hops: ['spiffe://home.test/mesh/*']
rules:
  - name: quarantine
    effect: deny
    labels: { quarantined: 'yes' }
  - name: web may use the database
    effect: allow
    clients: ['spiffe://home.test/web/*']
    services: ['db-*']
    operations: [request]
  - name: databases are offered by their team
    effect: allow
    clients: ['spiffe://home.test/team/db']
    services: ['db-*']
    operations: [register]
tests:
  - { client: spiffe://home.test/web/1, service: db-1, expect: allow }
  - { client: spiffe://home.test/web/1, service: db-1, operation: register, expect: deny }
  - { client: spiffe://home.test/web/1, service: db-1, labels: { quarantined: 'yes' }, expect: deny }
`;

function read(yaml: string) {
  const document = readYamlDocument(yaml, { kind: 'policy', name: 'policy.yaml' });
  return testedAccessPolicyFrom(document?.value, document?.positionOf ?? (() => undefined));
}

describe('an access policy', () => {
  const policy = read(text);
  const ask = (change: Partial<AccessRequest>) =>
    decide(policy, {
      operation: 'request',
      client: 'spiffe://home.test/web/1',
      service: 'db-1',
      labels: {},
      ...change,
    });

  it.each([
    ['the rule that names it', {}, 'allow', 'web may use the database'],
    ['an earlier rule first', { labels: { quarantined: 'yes' } }, 'deny', 'quarantine'],
    ['the default where none applies', { service: 'mail' }, 'deny', 'default'],
    ['no prefix of another name', { client: 'spiffe://home.test/website' }, 'deny', 'default'],
    [
      'no exact id by its beginning',
      {
        operation: 'register',
        client: 'spiffe://home.test/team/db2',
      },
      'deny',
      'default',
    ],
    [
      'the operation',
      {
        operation: 'register',
        client: 'spiffe://home.test/team/db',
      },
      'allow',
      'databases are offered by their team',
    ],
  ] as const)('decides by %s', (_, change, effect, by) => {
    expect(ask(change)).toEqual({ effect, by });
  });

  it('names the rule that denies', () => {
    const request = {
      operation: 'request',
      client: 'spiffe://home.test/a',
      service: 'mail',
      labels: {},
    } as const;
    expect(accessPolicy(policy, request)).toMatchObject({ rule: 'access_policy/default' });
  });

  it.each([
    ['spiffe://home.test/mesh/nsmgr', undefined],
    ['spiffe://home.test/web/1', 'hop_allowed'],
  ])('lets %s stand behind another hop or not', (peer, rule) => {
    expect(hopAllowed(policy, peer)?.rule).toBe(rule);
  });

  it.each([
    ['a key that does not belong here', 'rule: []', 'line 1, rule'],
    ['an effect that is none', 'rules:\n - { name: a, effect: maybe }', 'rules.0.effect'],
    ['a rule without a name', 'rules:\n - { effect: deny }', 'rules.0.name'],
    [
      'a name that comes twice',
      'rules:\n - { name: a, effect: deny }\n - { name: a, effect: allow }',
      'line 3, rules.1.name',
    ],
    [
      'a star in the middle',
      "rules:\n - { name: a, effect: deny, clients: ['spiffe://*/x'] }",
      'rules.0.clients.0',
    ],
    ['a client that is no id', 'operators: [me]', 'operators.0'],
    [
      'a test of many clients',
      "tests:\n - { client: 'spiffe://a/*', service: b, expect: deny }",
      'client',
    ],
    ['a mode that is none', 'mode: dry', 'mode'],
  ])('refuses %s', (_, yaml, place) => {
    const refused = expect(() => read(yaml));
    refused.toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    refused.toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ rule: expect.stringContaining(place) }),
      }),
    );
  });

  it('refuses a document whose own test fails, with its line', () => {
    const wrong = text.replace('expect: allow', 'expect: deny');
    expect(() => read(wrong)).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({
          rule: 'line 19, tests',
          found: 'allow by web may use the database',
        }),
      }),
    );
  });

  it('tells of every test that fails', () => {
    const test = { client: 'spiffe://home.test/x', service: 'mail', expect: 'allow' };
    const wrong = accessPolicyFrom({ default: 'deny', tests: [test, test] }, () => undefined);
    expect(failedTests(wrong)).toHaveLength(2);
  });
});
