// The signing authority of one trust domain, for development: a self-signed CA and a JWT key, both renewed at half of
// their life. A new key is published before it signs anything, and stays published until what it signed has ended,
// so that a rotation never leaves a gap.

import type { KeyObject } from 'node:crypto';
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  sign,
} from 'node:crypto';
import { NsmError } from '../../../protocols/errors.ts';
import type { JwtSvid, X509Svid } from '../../../protocols/ports/identity.ts';
import type { PublicJwk, PublishedBundle } from '../../../protocols/spiffe/bundle-document.ts';
import { keyPurpose, keyUsageBit } from '../../../protocols/spiffe/certificate.ts';
import { joinJwt, jwtSigningInput } from '../../../protocols/spiffe/jwt.ts';
import {
  parseTrustDomain,
  parseWorkloadId,
  trustDomainId,
} from '../../../protocols/spiffe/spiffe-id.ts';
import {
  alternativeNames,
  basicConstraints,
  extendedKeyUsage,
  issueCertificate,
  keyUsage,
} from './issue-certificate.ts';

export type CaKey = 'ec-p256' | 'ec-p384' | 'rsa-2048';

export interface AuthorityOptions {
  readonly trustDomain: string;
  readonly caKey: CaKey;
  readonly caLifetimeMs: number;
  /** Time between the publication of a new CA and its first signature. */
  readonly activationMs: number;
  /** What `save` returned in an earlier process. */
  readonly saved?: SavedAuthority | undefined;
}

/** One generation of keys; holds private keys. */
interface Generation {
  readonly keyId: string;
  readonly caKey: KeyObject;
  readonly certificate: Uint8Array;
  readonly jwtKey: KeyObject;
  readonly createdMs: number;
  readonly notAfterMs: number;
  /** From then on it signs. */
  readonly activeMs: number;
}

/** JSON; holds private keys. */
export interface SavedAuthority {
  readonly trustDomain: string;
  readonly generations: readonly {
    readonly keyId: string;
    readonly caKey: string;
    readonly certificate: string;
    readonly jwtKey: string;
    readonly createdMs: number;
    readonly notAfterMs: number;
    readonly activeMs: number;
  }[];
}

/** Clocks of two machines may differ by this much without an SVID being not yet valid. */
const backdateMs = 10_000;

export class Authority {
  readonly trustDomain: string;
  readonly #options: AuthorityOptions;
  /** Newest first. */
  #generations: readonly Generation[];
  #sequence: bigint;

  /** Errors: INVALID_ARGUMENT (the name, or what was saved belongs to another trust domain). */
  constructor(options: AuthorityOptions, nowMs: number) {
    this.trustDomain = parseTrustDomain(options.trustDomain);
    this.#options = options;
    const { saved } = options;
    if (saved !== undefined && saved.trustDomain !== this.trustDomain) {
      throw new NsmError('INVALID_ARGUMENT', 'the saved authority is of another trust domain', {
        rule: 'trust-domain',
        expected: this.trustDomain,
        found: saved.trustDomain,
      });
    }
    this.#generations = saved === undefined ? [] : saved.generations.map(restore);
    this.#sequence = BigInt(Math.floor(nowMs));
    this.renew(nowMs);
  }

  /** Makes a new generation where the newest is past half of its life; true where the bundle changed. */
  renew(nowMs: number): boolean {
    const alive = this.#generations.filter(({ notAfterMs }) => notAfterMs > nowMs);
    const [newest] = alive;
    const halfMs = this.#options.caLifetimeMs / 2;
    const isDue = newest === undefined || nowMs >= newest.createdMs + halfMs;
    const hasChanged = isDue || alive.length !== this.#generations.length;
    this.#generations = alive;
    if (isDue) this.rotate(nowMs);
    else if (hasChanged) this.#sequence += 1n;
    return hasChanged;
  }

  /** Makes a new generation now. */
  rotate(nowMs: number): void {
    const isFirst = this.#generations.length === 0;
    const activeMs = isFirst ? nowMs : nowMs + this.#options.activationMs;
    this.#generations = [this.#create(nowMs, activeMs), ...this.#generations];
    this.#sequence += 1n;
  }

