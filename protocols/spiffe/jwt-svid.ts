// JWT-SVIDs (JWT-SVID specification sections 2 and 3): which headers and claims a token must have. The signature is
// checked in transports/spiffe-ts, with a key of the subject's own trust domain.

import type { JsonObject, Jwt } from './jwt.ts';
import { audienceOf, dateClaimMs, refuseToken } from './jwt.ts';
import type { SpiffeId } from './spiffe-id.ts';
import { parseSpiffeId } from './spiffe-id.ts';

/** Section 2.1, with what each asks of the key. */
export const jwtAlgorithms = {
  RS256: { kind: 'RSA', padding: 'pkcs1', hash: 'sha256' },
  RS384: { kind: 'RSA', padding: 'pkcs1', hash: 'sha384' },
  RS512: { kind: 'RSA', padding: 'pkcs1', hash: 'sha512' },
  PS256: { kind: 'RSA', padding: 'pss', hash: 'sha256' },
  PS384: { kind: 'RSA', padding: 'pss', hash: 'sha384' },
  PS512: { kind: 'RSA', padding: 'pss', hash: 'sha512' },
  ES256: { kind: 'EC', curve: 'P-256', hash: 'sha256' },
  ES384: { kind: 'EC', curve: 'P-384', hash: 'sha384' },
  ES512: { kind: 'EC', curve: 'P-521', hash: 'sha512' },
} as const;

export type JwtAlgorithm = keyof typeof jwtAlgorithms;

export interface JwtSvidHeader {
  readonly algorithm: JwtAlgorithm;
  readonly keyId: string | undefined;
}

const allowedHeaders = new Set(['alg', 'kid', 'typ']);

/** Errors: UNAUTHENTICATED. */
export function checkJwtSvidHeader(header: JsonObject): JwtSvidHeader {
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string' || !Object.hasOwn(jwtAlgorithms, alg)) {
    throw refuseToken('jwt-alg', Object.keys(jwtAlgorithms).join(', '), JSON.stringify(alg) ?? '');
  }
  const unknown = Object.keys(header).filter((name) => !allowedHeaders.has(name));
  if (unknown.length > 0) {
    throw refuseToken('jwt-header', 'no header but alg, kid and typ', unknown.join(', '));
  }
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE') {
    throw refuseToken('jwt-typ', 'JWT, JOSE or nothing', JSON.stringify(typ));
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) {
    throw refuseToken('jwt-kid', 'a text or nothing', JSON.stringify(kid));
  }
  return { algorithm: alg as JwtAlgorithm, keyId: kid };
}

export interface JwtSvidClaims {
  readonly spiffeId: SpiffeId;
  readonly audience: readonly string[];
  readonly expiresAtMs: number;
  /** All of them, for those who agreed on more. */
  readonly claims: JsonObject;
}

/**
 * `audience`: the value by which the validator is known; undefined for the holder of a token, who is not its
 * audience. Errors: UNAUTHENTICATED.
 */
export function checkJwtSvidClaims(
  { claims }: Jwt,
  audience: string | undefined,
  nowMs: number,
): JwtSvidClaims {
  const spiffeId = subjectOf(claims);
  const audiences = audienceOf(claims);
  if (audiences === undefined || audiences.length === 0) {
    throw refuseToken('jwt-aud', 'the claim aud with one or more texts', 'none');
  }
  if (audience !== undefined && !audiences.includes(audience)) {
    throw refuseToken('jwt-aud', audience, audiences.slice(0, 4).join(', '));
  }
  const expiresAtMs = dateClaimMs(claims, 'exp');
  if (expiresAtMs === undefined) throw refuseToken('jwt-exp', 'the claim exp, a date', 'none');
  if (nowMs >= expiresAtMs) {
    throw refuseToken('jwt-exp', `a token that lasts beyond ${nowMs} ms`, `${expiresAtMs} ms`);
  }
  if (claims['nbf'] !== undefined) {
    const notBeforeMs = dateClaimMs(claims, 'nbf');
    if (notBeforeMs === undefined || nowMs < notBeforeMs) {
      throw refuseToken('jwt-nbf', `a token that is valid at ${nowMs} ms`, `${notBeforeMs} ms`);
    }
  }
  return { spiffeId, audience: audiences, expiresAtMs, claims };
}

function subjectOf({ sub }: JsonObject): SpiffeId {
  try {
    return parseSpiffeId(typeof sub === 'string' ? sub : '');
  } catch {
    throw refuseToken('jwt-sub', 'the claim sub with a SPIFFE ID', JSON.stringify(sub) ?? 'none');
  }
}
