// Verification of a JWT-SVID with a key of the subject's own trust domain (JWT-SVID section 4, Workload API 6.3).

import type { KeyObject } from 'node:crypto';
import { constants, createPublicKey, verify } from 'node:crypto';
import { NsmError } from '../../protocols/errors.ts';
import type { PublicJwk } from '../../protocols/spiffe/bundle-document.ts';
import type { Jwt } from '../../protocols/spiffe/jwt.ts';
import { parseJwt, refuseToken } from '../../protocols/spiffe/jwt.ts';
import type { JwtAlgorithm, JwtSvidClaims } from '../../protocols/spiffe/jwt-svid.ts';
import {
  checkJwtSvidClaims,
  checkJwtSvidHeader,
  jwtAlgorithms,
} from '../../protocols/spiffe/jwt-svid.ts';
import { keyKind } from './public-key.ts';

/** Public keys by key id, of one trust domain. */
export type JwtKeys = ReadonlyMap<string, KeyObject>;
/** By trust domain name. */
export type JwtBundles = ReadonlyMap<string, JwtKeys>;

/** Keys tried for a token that names none. */
const keysTriedMax = 16;

/** Errors: INVALID_ARGUMENT where the numbers are no key. */
export function readJwtKeys(keys: ReadonlyMap<string, PublicJwk>): JwtKeys {
  return new Map(
    [...keys].map(([id, jwk]) => {
      const key = importKey(jwk);
      if (key !== undefined && keyKind(key) !== undefined) return [id, key];
      throw new NsmError('INVALID_ARGUMENT', 'a key of the bundle is not usable', {
        rule: 'bundle-jwk',
        expected: 'a public key on its curve, or RSA of 2048 to 8192 bits',
        found: `another under the key id ${id.slice(0, 100)}`,
      });
    }),
  );
}

function importKey(jwk: PublicJwk): KeyObject | undefined {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' });
  } catch {
    return undefined;
  }
}

/** Errors: UNAUTHENTICATED with the rule that is broken; the token itself is never shown. */
export function verifyJwtSvid(
  token: string,
  audience: string,
  bundles: JwtBundles,
  nowMs: number,
): JwtSvidClaims {
  const jwt = parseJwt(token);
  const { algorithm, keyId } = checkJwtSvidHeader(jwt.header);
  const claims = checkJwtSvidClaims(jwt, audience, nowMs);
  const { trustDomain } = claims.spiffeId;
  const keys = bundles.get(trustDomain);
  if (keys === undefined || keys.size === 0) {
    throw refuseToken('trust-bundle', `JWT keys of the trust domain ${trustDomain}`, 'none');
  }
  const candidates = keyId === undefined ? [...keys.values()] : [keys.get(keyId)];
  const isSigned = candidates
    .slice(0, keysTriedMax)
    .some((key) => key !== undefined && verifiesJwt(jwt, algorithm, key));
  if (!isSigned) {
    throw refuseToken(
      'jwt-signature',
      `a signature by a JWT key of ${trustDomain}`,
      keyId !== undefined && !keys.has(keyId) ? 'a key id that is not in its bundle' : 'another',
    );
  }
  return claims;
}

export function verifiesJwt(jwt: Jwt, algorithm: JwtAlgorithm, key: KeyObject): boolean {
  const row = jwtAlgorithms[algorithm];
  if (keyKind(key) !== (row.kind === 'EC' ? row.curve : 'RSA')) return false;
  const input = Buffer.from(jwt.signingInput);
  try {
    return verify(row.hash, input, { key, ...signatureForm(row) }, jwt.signature);
  } catch {
    return false;
  }
}

/** RFC 7518 3.3 to 3.5. */
function signatureForm(row: (typeof jwtAlgorithms)[JwtAlgorithm]) {
  if (row.kind === 'EC') return { dsaEncoding: 'ieee-p1363' } as const;
  return row.padding === 'pss'
    ? {
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      }
    : { padding: constants.RSA_PKCS1_PADDING };
}
