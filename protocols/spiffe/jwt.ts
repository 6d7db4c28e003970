// Compact JWTs (RFC 7515, 7519) as texts and parts; signatures are checked in transports/spiffe-ts.
// Invariants: a parsed token was well-formed and within bounds; no error ever shows the token.

import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { decodeBase64Url, encodeBase64Url } from './base64url.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export interface Jwt {
  readonly header: JsonObject;
  readonly claims: JsonObject;
  /** What the signature is about: the first two parts as they came. */
  readonly signingInput: string;
  readonly signature: Uint8Array;
}

/** Errors: UNAUTHENTICATED. */
export function parseJwt(token: string): Jwt {
  if (token.length > limits.tokenLength) {
    throw refuseToken('jwt-length', `at most ${limits.tokenLength} characters`, `${token.length}`);
  }
  const parts = token.split('.', 4);
  const [header, claims, signature] = parts;
  if (parts.length !== 3 || header === undefined || claims === undefined) {
    throw refuseToken('jwt-form', 'three parts separated by dots', `${parts.length}`);
  }
  const signatureBytes = decodeBase64Url(signature ?? '');
  if (signatureBytes === undefined || signatureBytes.length === 0) {
    throw refuseToken('jwt-form', 'a signature in base64url', 'none');
  }
  return {
    header: readPart(header, 'header'),
    claims: readPart(claims, 'claims'),
    signingInput: `${header}.${claims}`,
    signature: signatureBytes,
  };
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readPart(text: string, what: string): JsonObject {
  const bytes = decodeBase64Url(text);
  const value = bytes === undefined ? undefined : readJson(bytes);
  if (isJsonObject(value)) return value;
  throw refuseToken('jwt-form', `the ${what} to be a JSON object in base64url`, 'something else');
}

/** Undefined where it is not JSON in UTF-8. */
export function readJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch {
    return undefined;
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The first two parts of a token, ready to be signed. */
export function jwtSigningInput(header: JsonObject, claims: JsonObject): string {
  const part = (value: JsonObject): string =>
    encodeBase64Url(new TextEncoder().encode(JSON.stringify(value)));
  return `${part(header)}.${part(claims)}`;
}

export const joinJwt = (signingInput: string, signature: Uint8Array): string =>
  `${signingInput}.${encodeBase64Url(signature)}`;

/** The claim `aud` as a list: RFC 7519 4.1.3 allows one text or an array. Undefined where it is neither. */
export function audienceOf({ aud }: JsonObject): readonly string[] | undefined {
  if (typeof aud === 'string') return [aud];
  const isList = Array.isArray(aud) && aud.every((entry) => typeof entry === 'string');
  return isList ? (aud as readonly string[]) : undefined;
}

/** A NumericDate claim (RFC 7519 section 2) in milliseconds; undefined where it is absent or no such date. */
export function dateClaimMs(claims: JsonObject, name: string): number | undefined {
  const value = claims[name];
  // Beyond 2^43 seconds nothing is a date any more, and milliseconds would lose precision.
  const isDate = typeof value === 'number' && value >= 0 && value < 2 ** 43;
  return isDate ? value * 1000 : undefined;
}

/** Never give a token, or a part of one, as `found`. */
export function refuseToken(rule: string, expected: string, found: string): NsmError {
  return new NsmError('UNAUTHENTICATED', 'the token is not valid', {
    rule,
    expected,
    found: found.slice(0, 200),
  });
}
