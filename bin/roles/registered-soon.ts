// How long a role's readiness waits for its registration: a moment, so that whoever waits for the role also finds it in
// the registry, and no longer. Invariant: a registry that is away keeps no role from serving; as in the reference the
// registration is tried without limit.

import type { EndpointRegistration } from '../../actors/endpoint/endpoint-registration.ts';
import { describeError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';

/** Well below the time after which a supervisor takes a child for hung. */
const momentMs = 5_000;

/** Resolves once it is registered or the moment is over. */
export async function registeredSoon(registration: EndpointRegistration, log: Log): Promise<void> {
  try {
    await registration.registered({ timeoutMs: momentMs });
  } catch (error) {
    // Why no try succeeded says more than that the time was over.
    const cause = registration.status.lastError ?? error;
    log.warn('serving without being registered; tried until it is', {
      error: describeError(cause),
    });
  }
}
