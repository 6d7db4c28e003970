// When a registration is refreshed, and how long a failed one waits. Pure.

import { timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type { NetworkServiceEndpoint } from '../../protocols/nsm/gen/registry_pb.ts';
import type { Random } from '../../protocols/ports/random.ts';

/** The reference refreshes after 2/3 of the remaining time. */
const refreshShare = 2 / 3;
/** Refreshes of many Endpoints that started together are spread over the last tenth of that. */
const jitterShare = 0.1;
/** The reference's default life of a registration, for a registry that gives none or whose clock differs. */
const defaultLifeMs = 60_000;
const refreshAfterMsMin = 200;
const refreshAfterMsMax = 24 * 3_600_000;

/** Milliseconds until the refresh. */
export function refreshAfterMs(
  endpoint: NetworkServiceEndpoint,
  nowEpochMs: number,
  random: Random,
): number {
  const expires = endpoint.expirationTime;
  const remainingMs = expires === undefined ? 0 : timestampToEpochMs(expires) - nowEpochMs;
  // Registered a moment ago and expired already: the clocks differ. Half a life is safe either way.
  const lifeMs = remainingMs > 0 ? remainingMs : defaultLifeMs / 2;
  const delayMs = renewAfterMs(lifeMs * refreshShare, random);
  return Math.min(Math.max(delayMs, refreshAfterMsMin), refreshAfterMsMax);
}

/** Up to a tenth earlier than asked for. */
export function renewAfterMs(renewMs: number, random: Random): number {
  return renewMs * (1 - (jitterShare * random.integer(1_000)) / 1_000);
}

/** Doubles with each failure up to the maximum; the upper half is jitter. `failures` begins at 1. */
export function retryAfterMs(
  { backoffMs, backoffMsMax }: { readonly backoffMs: number; readonly backoffMsMax: number },
  failures: number,
  random: Random,
): number {
  const capped = Math.min(backoffMs * 2 ** Math.min(failures - 1, 20), backoffMsMax);
  return capped / 2 + random.integer(Math.max(1, Math.ceil(capped / 2)));
}
