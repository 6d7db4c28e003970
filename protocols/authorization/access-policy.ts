// What may use what: an operator's rules about who may request a Network Service, who may offer it, who may stand
// between client and Endpoint, and who may operate the mesh. The first rule that applies decides, else `default`.
// NSM concept: the reference leaves this to Rego files of one's own. Pure.

import type { Finding } from './finding.ts';

export type AccessOperation = 'request' | 'register';

/** Absent conditions apply to everything. */
export interface AccessRule {
  readonly name: string;
  readonly effect: 'allow' | 'deny';
  /** SPIFFE IDs, or beginnings of some with `*` at the end; empty: anybody. */
  readonly clients: readonly string[];
  /** Names of Network Services, or beginnings; empty: any. */
  readonly services: readonly string[];
  /** Of the connection, or of the Endpoint for that service: all of them. */
  readonly labels: Readonly<Record<string, string>>;
  /** Empty: both. */
  readonly operations: readonly AccessOperation[];
}

export interface AccessTest extends AccessRequest {
  readonly expect: 'allow' | 'deny';
  /** Line of the document; undefined where that is not known. */
  readonly line: number | undefined;
}

export interface AccessPolicy {
  /** `audit`: what would be refused is granted and logged as `would-deny`. */
  readonly mode: 'enforce' | 'audit';
  /** For what no rule applies to. */
  readonly byDefault: 'allow' | 'deny';
  readonly rules: readonly AccessRule[];
  /** Who may stand behind another hop in a path; empty: anybody. */
  readonly hops: readonly string[];
  /** Who may drain, and watch connections that are not their own. */
  readonly operators: readonly string[];
  readonly tests: readonly AccessTest[];
}

/** As if there were no document. */
export const openPolicy: AccessPolicy = {
  mode: 'enforce',
  byDefault: 'allow',
  rules: [],
  hops: [],
  operators: [],
  tests: [],
};

export interface AccessRequest {
  readonly operation: AccessOperation;
  readonly client: string;
  readonly service: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface AccessDecision {
  readonly effect: 'allow' | 'deny';
  /** Name of the rule that decided; `default` where none applied. */
  readonly by: string;
}

export function decide(policy: AccessPolicy, request: AccessRequest): AccessDecision {
  const rule = policy.rules.find((each) => applies(each, request));
  return rule === undefined
    ? { effect: policy.byDefault, by: 'default' }
    : { effect: rule.effect, by: rule.name };
}

function applies(rule: AccessRule, { operation, client, service, labels }: AccessRequest): boolean {
  return (
    (rule.operations.length === 0 || rule.operations.includes(operation)) &&
    (rule.clients.length === 0 || matchesAny(rule.clients, client)) &&
    (rule.services.length === 0 || matchesAny(rule.services, service)) &&
    Object.entries(rule.labels).every(([name, value]) => labels[name] === value)
  );
}

export function matchesAny(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) =>
    pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern,
  );
}

/** Refuses what the policy denies; `mode` is the business of whoever enforces it. */
export function accessPolicy(policy: AccessPolicy, request: AccessRequest): Finding | undefined {
  const { effect, by } = decide(policy, request);
  if (effect === 'allow') return undefined;
  return {
    rule: `access_policy/${by}`,
    expected: `a rule that lets ${request.client} ${request.operation} ${request.service}`,
    found: by === 'default' ? 'no rule applies, and the default is deny' : `the rule ${by} denies`,
  };
}

export function hopAllowed({ hops }: AccessPolicy, peer: string): Finding | undefined {
  if (hops.length === 0 || matchesAny(hops, peer)) return undefined;
  return {
    rule: 'hop_allowed',
    expected: `a caller of ${hops.join(', ')}, as it passes on what somebody else asks for`,
    found: peer,
    remedy: 'add it to hops of the access policy, if it is a part of the mesh',
  };
}

/** A test of the document that does not come out as it says. */
export interface FailedTest {
  readonly test: AccessTest;
  readonly decision: AccessDecision;
}

export function failedTests(policy: AccessPolicy): readonly FailedTest[] {
  return policy.tests.flatMap((test) => {
    const decision = decide(policy, test);
    return decision.effect === test.expect ? [] : [{ test, decision }];
  });
}
