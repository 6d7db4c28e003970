// The access policy as people write it (VWIRE_POLICY_FILE). Pure. Strict: a key that does not belong here, a pattern that
// can match nothing, or a test of the document that comes out otherwise than it says refuses the whole document.

import { NsmError } from '../errors.ts';
import {
  checkMapping,
  childOf,
  isAbsent,
  itemsOf,
  type Node,
  type PositionOf,
  refuseNode,
  rootOf,
  textMapOf,
  textOf,
} from '../nsm/document-reader.ts';
import {
  type AccessOperation,
  type AccessPolicy,
  type AccessRule,
  type AccessTest,
  failedTests,
} from './access-policy.ts';

const keys = {
  known: ['mode', 'default', 'rules', 'hops', 'operators', 'tests'],
  shape: 'mode, default, rules: [...], hops: [...], operators: [...], tests: [...]',
};
const ruleKeys = {
  known: ['name', 'effect', 'clients', 'services', 'labels', 'operations'],
  shape: 'name, effect, clients: [...], services: [...], labels: {...}, operations: [...]',
};
const testKeys = {
  known: ['client', 'service', 'labels', 'operation', 'expect'],
  shape: 'client, service, labels: {...}, operation, expect',
};
const entriesMax = 4096;

/** Throws INVALID_ARGUMENT with line, place, expected and found. The tests are read, not run. */
export function accessPolicyFrom(document: unknown, positionOf: PositionOf): AccessPolicy {
  const root = rootOf('access policy', document, positionOf);
  checkMapping(root, keys);
  const list = (key: string, shape: string) =>
    itemsOf(childOf(root, key), { max: entriesMax, shape });
  const rules = list('rules', `[{ ${ruleKeys.shape} }]`).map(readRule);
  const twice = rules.findIndex(({ name }, at) =>
    rules.some((each, to) => to < at && each.name === name),
  );
  if (twice >= 0) {
    throw refuseNode(childOf(childOf(childOf(root, 'rules'), twice), 'name'), 'a name of its own');
  }
  return {
    mode: choiceOf(childOf(root, 'mode'), ['enforce', 'audit']) ?? 'enforce',
    byDefault: choiceOf(childOf(root, 'default'), ['allow', 'deny']) ?? 'allow',
    rules,
    hops: list('hops', idShape).map(idPatternOf),
    operators: list('operators', idShape).map(idPatternOf),
    tests: list('tests', `[{ ${testKeys.shape} }]`).map((node) => readTest(node, positionOf)),
  };
}

/** The same, with its tests passed. Throws INVALID_ARGUMENT naming the first that fails. */
export function testedAccessPolicyFrom(document: unknown, positionOf: PositionOf): AccessPolicy {
  const policy = accessPolicyFrom(document, positionOf);
  const [failed] = failedTests(policy);
  if (failed === undefined) return policy;
  const { test, decision } = failed;
  const where = test.line === undefined ? 'tests' : `line ${test.line}, tests`;
  throw new NsmError('INVALID_ARGUMENT', 'a test of the access policy fails', {
    rule: where,
    expected: `${test.expect} for ${test.client} to ${test.operation} ${test.service}`,
    found: `${decision.effect} by ${decision.by}`,
    remedy: 'vwire policy test FILE shows all of them',
  });
}

const idShape = '[spiffe://example.org/ns/web/*]';

function readRule(node: Node): AccessRule {
  checkMapping(node, ruleKeys);
  const list = (key: string, shape: string) =>
    itemsOf(childOf(node, key), { max: entriesMax, shape });
  return {
    name: required(childOf(node, 'name')),
    effect: requiredChoice(childOf(node, 'effect'), ['allow', 'deny']),
    clients: list('clients', idShape).map(idPatternOf),
    services: list('services', '[my-service, db-*]').map(patternOf),
    labels: textMapOf(childOf(node, 'labels')),
    operations: list('operations', '[request, register]').map((each) =>
      requiredChoice(each, operations),
    ),
  };
}

const operations: readonly AccessOperation[] = ['request', 'register'];

function readTest(node: Node, positionOf: PositionOf): AccessTest {
  checkMapping(node, testKeys);
  const client = required(childOf(node, 'client'));
  if (!client.startsWith('spiffe://') || client.endsWith('*')) {
    throw refuseNode(
      childOf(node, 'client'),
      'one SPIFFE ID, such as spiffe://example.org/ns/web/a',
    );
  }
  return {
    client,
    service: required(childOf(node, 'service')),
    labels: textMapOf(childOf(node, 'labels')),
    operation: choiceOf(childOf(node, 'operation'), operations) ?? 'request',
    expect: requiredChoice(childOf(node, 'expect'), ['allow', 'deny']),
    line: positionOf(node.path)?.line,
  };
}

function required(node: Node): string {
  const text = textOf(node);
  if (text === '') throw refuseNode(node, 'a text that is not empty');
  return text;
}

/** An exact text, or a beginning with one star at its end. */
function patternOf(node: Node): string {
  const text = required(node);
  if (!text.slice(0, -1).includes('*')) return text;
  throw refuseNode(node, 'a text, with a * nowhere but at its end');
}

function idPatternOf(node: Node): string {
  const text = patternOf(node);
  if (text === '*' || text.startsWith('spiffe://')) return text;
  throw refuseNode(
    node,
    'a SPIFFE ID, or its beginning and *, such as spiffe://example.org/ns/web/*',
  );
}

function choiceOf<Choice extends string>(
  node: Node,
  choices: readonly Choice[],
): Choice | undefined {
  return isAbsent(node) ? undefined : requiredChoice(node, choices);
}

function requiredChoice<Choice extends string>(node: Node, choices: readonly Choice[]): Choice {
  const found = choices.find((choice) => choice === node.value);
  if (found === undefined) throw refuseNode(node, choices.join(' or '));
  return found;
}
