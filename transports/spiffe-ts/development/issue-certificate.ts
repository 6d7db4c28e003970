// Writes and signs X.509 certificates (RFC 5280) of the few kinds that a SPIFFE trust domain has: its CA, intermediate
// CAs, workloads. For the development server and for tests, which also issue what no honest CA would.

import type { KeyObject } from 'node:crypto';
import { createHash, createPublicKey, randomBytes, sign } from 'node:crypto';
import { extensionId, generalName } from '../../../protocols/spiffe/certificate.ts';
import { derTag } from '../../../protocols/spiffe/der-reader.ts';
import {
  derBitString,
  derBoolean,
  derInteger,
  derNamedBits,
  derObjectIdentifier,
  derSequence,
  derText,
  derTime,
  derValue,
} from '../../../protocols/spiffe/der-writer.ts';
import { keyKind } from '../public-key.ts';

export interface CertificateExtension {
  readonly id: string;
  readonly isCritical: boolean;
  readonly value: Uint8Array;
}

export interface CertificateRequest {
  /** Common names; empty: an empty name. */
  readonly subject: string;
  readonly issuer: string;
  /** Key of the issuer, which signs. */
  readonly issuerKey: KeyObject;
  /** Public or private key of the subject. */
  readonly subjectKey: KeyObject;
  /** Rounded down to whole seconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly extensions: readonly CertificateExtension[];
}

/** DER of the signed certificate. */
export function issueCertificate(request: CertificateRequest): Uint8Array {
  const { issuerKey } = request;
  const { algorithm, hash } = signatureOf(issuerKey);
  const subjectKey = publicDer(request.subjectKey);
  const body = derSequence(
    derValue(0xa0, derInteger(Uint8Array.of(2))),
    derInteger(serialNumber()),
    algorithm,
    name(request.issuer),
    derSequence(time(request.notBeforeMs), time(request.notAfterMs)),
    name(request.subject),
    subjectKey,
    derValue(
      0xa3,
      derSequence(
        ...request.extensions.map(extension),
        extension(keyIdExtension(extensionId.subjectKeyId, subjectKey)),
        extension(keyIdExtension(extensionId.authorityKeyId, publicDer(issuerKey))),
      ),
    ),
  );
  return derSequence(body, algorithm, derBitString(sign(hash, body, issuerKey)));
}

export const basicConstraints = (isCa: boolean, pathLengthMax?: number): CertificateExtension => ({
  id: extensionId.basicConstraints,
  isCritical: true,
  value: derSequence(
    ...(isCa ? [derBoolean(true)] : []),
    ...(pathLengthMax === undefined ? [] : [derInteger(Uint8Array.of(pathLengthMax))]),
  ),
});

/** `bits`: numbers of RFC 5280 4.2.1.3. */
export const keyUsage = (bits: readonly number[], isCritical = true): CertificateExtension => ({
  id: extensionId.keyUsage,
  isCritical,
  value: derNamedBits(bits),
});

export const extendedKeyUsage = (purposes: readonly string[]): CertificateExtension => ({
  id: extensionId.extendedKeyUsage,
  isCritical: false,
  value: derSequence(...purposes.map(derObjectIdentifier)),
});

export const alternativeNames = (
  uris: readonly string[],
  dnsNames: readonly string[] = [],
): CertificateExtension => ({
  id: extensionId.subjectAltName,
  isCritical: false,
  value: derSequence(
    ...uris.map((uri) => derText(generalName.uri, uri)),
    ...dnsNames.map((dns) => derText(generalName.dns, dns)),
  ),
});

function signatureOf(key: KeyObject): { readonly algorithm: Uint8Array; readonly hash: string } {
  const kind = keyKind(key);
  // RFC 4055 and RFC 5758: RSA's parameters are NULL, ECDSA's are absent.
  if (kind === 'RSA') {
    const id = derObjectIdentifier('1.2.840.113549.1.1.11');
    return { algorithm: derSequence(id, derValue(0x05)), hash: 'sha256' };
  }
  const isP384 = kind === 'P-384';
  const id = derObjectIdentifier(`1.2.840.10045.4.3.${isP384 ? 3 : 2}`);
  return { algorithm: derSequence(id), hash: isP384 ? 'sha384' : 'sha256' };
}

function publicDer(key: KeyObject): Uint8Array {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  return publicKey.export({ type: 'spki', format: 'der' });
}

/** 127 random bits: positive, and never the same twice. */
function serialNumber(): Uint8Array {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

/** One attribute, the common name (2.5.4.3). */
function name(commonName: string): Uint8Array {
  if (commonName === '') return derSequence();
  const attribute = derSequence(
    derObjectIdentifier('2.5.4.3'),
    derText(derTag.utf8String, commonName),
  );
  return derSequence(derValue(derTag.set, attribute));
}

const time = (ms: number): Uint8Array => derTime(new Date(ms).toISOString());

const extension = ({ id, isCritical, value }: CertificateExtension): Uint8Array =>
  derSequence(
    derObjectIdentifier(id),
    ...(isCritical ? [derBoolean(true)] : []),
    derValue(derTag.octetString, value),
  );

/** RFC 5280 4.2.1.1 and 4.2.1.2; the id is a hash of the key, its length is free. */
function keyIdExtension(id: string, spki: Uint8Array): CertificateExtension {
  const hash = createHash('sha256').update(spki).digest().subarray(0, 20);
  const isAuthority = id === extensionId.authorityKeyId;
  const value = isAuthority
    ? derSequence(derValue(0x80, hash))
    : derValue(derTag.octetString, hash);
  return { id, isCritical: false, value };
}
