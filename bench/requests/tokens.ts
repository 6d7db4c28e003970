// Path tokens of the size that identities will give them: the shape and length of an ES256 JWT with the claims of
// the reference, distinct for each call and proving nothing.

import { randomBytes, randomUUID } from 'node:crypto';
import type { TokenSource } from '../../actors/connection/tokens.ts';
import { systemWallClock } from '../../transports/process/system-clock.ts';

const lifetimeMs = 600_000;

/** About 750 characters each: header, claims, signature of 64 bytes. */
export function realSizeTokens(): TokenSource {
  const header = base64({ alg: 'ES256', typ: 'JWT' });
  return {
    token: (audience) => {
      const expiresAtEpochMs = systemWallClock.epochMs() + lifetimeMs;
      const claims = base64({
        iss: `spiffe://bench.test/ns/nsm-system/pod/${randomUUID()}/${randomUUID()}`,
        sub: `spiffe://bench.test/ns/nsm-system/pod/${randomUUID()}/${randomUUID()}`,
        aud: [audience ?? `spiffe://bench.test/ns/nsm-system/pod/${randomUUID()}`],
        exp: expiresAtEpochMs / 1000,
        jti: randomBytes(64).toString('hex'),
      });
      const signature = randomBytes(64).toString('base64url');
      return Promise.resolve({ token: `${header}.${claims}.${signature}`, expiresAtEpochMs });
    },
  };
}

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
