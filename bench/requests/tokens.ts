// Path tokens of the size that identities will give them: as long as an ES256 JWT with the claims of the reference,
// distinct for each call. They prove nothing and cost next to nothing to make, so that figures show the mesh alone.

import { randomBytes } from 'node:crypto';
import type { TokenSource } from '../../actors/connection/tokens.ts';
import { systemWallClock } from '../../transports/process/system-clock.ts';

const lifetimeMs = 600_000;
/** Header, claims with three SPIFFE ids, and a signature of 64 bytes. */
const length = 750;
const poolBytes = 1 << 16;

export function realSizeTokens(): TokenSource {
  const pool = randomBytes(poolBytes).toString('base64url');
  let made = 0;
  return {
    token: () => {
      made += 1;
      const start = (made * 7) % (pool.length - length);
      const text = `${made.toString(36)}.${pool.slice(start, start + length)}`;
      // Through bytes, so that each is a string of its own in memory and not a slice of the pool.
      const token = Buffer.from(text, 'latin1').toString('latin1');
      return Promise.resolve({ token, expiresAtEpochMs: systemWallClock.epochMs() + lifetimeMs });
    },
  };
}
