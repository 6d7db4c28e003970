// The tokens in the segments of a NSM path: what a hop signs with its own SVID's key, for the next one.
// They are no JWT-SVIDs: no bundle holds their key, the verifier takes the one of the TLS peer's leaf. The form is
// that of the reference: ES256, `sub`, `aud` always an array, `exp` in whole seconds, nothing else.

import type { JsonObject, Jwt } from './jwt.ts';
import { audienceOf, dateClaimMs, parseJwt, refuseToken } from './jwt.ts';

export const pathTokenHeader: JsonObject = { alg: 'ES256', typ: 'JWT' };

export interface PathTokenClaims {
  /** SPIFFE ID of the hop that signed. */
  readonly subject: string;
  /** SPIFFE IDs that it is for; empty where the signer did not know its peer. */
  readonly audience: readonly string[];
  readonly expiresAtMs: number;
}

export interface PathToken extends PathTokenClaims {
  readonly jwt: Jwt;
}

/** `exp` is rounded down: a token never outlives what it stands for. */
export function pathTokenClaims({ subject, audience, expiresAtMs }: PathTokenClaims): JsonObject {
  return {
    ...(audience.length > 0 ? { aud: audience } : {}),
    exp: Math.floor(expiresAtMs / 1000),
    sub: subject,
  };
}

/**
 * Whether both tokens speak for the same hop. One that says nothing speaks for anybody: without identities, and of what was
 * established before there were any, nobody is told apart. Signatures are not judged.
 */
export function isSameSigner(one: string, other: string): boolean {
  if (one === other) return true;
  const subjects = [subjectOf(one), subjectOf(other)];
  return subjects.includes(undefined) || subjects[0] === subjects[1];
}

function subjectOf(token: string): string | undefined {
  try {
    return token === '' ? undefined : parsePathToken(token).subject;
  } catch {
    return undefined;
  }
}

/**
 * Reads a token; neither signature nor expiry is judged. Errors: UNAUTHENTICATED. Foreign signers may write a single
 * audience as a text; any other header than `alg` is theirs to choose.
 */
export function parsePathToken(token: string): PathToken {
  const jwt = parseJwt(token);
  if (jwt.header['alg'] !== 'ES256') {
    throw refuseToken('token-alg', 'ES256', JSON.stringify(jwt.header['alg']) ?? 'none');
  }
  if (jwt.header['crit'] !== undefined) {
    throw refuseToken('token-header', 'no critical header', 'crit');
  }
  const { claims } = jwt;
  const subject = claims['sub'];
  if (typeof subject !== 'string' || subject === '') {
    throw refuseToken('token-sub', 'the claim sub with a SPIFFE ID', 'none');
  }
  const audience = claims['aud'] === undefined ? [] : audienceOf(claims);
  if (audience === undefined) throw refuseToken('token-aud', 'aud to be texts', 'something else');
  const expiresAtMs = dateClaimMs(claims, 'exp');
  if (expiresAtMs === undefined) throw refuseToken('token-exp', 'the claim exp, a date', 'none');
  return { subject, audience, expiresAtMs, jwt };
}
