// Tests of an operator's policy in WebAssembly as people write them: questions with the answer that is expected. What a
// question leaves out stands there as it would for a call within one mesh. Pure.

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
import { policyEntrypoints, type PolicyOperation, type PolicyQuestion } from './operator-policy.ts';

export interface OperatorPolicyTest {
  readonly question: PolicyQuestion;
  readonly expect: 'allow' | 'deny';
  /** Line of the document; undefined where that is not known. */
  readonly line: number | undefined;
}

const texts = ['hop', 'self', 'peer', 'client', 'service', 'connectionId', 'name'] as const;
const lists = ['connectionIds', 'services'] as const;
const testKeys = {
  known: ['operation', 'expect', 'time', 'labels', 'path', 'offers', ...texts, ...lists],
  shape: 'operation, expect, and what the input document has: client, service, labels: {...}, ...',
};
const claimKeys = { known: ['sub', 'aud', 'exp'], shape: '[{ sub, aud: [...], exp }]' };
const offerKeys = { known: ['service', 'labels'], shape: '[{ service, labels: {...} }]' };
const max = 4_096;

/** Throws INVALID_ARGUMENT with line, place, expected and found. `nowEpochMs`: for tests that name no time. */
export function operatorPolicyTestsFrom(
  document: unknown,
  positionOf: PositionOf,
  nowEpochMs: number,
): readonly OperatorPolicyTest[] {
  const root = rootOf('document of policy tests', document, positionOf);
  checkMapping(root, { known: ['tests'], shape: 'tests: [...]' });
  const shape = `[{ ${testKeys.shape} }]`;
  return itemsOf(childOf(root, 'tests'), { max, shape }).map((node) => ({
    question: questionOf(node, nowEpochMs / 1_000),
    expect: choiceOf(childOf(node, 'expect'), ['allow', 'deny']),
    line: positionOf(node.path)?.line,
  }));
}

function questionOf(node: Node, now: number): PolicyQuestion {
  checkMapping(node, testKeys);
  const has = (key: string): boolean => !isAbsent(childOf(node, key));
  const given = Object.fromEntries(
    texts.filter(has).map((key) => [key, textOf(childOf(node, key))]),
  );
  const listed = Object.fromEntries(
    lists.filter(has).map((key) => [key, textsOf(childOf(node, key))]),
  );
  const peer = given['peer'] ?? given['client'] ?? '';
  return {
    hop: 'nsmgr',
    self: '',
    time: has('time') ? numberOf(childOf(node, 'time')) : now,
    path: itemsOf(childOf(node, 'path'), { max, shape: claimKeys.shape }).map(claimsOf),
    ...given,
    ...listed,
    peer,
    operation: choiceOf(
      childOf(node, 'operation'),
      Object.keys(policyEntrypoints) as PolicyOperation[],
    ),
    ...(has('labels') && { labels: textMapOf(childOf(node, 'labels')) }),
    ...(has('offers') && {
      offers: itemsOf(childOf(node, 'offers'), { max, shape: offerKeys.shape }).map(offerOf),
    }),
  };
}

function claimsOf(node: Node) {
  checkMapping(node, claimKeys);
  const exp = childOf(node, 'exp');
  return {
    sub: textOf(childOf(node, 'sub')),
    aud: textsOf(childOf(node, 'aud')),
    ...(isAbsent(exp) ? {} : { exp: numberOf(exp) }),
  };
}

function offerOf(node: Node) {
  checkMapping(node, offerKeys);
  return { service: textOf(childOf(node, 'service')), labels: textMapOf(childOf(node, 'labels')) };
}

const textsOf = (node: Node): readonly string[] =>
  itemsOf(node, { max, shape: '[text, ...]' }).map(textOf);

function numberOf(node: Node): number {
  if (typeof node.value === 'number') return node.value;
  throw refuseNode(node, 'seconds since 1970');
}

function choiceOf<Choice extends string>(node: Node, choices: readonly Choice[]): Choice {
  const found = choices.find((choice) => choice === node.value);
  if (found === undefined) throw refuseNode(node, choices.join(' or '));
  return found;
}
