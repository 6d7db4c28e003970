// What an operator's own policy is asked, and what it may answer. The question is its input document (docs/guides/policy.md);
// it tells who calls and what the tokens of the path say, never a token. Pure.

import type { Finding } from './finding.ts';
import type { ReadToken } from './read-tokens.ts';

/** Operations that may be asked about, by the entrypoint that is asked. */
export const policyEntrypoints = {
  Request: 'vwire/request',
  Close: 'vwire/close',
  Register: 'vwire/register',
  Unregister: 'vwire/unregister',
  MonitorConnections: 'vwire/monitor',
} as const;

export type PolicyOperation = keyof typeof policyEntrypoints;

export const isPolicyOperation = (operation: string): operation is PolicyOperation =>
  Object.hasOwn(policyEntrypoints, operation);

/** Claims of a token of the path, as whoever presents it shows them; none of one that cannot be read. */
export interface ShownClaims {
  readonly sub?: string;
  readonly aud?: readonly string[];
  /** Seconds since 1970. */
  readonly exp?: number;
}

/** The input document. What a call does not have is absent. */
export interface PolicyQuestion {
  readonly operation: PolicyOperation;
  /** Component that asks, and its SPIFFE ID. */
  readonly hop: string;
  readonly self: string;
  /** SPIFFE ID that the transport has proven. */
  readonly peer: string;
  /** Seconds since 1970. */
  readonly time: number;
  /** The first hop first, the caller last. */
  readonly path: readonly ShownClaims[];
  /** SPIFFE ID of the first hop: the peer's word, where that is not the peer itself. */
  readonly client?: string;
  /** Of a Request and of a Close. */
  readonly service?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly connectionId?: string;
  /** Of a Register and of an Unregister: what is registered. */
  readonly name?: string;
  /** Of a Register: what would be served. */
  readonly offers?: readonly PolicyOffer[];
  /** Of MonitorConnections: what is asked for; both are empty for everything. */
  readonly connectionIds?: readonly string[];
  readonly services?: readonly string[];
}

export interface PolicyOffer {
  readonly service: string;
  readonly labels: Readonly<Record<string, string>>;
}

export function shownClaims(token: ReadToken): ShownClaims {
  if ('unreadable' in token) return {};
  return { sub: token.subject, aud: token.audience, exp: token.expiresAtMs / 1_000 };
}

/** Characters of an answer that a refusal shows. */
const shownMax = 200;

/** `answer`: the value of the entrypoint; undefined where it has none. */
export function policyAnswerFinding(entrypoint: string, answer: unknown): Finding | undefined {
  const decision = isAllowing(answer) ? answer.allow : answer;
  if (decision === true) return undefined;
  const reason = isAllowing(answer) && typeof answer.reason === 'string' ? answer.reason : '';
  const isDecision = decision === false;
  return {
    rule: `policy_wasm/${entrypoint}`,
    expected: isDecision
      ? 'a call that the policy of the operator allows'
      : 'true, false, or { allow, reason } of the policy of the operator',
    found: isDecision && reason !== '' ? shown(reason) : shown(textOf(answer)),
  };
}

function isAllowing(answer: unknown): answer is { allow: unknown; reason?: unknown } {
  return typeof answer === 'object' && answer !== null && 'allow' in answer;
}

const textOf = (answer: unknown): string =>
  answer === undefined ? 'no value' : JSON.stringify(answer);

/** One line, for a status and for the audit log. */
const shown = (text: string): string => text.replace(/\p{Cc}+/gu, ' ').slice(0, shownMax);
