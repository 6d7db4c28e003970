// What the parts of a shared pool have in common: who this replica is, what all have claimed, and how a claim is written.

import { asNsmError } from '../../protocols/errors.ts';
import { formatPrefix, type Prefix } from '../../protocols/ipam/address.ts';
import type { LeaseBook } from '../../protocols/ipam/lease-book.ts';
import type { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import { type AddressClaims, encodeClaim } from './address-claims.ts';

export interface Sharing {
  /** Of this Endpoint's state directory: the same in its next life, never another's. */
  readonly owner: string;
  /** Name of this Endpoint, for people. */
  readonly endpoint: string;
  /** Replicas of one scope share their prefixes. */
  readonly scope: string;
  readonly claims: AddressClaims;
  readonly pools: PointToPointPools;
  readonly book: LeaseBook;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a claim holds without being renewed: nobody can use what its owner gave any more. */
  readonly holdMs: number;
  readonly renewMs: number;
}

export const blockKey = ({ scope }: Sharing, block: Prefix): string =>
  `block/${scope}/${formatPrefix(block)}`;

export const guestKey = ({ scope }: Sharing, end: Prefix): string =>
  `guest/${scope}/${formatPrefix(end)}`;

/** Whether a key of the store is about this scope. */
export const isOfScope = (scope: string, key: string): boolean =>
  key.startsWith(`block/${scope}/`) || key.startsWith(`guest/${scope}/`);

/** The address of a guest's claim; undefined for other keys. */
export function guestOf({ scope }: Sharing, key: string): string | undefined {
  const before = `guest/${scope}/`;
  return key.startsWith(before) ? key.slice(before.length) : undefined;
}

/** Fenced with the revision that was seen last. False where somebody was faster; throws where the store is away. */
export async function claim(
  store: RegistryStore,
  sharing: Sharing,
  key: string,
  client = '',
): Promise<boolean> {
  const { owner, endpoint, claims, holdMs } = sharing;
  const value = encodeClaim({ owner, endpoint, client, holdMs: BigInt(Math.round(holdMs)) });
  const done = await fenced(() => store.put(key, value, claims.revisionOf(key)));
  if (done === undefined) return false;
  claims.keep({ key, value, revision: done });
  return true;
}

/** As `claim`, for giving one up. */
export async function disclaim(
  store: RegistryStore,
  { claims }: Sharing,
  key: string,
): Promise<void> {
  const done = await fenced(async () => {
    await store.delete(key, claims.revisionOf(key));
    return true;
  });
  if (done === true) claims.forget(key);
}

async function fenced<Result>(write: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await write();
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (error.code === 'ABORTED') return undefined;
    throw error;
  }
}