  /** When `renew` has something to do again. */
  get nextRenewalMs(): number {
    const newest = this.#generations[0]?.createdMs ?? 0;
    const ends = this.#generations.map(({ notAfterMs }) => notAfterMs);
    return Math.min(newest + this.#options.caLifetimeMs / 2, ...ends);
  }

  issueX509(spiffeId: string, lifetimeMs: number, nowMs: number): X509Svid {
    this.#checkOwn(spiffeId);
    const ca = this.#signing(nowMs);
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const notBeforeMs = wholeSeconds(nowMs - backdateMs);
    const notAfterMs = Math.min(wholeSeconds(nowMs + lifetimeMs), ca.notAfterMs);
    const leaf = issueCertificate({
      subject: '',
      issuer: caName(this.trustDomain, ca.keyId),
      issuerKey: ca.caKey,
      subjectKey: key,
      notBeforeMs,
      notAfterMs,
      extensions: [
        basicConstraints(false),
        keyUsage([keyUsageBit.digitalSignature]),
        extendedKeyUsage([keyPurpose.serverAuth, keyPurpose.clientAuth]),
        // Critical, since the subject is empty (RFC 5280 4.2.1.6).
        { ...alternativeNames([spiffeId]), isCritical: true },
      ],
    });
    const privateKey = key.export({ type: 'pkcs8', format: 'der' });
    return { spiffeId, chain: [leaf], privateKey, notBeforeMs, notAfterMs, hint: '' };
  }

  issueJwt(
    spiffeId: string,
    audience: readonly string[],
    lifetimeMs: number,
    nowMs: number,
  ): JwtSvid {
    this.#checkOwn(spiffeId);
    const { keyId, jwtKey: key, notAfterMs } = this.#signing(nowMs);
    const expiresAtMs = Math.min(wholeSeconds(nowMs + lifetimeMs), notAfterMs);
    const input = jwtSigningInput(
      { alg: 'ES256', kid: keyId, typ: 'JWT' },
      {
        aud: audience,
        exp: expiresAtMs / 1000,
        iat: Math.floor(nowMs / 1000),
        sub: spiffeId,
      },
    );
    const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
    return { spiffeId, token: joinJwt(input, signature), expiresAtMs, hint: '' };
  }

  /** What others need to verify what this authority signs. */
  bundle(): PublishedBundle {
    return {
      x509Authorities: this.#generations.map(({ certificate, caKey }) => ({
        certificate,
        jwk: publicJwk(caKey),
      })),
      jwtAuthorities: new Map(
        this.#generations.map(({ keyId, jwtKey }) => [keyId, publicJwk(jwtKey)]),
      ),
      sequence: this.#sequence,
      refreshHintSeconds: Math.max(1, Math.floor(this.#options.activationMs / 2000)),
    };
  }

  /** For the next process: keep it as secret as a key. */
  save(): SavedAuthority {
    return {
      trustDomain: this.trustDomain,
      generations: this.#generations.map(({ caKey, jwtKey, certificate, ...rest }) => ({
        ...rest,
        caKey: privatePem(caKey),
        jwtKey: privatePem(jwtKey),
        certificate: Buffer.from(certificate).toString('base64'),
      })),
    };
  }

  #signing(nowMs: number): Generation {
    const active = this.#generations.find(({ activeMs }) => activeMs <= nowMs);
    const generation = active ?? this.#generations.at(-1);
    if (generation !== undefined) return generation;
    throw new NsmError('UNAVAILABLE', 'the authority has no key', { rule: 'authority' });
  }

  #create(nowMs: number, activeMs: number): Generation {
    const { caKey: kind, caLifetimeMs } = this.#options;
    const caKey = makeCaKey(kind);
    const keyId = randomUUID();
    const notAfterMs = wholeSeconds(nowMs + caLifetimeMs);
    const name = caName(this.trustDomain, keyId);
    const certificate = issueCertificate({
      subject: name,
      issuer: name,
      issuerKey: caKey,
      subjectKey: caKey,
      notBeforeMs: wholeSeconds(nowMs - backdateMs),
      notAfterMs,
      extensions: [
        basicConstraints(true),
        keyUsage([keyUsageBit.keyCertSign, keyUsageBit.cRLSign]),
        alternativeNames([trustDomainId(this.trustDomain)]),
      ],
    });
    const jwtKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    return { keyId, caKey, certificate, jwtKey, createdMs: nowMs, notAfterMs, activeMs };
  }

  #checkOwn(spiffeId: string): void {
    const { trustDomain } = parseWorkloadId(spiffeId);
    if (trustDomain === this.trustDomain) return;
    throw new NsmError('INVALID_ARGUMENT', 'not an id of this trust domain', {
      rule: 'trust-domain',
      expected: this.trustDomain,
      found: trustDomain,
    });
  }
}

const caName = (trustDomain: string, keyId: string): string =>
  `${trustDomain.slice(0, 20)} ${keyId}`;

const wholeSeconds = (ms: number): number => Math.floor(ms / 1000) * 1000;

function makeCaKey(kind: CaKey): KeyObject {
  if (kind === 'rsa-2048') return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const namedCurve = kind === 'ec-p256' ? 'P-256' : 'P-384';
  return generateKeyPairSync('ec', { namedCurve }).privateKey;
}

function publicJwk(key: KeyObject): PublicJwk {
  const { kty, crv, x, y, n, e } = createPublicKey(key).export({ format: 'jwk' });
  return kty === 'RSA'
    ? { kty, n: n ?? '', e: e ?? '' }
    : { kty: 'EC', crv: crv ?? '', x: x ?? '', y: y ?? '' };
}

const privatePem = (key: KeyObject): string =>
  key.export({ type: 'pkcs8', format: 'pem' }).toString();

function restore(saved: SavedAuthority['generations'][number]): Generation {
  return {
    ...saved,
    caKey: createPrivateKey(saved.caKey),
    jwtKey: createPrivateKey(saved.jwtKey),
    certificate: new Uint8Array(Buffer.from(saved.certificate, 'base64')),
  };
}
