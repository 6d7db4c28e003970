// A policy of the operator's own that is asked after all other rules. NSM concept: the Rego files that the reference's
// policies can be replaced by.

import type { Finding } from '../authorization/finding.ts';
import type { PolicyOperation, PolicyQuestion } from '../authorization/operator-policy.ts';

export interface OperatorPolicy {
  /** Whether it is asked about such calls; what it is not asked about passes. */
  judges(operation: PolicyOperation): boolean;
  /** Undefined: it allows. Does not throw: a policy that fails allows nothing. Of an operation that it judges. */
  judge(question: PolicyQuestion): Finding | undefined;
}
