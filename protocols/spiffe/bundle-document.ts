// SPIFFE bundles as JWK Sets (Trust Domain and Bundle section 4): the keys by which one trust domain's SVIDs are
// verified. A document does not name its trust domain: whoever fetched it knows. Bundles are never merged.
// Invariant: unknown uses and key types are skipped, a known one that is malformed refuses the whole document.

import { NsmError } from '../errors.ts';
import { decodeBase64, decodeBase64Url, encodeBase64 } from './base64url.ts';
import { readCertificate } from './certificate.ts';
import type { JsonObject } from './jwt.ts';
import { isJsonObject, readJson } from './jwt.ts';

/** A public key; nothing of a private one is ever kept. */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

export interface BundleDocument {
  /** CA certificates in DER. */
  readonly x509Authorities: readonly Uint8Array[];
  /** By key id. */
  readonly jwtAuthorities: ReadonlyMap<string, PublicJwk>;
  /** Grows with each change; 64 bits. */
  readonly sequence?: bigint;
  /** How often to look for a newer one. */
  readonly refreshHintSeconds?: number;
}

export const bundleBytesMax = 1_048_576;
const keysMax = 256;
/** Bytes of a coordinate by curve (RFC 7518 6.2.1.2). */
const curveBytes: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };
/** RSA of 2048 bits is the least that is signed with today; beyond 8192 a verification costs too much. */
const rsaBytes = { min: 256, max: 1024 };

/**
 * `bundle`: a document from a bundle endpoint, whose entries name their use. `keys`: what the Workload API sends as
 * JWT bundle, a plain JWK Set whose entries need not (a SPIRE agent leaves the use out). Errors: INVALID_ARGUMENT.
 */
export function parseBundleDocument(
  bytes: Uint8Array,
  form: 'bundle' | 'keys' = 'bundle',
): BundleDocument {
  if (bytes.length > bundleBytesMax) {
    throw refuse('bundle-size', `at most ${bundleBytesMax} bytes`, `${bytes.length}`);
  }
  const document = readJson(bytes);
  if (!isJsonObject(document)) throw refuse('bundle-form', 'a JSON object', 'something else');
  const { keys } = document;
  if (!Array.isArray(keys)) throw refuse('bundle-keys', 'an array', 'none');
  if (keys.length > keysMax) throw refuse('bundle-keys', `at most ${keysMax}`, `${keys.length}`);
  const x509Authorities: Uint8Array[] = [];
  const jwtAuthorities = new Map<string, PublicJwk>();
  for (const key of keys as readonly unknown[]) {
    if (!isJsonObject(key)) throw refuse('bundle-key', 'a JSON object', 'something else');
    const use = key['use'] ?? (form === 'keys' ? 'jwt-svid' : undefined);
    if (use === 'x509-svid') addAuthority(x509Authorities, key);
    else if (use === 'jwt-svid') addKey(jwtAuthorities, key);
  }
  return { x509Authorities, jwtAuthorities, ...readSequence(document), ...readHint(document) };
}

function addAuthority(authorities: Uint8Array[], key: JsonObject): void {
  const { x5c } = key;
  const first: unknown = Array.isArray(x5c) ? x5c[0] : undefined;
  if (first === undefined) return;
  const der = typeof first === 'string' ? decodeBase64(first) : undefined;
  if (der === undefined) throw refuse('bundle-x5c', 'a certificate in base64', 'something else');
  readCertificate(der);
  authorities.push(der);
}

function addKey(authorities: Map<string, PublicJwk>, key: JsonObject): void {
  const jwk = readPublicJwk(key);
  if (jwk === undefined) return;
  const { kid } = key;
  if (typeof kid !== 'string' || kid === '') throw refuse('bundle-kid', 'a key id', 'none');
  if (authorities.has(kid)) throw refuse('bundle-kid', 'each key id once', kid.slice(0, 100));
  authorities.set(kid, jwk);
}

/** Undefined where the key type or the curve is not known. Errors: INVALID_ARGUMENT. */
function readPublicJwk(key: JsonObject): PublicJwk | undefined {
  const { kty } = key;
  if (kty === 'EC') {
    const { crv, x, y } = key;
    const length = typeof crv === 'string' && Object.hasOwn(curveBytes, crv) ? curveBytes[crv] : 0;
    if (typeof crv !== 'string' || length === undefined || length === 0) return undefined;
    return {
      kty,
      crv,
      x: checkBytes(x, { min: length, max: length }, 'x'),
      y: checkBytes(y, { min: length, max: length }, 'y'),
    };
  }
  if (kty === 'RSA') {
    const { n, e } = key;
    return { kty, n: checkBytes(n, rsaBytes, 'n'), e: checkBytes(e, { min: 1, max: 4 }, 'e') };
  }
  return undefined;
}

function checkBytes(
  text: unknown,
  { min, max }: { readonly min: number; readonly max: number },
  name: string,
): string {
  const bytes = typeof text === 'string' ? decodeBase64Url(text) : undefined;
  if (typeof text !== 'string' || bytes === undefined || bytes.length < min || bytes.length > max) {
    throw refuse('bundle-jwk', `${name} to hold ${min} to ${max} bytes`, `${bytes?.length}`);
  }
  return text;
}

function readSequence(document: JsonObject): Pick<BundleDocument, 'sequence'> {
  const value = document['spiffe_sequence'];
  if (value === undefined) return {};
  // Numbers beyond 2^53 come out of JSON rounded; order between two such bundles is still right.
  const isInteger = typeof value === 'number' && Number.isInteger(value);
  if (!isInteger || value < 0 || value >= 2 ** 64) {
    throw refuse('bundle-sequence', 'an integer of 64 bits', JSON.stringify(value).slice(0, 50));
  }
  return { sequence: BigInt(value) };
}

function readHint(document: JsonObject): Pick<BundleDocument, 'refreshHintSeconds'> {
  const value = document['spiffe_refresh_hint'];
  if (value === undefined) return {};
  const isInteger = typeof value === 'number' && Number.isSafeInteger(value);
  if (!isInteger || value < 0) {
    throw refuse('bundle-refresh-hint', 'a number of seconds', JSON.stringify(value).slice(0, 50));
  }
  return { refreshHintSeconds: value };
}

/** The certificate's own key stands beside it, as RFC 7517 asks; nobody needs it. */
export interface PublishedAuthority {
  readonly certificate: Uint8Array;
  readonly jwk: PublicJwk;
}

export interface PublishedBundle {
  readonly x509Authorities: readonly PublishedAuthority[];
  readonly jwtAuthorities: ReadonlyMap<string, PublicJwk>;
  readonly sequence?: bigint;
  readonly refreshHintSeconds?: number;
}

export function encodeBundleDocument(bundle: PublishedBundle): Uint8Array {
  const { x509Authorities, jwtAuthorities, sequence, refreshHintSeconds } = bundle;
  const document = {
    keys: [
      ...x509Authorities.map(({ certificate, jwk }) => ({
        ...jwk,
        use: 'x509-svid',
        x5c: [encodeBase64(certificate)],
      })),
      ...[...jwtAuthorities].map(([kid, jwk]) => ({ ...jwk, use: 'jwt-svid', kid })),
    ],
    ...(sequence === undefined ? {} : { spiffe_sequence: Number(sequence) }),
    ...(refreshHintSeconds === undefined ? {} : { spiffe_refresh_hint: refreshHintSeconds }),
  };
  return new TextEncoder().encode(JSON.stringify(document));
}

function refuse(rule: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'not a SPIFFE bundle', { rule, expected, found });
}
