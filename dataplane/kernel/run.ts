// Running a program and turning the kernel's refusal into an error that says what to do.

import { NsmError } from '../../protocols/errors.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type {
  Netlink,
  NetlinkAnswer,
  NetlinkFailure,
  NetlinkStep,
} from '../../protocols/ports/netlink.ts';

/** Answers of a program that must succeed. */
export async function run(
  netlink: Netlink,
  program: readonly NetlinkStep[],
  budget: Budget,
): Promise<readonly (readonly NetlinkAnswer[])[]> {
  const outcome = await netlink.execute(program, budget);
  if (!outcome.ok) throw failureError(outcome.failure);
  return outcome.answers;
}

export function failureError(failure: NetlinkFailure, connectionId?: string): NsmError {
  const undone = failure.undoFailures.length === 0 ? '' : `; ${failure.undoFailures.join('; ')}`;
  return new NsmError(failure.code, `could not ${failure.what}`, {
    rule: failure.what,
    found: `${failure.found}${undone}`,
    ...(failure.remedy === undefined ? {} : { remedy: failure.remedy }),
    ...(connectionId === undefined ? {} : { connectionId }),
  });
}
