// Which keys are good enough to trust: ECDSA on P-256, P-384 and P-521, RSA of 2048 to 8192 bits, Ed25519 for
// signing certificates. Less is forgeable, more costs a verifier too much.

import type { KeyObject } from 'node:crypto';

/** OpenSSL's names. */
const curves: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};

export const rsaBits = { min: 2048, max: 8192 } as const;

/** Name of the curve, `RSA`, `Ed25519`, or undefined where the key is not acceptable. */
export function keyKind(key: KeyObject): string | undefined {
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  if (asymmetricKeyType === 'ec') return curves[asymmetricKeyDetails?.namedCurve ?? ''];
  if (asymmetricKeyType === 'ed25519') return 'Ed25519';
  const bits = asymmetricKeyDetails?.modulusLength ?? 0;
  const isRsa = asymmetricKeyType === 'rsa' && bits >= rsaBits.min && bits <= rsaBits.max;
  return isRsa ? 'RSA' : undefined;
}

/** Signature algorithms of certificates that are accepted: nothing below SHA-256. */
export const certificateSignatures: ReadonlySet<string> = new Set([
  // RFC 4055: RSA with SHA-256, SHA-384, SHA-512.
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  // RFC 5758: ECDSA with SHA-256, SHA-384, SHA-512.
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  // RFC 8410: Ed25519.
  '1.3.101.112',
]);
