// A certificate of an RSA key, signed with that key: what IKEv2 peers of NSM show each other. They got it over the
// authenticated Request, so nothing that stands in it is believed; names and times are there because X.509 has them.
// Invariant: the serial number alone makes the beginning of a certificate, which is an IKEv2 identity, different from
// others'; the same key, name and serial number make the same certificate.

import { createPublicKey, type KeyObject, sign } from 'node:crypto';
import { derTag } from '../../protocols/spiffe/der-reader.ts';
import {
  derBitString,
  derInteger,
  derObjectIdentifier,
  derSequence,
  derText,
  derTime,
  derValue,
} from '../../protocols/spiffe/der-writer.ts';

/** RFC 5280 4.1.2.5: no well-defined end. */
const validFrom = '2020-01-01T00:00:00Z';
const validTo = '9999-12-31T23:59:59Z';

/** DER; RFC 5280, version 3 without extensions. `serialBytes`: 16, of which two bits are ours. */
export function selfSignedCertificate(
  key: KeyObject,
  commonName: string,
  serialBytes: Uint8Array,
): Uint8Array {
  // sha256WithRSAEncryption, whose parameters are NULL (RFC 4055).
  const algorithm = derSequence(derObjectIdentifier('1.2.840.113549.1.1.11'), derValue(0x05));
  const name = nameOf(commonName);
  const body = derSequence(
    derValue(0xa0, derInteger(Uint8Array.of(2))),
    derInteger(serialNumber(serialBytes)),
    algorithm,
    name,
    derSequence(derTime(validFrom), derTime(validTo)),
    name,
    createPublicKey(key).export({ type: 'spki', format: 'der' }),
  );
  return derSequence(body, algorithm, derBitString(sign('sha256', body, key)));
}

/** Positive, of 16 bytes, so that it lies wholly within the identity. */
function serialNumber(given: Uint8Array): Uint8Array {
  const bytes = given.slice();
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function nameOf(commonName: string): Uint8Array {
  const attribute = derSequence(
    derObjectIdentifier('2.5.4.3'),
    derText(derTag.utf8String, commonName),
  );
  return derSequence(derValue(derTag.set, attribute));
}
