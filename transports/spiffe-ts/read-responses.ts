// What the Workload API sent, checked as a whole and copied into the project's own types. Workload API sections 4.4
// and 4.5: a message is the complete state, and one that lacks what it must have is discarded.
// Invariant: returns only what is good in every part; errors are INVALID_ARGUMENT or UNAUTHENTICATED and say which.

import { X509Certificate } from 'node:crypto';
import type { ErrorDetails } from '../../protocols/errors.ts';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type {
  JWTBundlesResponse,
  X509BundlesResponse,
  X509SVID,
  X509SVIDResponse,
} from '../../protocols/nsm/gen/workload_pb.ts';
import type { IdentitySnapshot, X509Svid } from '../../protocols/ports/identity.ts';
import { parseBundleDocument } from '../../protocols/spiffe/bundle-document.ts';
import { readCertificate } from '../../protocols/spiffe/certificate.ts';
import { splitDer } from '../../protocols/spiffe/der-reader.ts';
import { parseTrustDomain, parseWorkloadId } from '../../protocols/spiffe/spiffe-id.ts';
import { chainLengthMax } from '../../protocols/spiffe/svid-rules.ts';
import { privateKeyOf } from './path-tokens.ts';
import type { JwtBundles, JwtKeys } from './verify-jwt-svid.ts';
import { readJwtKeys } from './verify-jwt-svid.ts';
import type { X509Bundles } from './verify-x509-svid.ts';
import { verifyX509Svid } from './verify-x509-svid.ts';

/** Identities of one process, bundles, and CA certificates in one bundle. */
const svidsMax = 64;
const bundlesMax = 1024;
const authoritiesMax = 64;
/** Workload API 5.1 leaves it open; SPIRE allows this much. */
const hintBytesMax = 1024;

/** Everything but the generation, which the source counts. */
export type X509State = Omit<IdentitySnapshot, 'generation'>;

export function readX509Svids(response: X509SVIDResponse, nowMs: number): X509State {
  const [first] = response.svids;
  if (first === undefined || response.svids.length > svidsMax) {
    throw bad('svids', `1 to ${svidsMax} SVIDs`, `${response.svids.length}`);
  }
  const bundles = new Map(readX509Bundles(response.federatedBundles));
  const own = new Map<string, Uint8Array>();
  for (const entry of response.svids) {
    const { trustDomain } = parseWorkloadId(entry.spiffeId);
    const known = own.get(trustDomain);
    if (known !== undefined && !Buffer.from(known).equals(entry.bundle)) {
      throw bad('bundle', `one bundle of ${trustDomain}`, 'two that differ');
    }
    own.set(trustDomain, entry.bundle);
  }
  // The own bundle is the authority on the own trust domain, whatever else came under its name.
  for (const [trustDomain, der] of own) bundles.set(trustDomain, readAuthorities(der, trustDomain));
  const hints = new Set<string>();
  const svids: X509Svid[] = [];
  for (const entry of response.svids) {
    const svid = within(entry.spiffeId, () => readSvid(entry, bundles, nowMs));
    // Of several with one hint the first counts (Workload API 5.2.1).
    if (svid.hint !== '' && hints.has(svid.hint)) continue;
    hints.add(svid.hint);
    svids.push(svid);
  }
  const [svid] = svids;
  if (svid === undefined) throw bad('svids', 'at least one SVID', 'none');
  return { svid, svids, bundles };
}

function readSvid(entry: X509SVID, bundles: X509Bundles, nowMs: number): X509Svid {
  if (Buffer.byteLength(entry.hint) > hintBytesMax) {
    throw bad('hint', `at most ${hintBytesMax} bytes`, `${Buffer.byteLength(entry.hint)}`);
  }
  const chain = splitDer(entry.x509Svid, 'the SVID', chainLengthMax).map(copy);
  const peer = verifyX509Svid(chain, bundles, nowMs);
  if (peer.spiffeId !== entry.spiffeId) {
    throw bad('spiffe-id', entry.spiffeId, peer.spiffeId);
  }
  const { notBeforeMs, notAfterMs } = readCertificate(peer.leaf);
  const { spiffeId, hint } = entry;
  const privateKey = copy(entry.x509SvidKey);
  const svid: X509Svid = { spiffeId, chain, privateKey, notBeforeMs, notAfterMs, hint };
  checkPrivateKey(svid, peer.leaf);
  return svid;
}

function checkPrivateKey(svid: X509Svid, leaf: Uint8Array): void {
  let fits = false;
  try {
    fits = new X509Certificate(leaf).checkPrivateKey(privateKeyOf(svid));
  } catch {
    throw bad('svid-key', 'an unencrypted PKCS#8 key', 'something else');
  }
  if (!fits) throw bad('svid-key', "the key of the SVID's certificate", 'another');
}

/** Bundles by trust domain name, from a map by the trust domain's SPIFFE ID. */
export function readX509Bundles(
  map: X509BundlesResponse['bundles'] | X509SVIDResponse['federatedBundles'],
): X509Bundles {
  return readMap(map, (bytes, trustDomain) => readAuthorities(bytes, trustDomain));
}

export function readJwtBundles({ bundles }: JWTBundlesResponse): JwtBundles {
  if (Object.keys(bundles).length === 0) throw bad('bundles', 'at least one JWT bundle', 'none');
  return readMap<JwtKeys>(bundles, (bytes) =>
    readJwtKeys(parseBundleDocument(bytes, 'keys').jwtAuthorities),
  );
}

function readMap<Value>(
  map: Readonly<Record<string, Uint8Array>>,
  read: (bytes: Uint8Array, trustDomain: string) => Value,
): ReadonlyMap<string, Value> {
  const entries = Object.entries(map);
  if (entries.length > bundlesMax) {
    throw bad('bundles', `at most ${bundlesMax} bundles`, `${entries.length}`);
  }
  const result = new Map<string, Value>();
  for (const [id, bytes] of entries) {
    // The specification keys them by SPIFFE ID; a bare name means the same.
    const trustDomain = parseTrustDomain(id);
    if (result.has(trustDomain)) throw bad('bundles', `one bundle of ${trustDomain}`, 'two');
    result.set(
      trustDomain,
      within(`the bundle of ${trustDomain}`, () => read(bytes, trustDomain)),
    );
  }
  return result;
}

function readAuthorities(bytes: Uint8Array, trustDomain: string): readonly Uint8Array[] {
  const authorities = splitDer(bytes, `the bundle of ${trustDomain}`, authoritiesMax).map(copy);
  for (const der of authorities) readCertificate(der);
  return authorities;
}

/** Small copies, so that nobody holds on to a whole message. */
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

function within<Result>(what: string, read: () => Result): Result {
  try {
    return read();
  } catch (thrown) {
    const { code, message, details } = asNsmError(thrown);
    throw new NsmError(code, `${message}, in ${what}`, { ...details, cause: thrown });
  }
}

function bad(rule: string, expected: string, found: string): NsmError {
  const details: ErrorDetails = { rule: `workload-api-${rule}`, expected, found };
  return new NsmError('INVALID_ARGUMENT', 'an answer of the Workload API is not valid', details);
}
