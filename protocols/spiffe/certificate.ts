// The fields of an X.509 certificate (RFC 5280) that the SPIFFE rules speak about. Signatures and keys are checked
// in transports/spiffe-ts; here nothing is trusted, only read.
// Invariant: an extension that occurs twice is refused, and a critical one that is not understood is reported.

import { NsmError } from '../errors.ts';
import type { DerValue } from './der-reader.ts';
import {
  DerReader,
  derError,
  derTag,
  readAscii,
  readBoolean,
  readObjectIdentifier,
  readSmallInteger,
} from './der-reader.ts';
import { readTime } from './der-time.ts';
import type { NameConstraints } from './name-constraints.ts';
import { readNameConstraints } from './name-constraints.ts';

/** Object identifiers of RFC 5280 4.2.1. */
export const extensionId = {
  subjectKeyId: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  authorityKeyId: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

/** RFC 5280 4.2.1.12. */
export const keyPurpose = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** Bit numbers of RFC 5280 4.2.1.3. */
export const keyUsageBit = { digitalSignature: 0, keyCertSign: 5, cRLSign: 6 } as const;

export interface CertificateFields {
  /** Object identifier. */
  readonly signatureAlgorithm: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** DER of the names, to compare. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** URIs of the subject alternative name. */
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** Context tags of the alternative names of other kinds. */
  readonly otherNameTags: readonly number[];
  readonly isCa: boolean;
  /** How many further CA certificates may follow; undefined: any number. */
  readonly pathLengthMax: number | undefined;
  /** Bits by number; undefined where the extension is absent. */
  readonly keyUsage:
    | { readonly bits: ReadonlySet<number>; readonly isCritical: boolean }
    | undefined;
  /** Undefined where the extension is absent. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly nameConstraints: NameConstraints | undefined;
  /** Critical extensions that nothing here understands: the certificate must be refused (RFC 5280 4.2). */
  readonly unknownCritical: readonly string[];
}

/** Bytes of one certificate; a leaf with a SPIFFE ID of the longest kind has less than 4 KB. */
export const certificateBytesMax = 16_384;
const extensionsMax = 64;
const namesMax = 256;

/** Errors: INVALID_ARGUMENT. */
export function readCertificate(der: Uint8Array): CertificateFields {
  if (der.length > certificateBytesMax) {
    throw derError('a certificate', `at most ${certificateBytesMax} bytes`, `${der.length}`);
  }
  const outer = new DerReader(der);
  const certificate = outer.enter('the certificate');
  outer.end('the certificate');
  const body = certificate.enter('the certificate body');
  const algorithm = certificate.read('the signature algorithm', derTag.sequence);
  certificate.read('the signature', derTag.bitString);
  certificate.end('the certificate');
  const version = body.enter('the version', 0xa0).read('the version', derTag.integer).content;
  if (readSmallInteger(version, 'the version') !== 2) {
    throw derError('a certificate', 'version 3', 'an older one');
  }
  body.read('the serial number', derTag.integer);
  const signatureAlgorithm = readAlgorithm(algorithm, body);
  const issuer = body.read('the issuer', derTag.sequence).whole;
  const validity = body.enter('the validity');
  const notBeforeMs = readTime(validity.read('the start of validity'), 'the start of validity');
  const notAfterMs = readTime(validity.read('the end of validity'), 'the end of validity');
  validity.end('the validity');
  const subject = body.read('the subject', derTag.sequence).whole;
  body.read('the public key', derTag.sequence);
  body.readOptional('the issuer id', 0x81);
  body.readOptional('the subject id', 0x82);
  const extensions = body.nextTag === 0xa3 ? readExtensions(body) : new Map<string, Extension>();
  body.end('the certificate body');
  return {
    signatureAlgorithm,
    notBeforeMs,
    notAfterMs,
    issuer,
    subject,
    ...understand(extensions),
  };
}

/** RFC 5280 4.1.1.2: the algorithm outside of the signed part must be the one inside. */
function readAlgorithm(outside: DerValue, body: DerReader): string {
  const inside = body.read('the signature algorithm', derTag.sequence);
  if (!sameBytes(outside.whole, inside.whole)) {
    throw derError('the signature algorithm', 'the same inside and outside', 'two');
  }
  const id = new DerReader(inside.content).read('an algorithm', derTag.objectIdentifier);
  return readObjectIdentifier(id.content, 'an algorithm');
}

export function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && left.every((byte, at) => byte === right[at]);
}

interface Extension {
  readonly isCritical: boolean;
  readonly value: Uint8Array;
}

function readExtensions(body: DerReader): Map<string, Extension> {
  const list = body.enter('the extensions', 0xa3).enter('the extensions');
  const found = new Map<string, Extension>();
  while (!list.isAtEnd) {
    const one = list.enter('an extension');
    const idBytes = one.read('an extension id', derTag.objectIdentifier).content;
    const id = readObjectIdentifier(idBytes, 'an extension id');
    const critical = one.readOptional('the critical mark', derTag.boolean);
    const value = one.read('an extension value', derTag.octetString).content;
    one.end('an extension');
    if (found.has(id) || found.size === extensionsMax) {
      throw derError('the extensions', `each once, at most ${extensionsMax}`, id);
    }
    const isCritical = critical !== undefined && readBoolean(critical.content, 'the critical mark');
    found.set(id, { isCritical, value });
  }
  return found;
}

