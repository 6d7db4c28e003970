// Verification of an X.509-SVID: the leaf by the rules of SPIFFE, then a path (RFC 5280 section 6) to a CA certificate
// of the bundle of the trust domain that the leaf names. A CA of a federated domain proves nothing about ours.
// Invariants: bundles are never merged; the search is bounded; every certificate on the path is valid now.

import type { KeyObject } from 'node:crypto';
import { X509Certificate } from 'node:crypto';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { VerifiedPeer } from '../../protocols/ports/identity.ts';
import type { CertificateFields } from '../../protocols/spiffe/certificate.ts';
import { readCertificate, sameBytes } from '../../protocols/spiffe/certificate.ts';
import { checkNameConstraints } from '../../protocols/spiffe/name-constraints.ts';
import { chainLengthMax, checkAuthority, checkLeaf } from '../../protocols/spiffe/svid-rules.ts';
import { certificateSignatures, keyKind } from './public-key.ts';

/** CA certificates (DER) by trust domain name. */
export type X509Bundles = ReadonlyMap<string, readonly Uint8Array[]>;

/** Signatures checked in search of one path; an honest chain needs one per certificate. */
const signatureChecksMax = 32;

interface Link {
  readonly der: Uint8Array;
  readonly fields: CertificateFields;
  readonly certificate: X509Certificate;
  readonly publicKey: KeyObject;
}

/**
 * `chain`: DER certificates, leaf first; intermediates in any order. Errors: UNAUTHENTICATED with the rule that is
 * broken, what was expected and what was found.
 */
export function verifyX509Svid(
  chain: readonly Uint8Array[],
  bundles: X509Bundles,
  nowMs: number,
): VerifiedPeer {
  const [leafDer, ...others] = chain;
  if (leafDer === undefined || chain.length > chainLengthMax) {
    throw refuse('chain-length', `1 to ${chainLengthMax} certificates`, `${chain.length}`);
  }
  const leaf = readLink(leafDer);
  const id = checkLeaf(leaf.fields, nowMs);
  checkKey(leaf);
  const roots = bundles.get(id.trustDomain);
  if (roots === undefined || roots.length === 0) {
    throw refuse(
      'trust-bundle',
      `a bundle of the trust domain ${id.trustDomain}`,
      `bundles of ${[...bundles.keys()].slice(0, 8).join(', ') || 'no domain'}`,
    );
  }
  const search = new PathSearch(id.trustDomain, roots.map(readRoot), others.map(readLink), nowMs);
  const path = search.find(leaf);
  return {
    spiffeId: id.text,
    trustDomain: id.trustDomain,
    leaf: leafDer,
    notAfterMs: Math.min(...path.map(({ fields }) => fields.notAfterMs)),
  };
}

/** Errors: UNAUTHENTICATED. */
function readLink(der: Uint8Array): Link {
  try {
    const fields = readCertificate(der);
    const certificate = new X509Certificate(der);
    // OpenSSL reads the key only here, and throws where it is none.
    return { der, fields, certificate, publicKey: certificate.publicKey };
  } catch (error) {
    const { details } = asNsmError(error);
    throw new NsmError('UNAUTHENTICATED', 'a certificate of the chain cannot be read', {
      ...details,
      rule: 'certificate',
      cause: error,
    });
  }
}

/** Bundles live long and are asked often: each of their certificates is read once. */
const readRoots = new WeakMap<Uint8Array, Link>();

function readRoot(der: Uint8Array): Link {
  const known = readRoots.get(der);
  if (known !== undefined) return known;
  const link = readLink(der);
  readRoots.set(der, link);
  return link;
}

function checkKey({ publicKey }: Link): void {
  if (keyKind(publicKey) === undefined) {
    throw refuse(
      'key',
      'a key on P-256, P-384, P-521, Ed25519 or RSA of 2048 to 8192 bits',
      publicKey.asymmetricKeyType ?? 'another',
    );
  }
}

class PathSearch {
  readonly #trustDomain: string;
  readonly #roots: readonly Link[];
  readonly #intermediates: readonly Link[];
  readonly #nowMs: number;
  #checksLeft = signatureChecksMax;
  /** Why the candidate that came nearest was refused. */
  #reason: NsmError | undefined;

  constructor(
    trustDomain: string,
    roots: readonly Link[],
    intermediates: readonly Link[],
    nowMs: number,
  ) {
    this.#trustDomain = trustDomain;
    this.#roots = roots;
    this.#intermediates = intermediates;
    this.#nowMs = nowMs;
  }

  /** The path from the leaf to a root, both included. */
  find(leaf: Link): readonly Link[] {
    const path = this.#extend([leaf]);
    if (path !== undefined) return path;
    throw refuse(
      this.#reason?.details.rule ?? 'chain',
      `a path to a CA certificate of the bundle of ${this.#trustDomain}` +
        (this.#reason?.details.expected === undefined ? '' : `; ${this.#reason.details.expected}`),
      this.#reason?.details.found ?? 'no certificate of that issuer and signature',
    );
  }

  #extend(path: readonly Link[]): readonly Link[] | undefined {
    for (const root of this.#roots) if (this.#signs(root, path)) return [...path, root];
    for (const next of this.#intermediates) {
      const isUsed = path.some(({ der }) => sameBytes(der, next.der));
      if (isUsed || !this.#signs(next, path)) continue;
      const found = this.#extend([...path, next]);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #signs(issuer: Link, path: readonly Link[]): boolean {
    const subject = path.at(-1);
    if (subject === undefined || !sameBytes(issuer.fields.subject, subject.fields.issuer)) {
      return false;
    }
    try {
      checkIssuer(issuer, path, this.#nowMs);
    } catch (error) {
      this.#reason = asNsmError(error);
      return false;
    }
    if (this.#checksLeft === 0) return false;
    this.#checksLeft -= 1;
    return verifies(subject, issuer);
  }
}

function verifies(subject: Link, issuer: Link): boolean {
  try {
    return (
      subject.certificate.checkIssued(issuer.certificate) &&
      subject.certificate.verify(issuer.publicKey)
    );
  } catch {
    // OpenSSL throws where key and signature are of different kinds.
    return false;
  }
}

/** What an issuer must be for all that stands below it on the path. */
function checkIssuer(issuer: Link, path: readonly Link[], nowMs: number): void {
  const { fields } = issuer;
  checkAuthority(fields, nowMs);
  checkKey(issuer);
  const { signatureAlgorithm } = path.at(-1)?.fields ?? fields;
  if (!certificateSignatures.has(signatureAlgorithm)) {
    throw refuse('signature-algorithm', 'RSA or ECDSA with SHA-256 or better', signatureAlgorithm);
  }
  // RFC 5280 4.2.1.9 counts the CA certificates between this one and the leaf, but not self-issued ones.
  const between = path
    .slice(1)
    .filter((link) => !sameBytes(link.fields.issuer, link.fields.subject)).length;
  if (fields.pathLengthMax !== undefined && between > fields.pathLengthMax) {
    throw refuse('path-length', `at most ${fields.pathLengthMax} CAs below one`, `${between}`);
  }
  const { nameConstraints } = fields;
  if (nameConstraints === undefined) return;
  for (const link of path) checkNameConstraints(nameConstraints, link.fields);
}

function refuse(rule: string, expected: string, found: string): NsmError {
  return new NsmError('UNAUTHENTICATED', 'the certificate chain is not trusted', {
    rule,
    expected,
    found,
  });
}
