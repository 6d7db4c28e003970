// Signing and verifying the tokens of NSM path segments with SVID keys (protocols/spiffe/path-token.ts has the form).
// Reading a key costs more than using it, so keys are kept as long as the bytes that they came from.

import type { KeyObject } from 'node:crypto';
import { createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { NsmError } from '../../protocols/errors.ts';
import type { SignedPathToken, X509Svid } from '../../protocols/ports/identity.ts';
import { joinJwt, jwtSigningInput, refuseToken } from '../../protocols/spiffe/jwt.ts';
import type { PathToken } from '../../protocols/spiffe/path-token.ts';
import {
  parsePathToken,
  pathTokenClaims,
  pathTokenHeader,
} from '../../protocols/spiffe/path-token.ts';
import { keyKind } from './public-key.ts';
import { verifiesJwt } from './verify-jwt-svid.ts';

export interface PathTokenRequest {
  /** SPIFFE ID of the peer; undefined where it is not known. */
  readonly audience: string | undefined;
  /** Wall-clock ms at which it should end; it never outlives the SVID. */
  readonly expiresAtMs: number;
}

/** Errors: FAILED_PRECONDITION where the SVID's key is not ECDSA P-256, the only kind that tokens are signed with. */
export function signPathToken(svid: X509Svid, request: PathTokenRequest): SignedPathToken {
  const key = privateKeyOf(svid);
  if (keyKind(key) !== 'P-256') {
    throw new NsmError('FAILED_PRECONDITION', 'the key of the SVID cannot sign path tokens', {
      rule: 'token-key',
      expected: 'an ECDSA key on P-256',
      found: keyKind(key) ?? 'another',
      remedy: 'let the identity source issue ec-p256 keys to workloads',
    });
  }
  const expiresAtMs = pathTokenEndMs(svid, request);
  const audience = request.audience === undefined ? [] : [request.audience];
  const claims = pathTokenClaims({ subject: svid.spiffeId, audience, expiresAtMs });
  const input = jwtSigningInput(pathTokenHeader, claims);
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return { token: joinJwt(input, signature), expiresAtMs };
}

/** The claim has whole seconds, and what is said about the token must agree with it. */
export function pathTokenEndMs(
  { notAfterMs }: X509Svid,
  { expiresAtMs }: PathTokenRequest,
): number {
  return Math.floor(Math.min(expiresAtMs, notAfterMs) / 1000) * 1000;
}

/**
 * Verifies that the holder of `leaf` (DER) signed the token. Subject, audience and expiry are the caller's to judge.
 * Errors: UNAUTHENTICATED.
 */
export function verifyPathToken(token: string, leaf: Uint8Array): PathToken {
  const parsed = parsePathToken(token);
  if (!verifiesJwt(parsed.jwt, 'ES256', publicKeyOf(leaf))) {
    throw refuseToken('token-signature', "a signature by the peer's SVID key", 'another');
  }
  return parsed;
}

/** The claims of a token of the same hop, signed with the key of this SVID; undefined where it is so signed, or another's. */
export function resignPathToken(token: string, svid: X509Svid): SignedPathToken | undefined {
  const [leaf] = svid.chain;
  const { subject, audience, expiresAtMs, jwt } = parsePathToken(token);
  if (leaf === undefined || subject !== svid.spiffeId) return undefined;
  if (verifiesJwt(jwt, 'ES256', publicKeyOf(leaf))) return undefined;
  return signPathToken(svid, { audience: audience[0], expiresAtMs });
}

const privateKeys = new WeakMap<Uint8Array, KeyObject>();
const publicKeys = new WeakMap<Uint8Array, KeyObject>();

export function privateKeyOf({ privateKey }: X509Svid): KeyObject {
  let key = privateKeys.get(privateKey);
  if (key === undefined) {
    key = createPrivateKey({ key: Buffer.from(privateKey), format: 'der', type: 'pkcs8' });
    privateKeys.set(privateKey, key);
  }
  return key;
}

/** Errors: UNAUTHENTICATED. */
function publicKeyOf(leaf: Uint8Array): KeyObject {
  let key = publicKeys.get(leaf);
  if (key === undefined) {
    key = readKey(leaf);
    publicKeys.set(leaf, key);
  }
  return key;
}

function readKey(leaf: Uint8Array): KeyObject {
  try {
    return new X509Certificate(leaf).publicKey;
  } catch (error) {
    throw new NsmError('UNAUTHENTICATED', 'the certificate of the peer cannot be read', {
      rule: 'token-signature',
      cause: error,
    });
  }
}
