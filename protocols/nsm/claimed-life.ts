// How long what a caller sends lives, as a duration beside the timestamps that NSM has: the wall clocks of two machines
// may be hours apart, and a received expiry is counted on the monotonic clock anyway. Metadata of ours, which a peer of
// the reference neither sends nor reads; then the timestamps decide as they do there.

import { NsmError } from '../errors.ts';
import type { Headers } from '../ports/rpc.ts';

/** Metadata key; its value is a whole number of milliseconds. */
export const lifeHeader = 'nsm-client-life-ms';

/** Nothing that is refreshed lives for a year. */
const lifeMsMax = 366 * 24 * 3_600_000;

/** The value for a life that ends `inMs` from now; undefined where it has ended or never does. */
export function formatLife(inMs: number): string | undefined {
  return inMs >= 1 && inMs <= lifeMsMax ? String(Math.floor(inMs)) : undefined;
}

/** The life that the metadata claims in ms; undefined where it claims none. Throws INVALID_ARGUMENT. */
export function claimedLifeMs(headers: Headers): number | undefined {
  const value = headers[lifeHeader];
  if (value === undefined) return undefined;
  const lifeMs = /^[1-9]\d{0,11}$/.test(value) ? Number(value) : 0;
  if (lifeMs >= 1 && lifeMs <= lifeMsMax) return lifeMs;
  throw new NsmError('INVALID_ARGUMENT', 'the metadata claims no readable life', {
    rule: lifeHeader,
    expected: `a whole number of milliseconds from 1 to ${lifeMsMax}`,
    found: JSON.stringify(value.slice(0, 40)),
  });
}
