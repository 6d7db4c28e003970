// The operator's policy from a file, as the rules of a process ask it: entrypoints by name, one for each operation that it
// judges. A policy that fails, or says anything but yes, refuses.

import {
  policyAnswerFinding,
  policyEntrypoints,
  type PolicyOperation,
} from '../../protocols/authorization/operator-policy.ts';
import type { OperatorPolicy } from '../../protocols/ports/operator-policy.ts';
import { notAPolicy, readPolicyBytes } from './policy-bytes.ts';
import { failureText, PolicyModule } from './policy-module.ts';

/** Beneath it every entrypoint has to be one of ours: a misspelt one would never be asked. */
const namespace = 'vwire/';

/** Errors: INVALID_ARGUMENT. `file`: its bytes. */
export function operatorPolicyFrom(file: Uint8Array): OperatorPolicy {
  const module = new PolicyModule(readPolicyBytes(file));
  const asked = new Set(module.entrypoints);
  requireEntrypoints(module.entrypoints);
  return {
    judges: (operation) => asked.has(policyEntrypoints[operation]),
    judge(question) {
      const entrypoint = policyEntrypoints[question.operation];
      try {
        return policyAnswerFinding(entrypoint, module.evaluate(entrypoint, question));
      } catch (thrown) {
        return {
          rule: `policy_wasm/${entrypoint}`,
          expected: 'a decision of the policy of the operator',
          found: failureText(thrown),
        };
      }
    },
  };
}

/** Operations that it judges, for people. */
export const judgedBy = (policy: OperatorPolicy): readonly PolicyOperation[] =>
  (Object.keys(policyEntrypoints) as PolicyOperation[]).filter((each) => policy.judges(each));

function requireEntrypoints(entrypoints: readonly string[]): void {
  const known: readonly string[] = Object.values(policyEntrypoints);
  const ours = entrypoints.filter((name) => name.startsWith(namespace));
  const unknown = ours.filter((name) => !known.includes(name));
  if (ours.length > 0 && unknown.length === 0) return;
  const found = (unknown.length > 0 ? unknown : entrypoints).join(', ').slice(0, 200);
  throw notAPolicy(`entrypoints of ${known.join(', ')}`, found || 'none');
}
