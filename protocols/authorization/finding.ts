// What a rule says: nothing, or what it found wrong. Each rule is a pure function, so that whoever enforces it decides
// what becomes of its finding: a refusal, or in a dry run a line in the audit log.
// Invariant: no finding holds a token or a part of one.

import { type ErrorCode, NsmError } from '../errors.ts';

export interface Finding {
  /** Of the reference where it has such a rule. */
  readonly rule: string;
  readonly expected: string;
  readonly found: string;
  readonly remedy?: string;
  /** What the caller is told; PERMISSION_DENIED, as the reference says, unless the call proves nothing at all. */
  readonly code?: ErrorCode;
}

export function refusalOf(
  { code = 'PERMISSION_DENIED', ...details }: Finding,
  hop: string,
): NsmError {
  return new NsmError(code, 'no sufficient privileges', { ...details, hop });
}
