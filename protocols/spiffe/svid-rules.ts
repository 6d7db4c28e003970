// What a certificate must be to serve as an X.509-SVID leaf or as a signing certificate (X509-SVID sections 2 to 5).
// Signatures and the path to a trusted root are checked in transports/spiffe-ts.

import { NsmError } from '../errors.ts';
import type { CertificateFields } from './certificate.ts';
import { checkValidity, keyPurpose, keyUsageBit } from './certificate.ts';
import type { SpiffeId } from './spiffe-id.ts';
import { parseWorkloadId } from './spiffe-id.ts';

/** Certificates that a peer may present, leaf included. */
export const chainLengthMax = 10;

/** The identity that a leaf names; proves nothing yet. Errors: UNAUTHENTICATED with the rule that is broken. */
export function checkLeaf(fields: CertificateFields, nowMs: number): SpiffeId {
  const [uri, ...others] = fields.uris;
  if (uri === undefined || others.length > 0) {
    throw refuse('svid-uri', 'exactly one URI, the SPIFFE ID', `${fields.uris.length} URIs`);
  }
  const id = workloadId(uri);
  if (fields.isCa) throw refuse('svid-leaf', `${uri} in a certificate that is no CA`, 'a CA');
  checkLeafUsage(fields);
  checkExtensions(fields);
  checkValidity(fields, nowMs, 'the SVID');
  return id;
}

/** A certificate that signs others. Errors: UNAUTHENTICATED. */
export function checkAuthority(fields: CertificateFields, nowMs: number): void {
  if (!fields.isCa) throw refuse('ca-flag', 'a CA certificate', 'one without the CA flag');
  if (fields.keyUsage?.bits.has(keyUsageBit.keyCertSign) !== true) {
    throw refuse('ca-usage', 'a CA certificate with the key usage keyCertSign', 'one without');
  }
  checkExtensions(fields);
  checkValidity(fields, nowMs, 'a CA certificate');
}

function workloadId(uri: string): SpiffeId {
  try {
    return parseWorkloadId(uri);
  } catch (error) {
    const details = error instanceof NsmError ? error.details : {};
    throw new NsmError('UNAUTHENTICATED', 'the certificate names no workload', {
      ...details,
      cause: error,
    });
  }
}

function checkLeafUsage({ keyUsage, extendedKeyUsage }: CertificateFields): void {
  if (keyUsage === undefined || !keyUsage.isCritical) {
    throw refuse('svid-usage', 'the key usage, marked critical', 'none, or not critical');
  }
  const { bits } = keyUsage;
  if (!bits.has(keyUsageBit.digitalSignature)) {
    throw refuse('svid-usage', 'the key usage digitalSignature', 'others');
  }
  if (bits.has(keyUsageBit.keyCertSign) || bits.has(keyUsageBit.cRLSign)) {
    throw refuse('svid-usage', 'no key usage keyCertSign or cRLSign', 'one of them');
  }
  if (extendedKeyUsage === undefined) return;
  const purposes = [keyPurpose.serverAuth, keyPurpose.clientAuth];
  if (!purposes.every((purpose) => extendedKeyUsage.includes(purpose))) {
    throw refuse(
      'svid-purpose',
      'serverAuth and clientAuth, or no extended key usage',
      extendedKeyUsage.slice(0, 8).join(', '),
    );
  }
}

function checkExtensions({ unknownCritical }: CertificateFields): void {
  if (unknownCritical.length > 0) {
    throw refuse(
      'critical-extension',
      'no critical extension that is not understood',
      unknownCritical.slice(0, 8).join(', '),
    );
  }
}

function refuse(rule: string, expected: string, found: string): NsmError {
  return new NsmError('UNAUTHENTICATED', 'the certificate is not valid as a SPIFFE identity', {
    rule,
    expected,
    found,
  });
}