type Understood = Omit<
  CertificateFields,
  'signatureAlgorithm' | 'notBeforeMs' | 'notAfterMs' | 'issuer' | 'subject'
>;

const understood = new Set<string>(Object.values(extensionId));

function understand(extensions: ReadonlyMap<string, Extension>): Understood {
  const value = (id: string): Uint8Array | undefined => extensions.get(id)?.value;
  const keyUsage = extensions.get(extensionId.keyUsage);
  const constraints = value(extensionId.nameConstraints);
  const purposes = value(extensionId.extendedKeyUsage);
  return {
    ...readAlternativeNames(value(extensionId.subjectAltName)),
    ...readBasicConstraints(value(extensionId.basicConstraints)),
    keyUsage:
      keyUsage === undefined
        ? undefined
        : { bits: readBits(keyUsage.value), isCritical: keyUsage.isCritical },
    extendedKeyUsage: purposes === undefined ? undefined : readPurposes(purposes),
    nameConstraints: constraints === undefined ? undefined : readNameConstraints(constraints),
    unknownCritical: [...extensions]
      .filter(([id, { isCritical }]) => isCritical && !understood.has(id))
      .map(([id]) => id),
  };
}

type Names = Pick<CertificateFields, 'uris' | 'dnsNames' | 'otherNameTags'>;

/** Tags of GeneralName (RFC 5280 4.2.1.6). */
export const generalName = { dns: 0x82, uri: 0x86 } as const;

function readAlternativeNames(value: Uint8Array | undefined): Names {
  const uris: string[] = [];
  const dnsNames: string[] = [];
  const otherNameTags: number[] = [];
  if (value === undefined) return { uris, dnsNames, otherNameTags };
  const outer = new DerReader(value);
  const list = outer.enter('the alternative names');
  outer.end('the alternative names');
  for (let count = 0; !list.isAtEnd; count += 1) {
    if (count === namesMax) throw derError('the alternative names', `at most ${namesMax}`, 'more');
    const name: DerValue = list.read('an alternative name');
    if (name.tag === generalName.uri) uris.push(readAscii(name.content, 'a URI'));
    else if (name.tag === generalName.dns) dnsNames.push(readAscii(name.content, 'a DNS name'));
    else otherNameTags.push(name.tag);
  }
  return { uris, dnsNames, otherNameTags };
}

function readBasicConstraints(
  value: Uint8Array | undefined,
): Pick<CertificateFields, 'isCa' | 'pathLengthMax'> {
  if (value === undefined) return { isCa: false, pathLengthMax: undefined };
  const outer = new DerReader(value);
  const fields = outer.enter('the basic constraints');
  outer.end('the basic constraints');
  const ca = fields.readOptional('the CA flag', derTag.boolean);
  const length = fields.readOptional('the path length', derTag.integer);
  fields.end('the basic constraints');
  return {
    isCa: ca !== undefined && readBoolean(ca.content, 'the CA flag'),
    pathLengthMax:
      length === undefined ? undefined : readSmallInteger(length.content, 'the path length'),
  };
}

function readBits(value: Uint8Array): Set<number> {
  const outer = new DerReader(value);
  const { content } = outer.read('the key usage', derTag.bitString);
  outer.end('the key usage');
  const unused = content[0] ?? 8;
  if (unused > 7 || content.length > 3) throw derError('the key usage', 'nine bits', 'others');
  const bits = new Set<number>();
  for (let bit = 0; bit < (content.length - 1) * 8 - unused; bit += 1) {
    if (((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) bits.add(bit);
  }
  return bits;
}

function readPurposes(value: Uint8Array): string[] {
  const outer = new DerReader(value);
  const list = outer.enter('the extended key usage');
  outer.end('the extended key usage');
  const purposes: string[] = [];
  while (!list.isAtEnd) {
    if (purposes.length === namesMax) {
      throw derError('the extended key usage', `at most ${namesMax}`, 'more');
    }
    const { content } = list.read('a key purpose', derTag.objectIdentifier);
    purposes.push(readObjectIdentifier(content, 'a key purpose'));
  }
  return purposes;
}

/** Errors: UNAUTHENTICATED where the time lies outside. */
export function checkValidity(fields: CertificateFields, nowMs: number, what: string): void {
  if (nowMs >= fields.notBeforeMs && nowMs <= fields.notAfterMs) return;
  const isEarly = nowMs < fields.notBeforeMs;
  throw new NsmError('UNAUTHENTICATED', `${what} is ${isEarly ? 'not yet valid' : 'expired'}`, {
    rule: 'validity',
    expected: `a time from ${shown(fields.notBeforeMs)} to ${shown(fields.notAfterMs)}`,
    found: shown(nowMs),
    remedy: isEarly ? 'compare the clocks' : 'renew it, or compare the clocks',
  });
}

const shown = (ms: number): string => `${Math.floor(ms / 1000)} s since 1970`;
