// How long a client waits after a failed try. Pure. A supplier that has started an Endpoint says so in its refusal:
// then asking again soon is worth it, since the Endpoint registers within moments; everything else backs off.

import type { NsmError } from '../../protocols/errors.ts';
import { supplyRule } from '../../protocols/nsm/supplier.ts';

/** Between two looks for an Endpoint that is on its way; the supplier stops saying so when it takes too long. */
const onItsWayMs = 100;

export function retryDelayMs(error: NsmError, backoffMs: () => number): number {
  return error.details.rule === supplyRule ? Math.min(onItsWayMs, backoffMs()) : backoffMs();
}
