// Who decides what a call may do in this process, and what becomes of a rule's finding: one audit line, and a refusal.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { checkHeadersBounds } from '../../protocols/messages/headers.ts';
import { type AccessPolicy, matchesAny } from '../../protocols/authorization/access-policy.ts';
import { type Finding, refusalOf } from '../../protocols/authorization/finding.ts';
import type { TokenReader } from '../../protocols/authorization/read-tokens.ts';
import type { ProvenPeer } from '../../protocols/authorization/token-rules.ts';
import {
  isPolicyOperation,
  type PolicyQuestion,
  shownClaims,
} from '../../protocols/authorization/operator-policy.ts';
import type { AuditEntry } from '../../protocols/ports/audit.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { OperatorPolicy } from '../../protocols/ports/operator-policy.ts';
import type { CallContext, Headers } from '../../protocols/ports/rpc.ts';
import type { TokenSource } from '../connection/tokens.ts';
import type { AuditTrail } from './audit-trail.ts';

export interface AuthoritySetup {
  /** Component name, for refusals and the audit log. */
  readonly hop: string;
  /** Own SPIFFE ID; undefined while this process has no identity. */
  readonly self: () => string | undefined;
  readonly reader: TokenReader;
  /** Own path tokens. */
  readonly tokens: TokenSource;
  readonly policy: () => AccessPolicy;
  /** In WebAssembly, asked after all others; undefined: none. */
  readonly operatorPolicy?: () => OperatorPolicy | undefined;
  readonly trail: AuditTrail;
  readonly wallClock: WallClock;
}

/** What a decision is about. */
export type Subject = Pick<
  AuditEntry,
  'operation' | 'client' | 'service' | 'connectionId' | 'name'
> & { readonly caller: CallContext };

export class Authority {
  readonly setup: AuthoritySetup;

  constructor(setup: AuthoritySetup) {
    this.setup = setup;
  }

  get self(): string {
    const self = this.setup.self();
    if (self !== undefined) return self;
    throw new NsmError('UNAVAILABLE', 'this process has no identity to judge a call with', {
      hop: this.setup.hop,
      rule: 'own-identity',
      expected: 'an X.509-SVID of the Workload API',
      found: 'none: it was withdrawn',
    });
  }

  /** A call from this process itself: nobody stands between, and it has nobody else's rights. */
  isOwn({ peer }: CallContext): boolean {
    return peer.binding === 'memory';
  }

  /** Who called, as proven by the transport. Refuses and records a call that proves nothing. */
  peerOf(subject: Subject): ProvenPeer {
    const { peer: known, headers } = subject.caller;
    const tooMuch = boundsOf(headers);
    if (tooMuch !== undefined) throw this.refuse(subject, tooMuch);
    const peer = this.#peer(subject.caller);
    if (peer !== undefined) return peer;
    throw this.refuse(subject, {
      rule: 'peer_identity',
      code: 'UNAUTHENTICATED',
      expected: 'a caller that proves a SPIFFE ID with its certificate',
      found: `a call over ${known.binding} that proves none`,
      remedy: 'give the caller an identity: SPIFFE_ENDPOINT_SOCKET',
    });
  }

  /** Writes the denial; returns what to throw. */
  refuse(subject: Subject, finding: Finding): NsmError {
    this.#record(subject, 'denied', finding);
    return refusalOf(finding, this.setup.hop);
  }

  /**
   * Grants and records, or refuses. What the operator's own policies find is only recorded while they are in audit mode.
   * Throws the refusal.
   */
  settle(subject: Subject, byRules: Finding | undefined, byPolicy?: Finding): void {
    if (byRules !== undefined) throw this.refuse(subject, byRules);
    if (byPolicy !== undefined) {
      if (this.setup.policy().mode === 'enforce') throw this.refuse(subject, byPolicy);
      this.#record(subject, 'would-deny', byPolicy);
      return;
    }
    this.#record(subject, 'granted');
  }

  /**
   * What the operator's policy in WebAssembly says of a call that all rules let pass. `rest`: what only such calls have. Costly,
   * so asked last.
   */
  byOperator(
    { operation, caller: _caller, ...about }: Subject,
    peer: ProvenPeer,
    { tokens, ...rest }: { readonly tokens: readonly string[] } & Partial<PolicyQuestion>,
  ): Finding | undefined {
    const { hop, reader, wallClock, operatorPolicy } = this.setup;
    const policy = operatorPolicy?.();
    if (policy === undefined || !isPolicyOperation(operation) || !policy.judges(operation)) {
      return undefined;
    }
    return policy.judge({
      operation,
      hop,
      self: this.self,
      peer: peer.spiffeId,
      time: wallClock.epochMs() / 1_000,
      path: tokens.map((token) => shownClaims(reader.read(token))),
      ...about,
      ...rest,
    });
  }

  isOperator(spiffeId: string): boolean {
    return spiffeId === this.self || matchesAny(this.setup.policy().operators, spiffeId);
  }

  #peer({ peer: { spiffeId, leaf } }: CallContext): ProvenPeer | undefined {
    return spiffeId === undefined || leaf === undefined ? undefined : { spiffeId, leaf };
  }

  #record(
    { caller, ...subject }: Subject,
    decision: AuditEntry['decision'],
    finding?: Finding,
  ): void {
    const { hop, self, trail } = this.setup;
    const peer = this.#peer(caller);
    trail.record({
      decision,
      hop,
      self: self() ?? '',
      ...(peer && { peer: peer.spiffeId }),
      ...subject,
      ...(finding && { rule: finding.rule, expected: finding.expected, found: finding.found }),
    });
  }
}

function boundsOf(headers: Headers): Finding | undefined {
  try {
    checkHeadersBounds(headers);
    return undefined;
  } catch (thrown) {
    const { code, details } = asNsmError(thrown);
    const { rule = '', expected = '', found = '' } = details;
    return { rule, expected, found, code };
  }
}
