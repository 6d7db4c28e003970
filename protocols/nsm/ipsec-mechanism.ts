// The IPSEC mechanism: an encrypted tunnel for IP between the forwarders of two nodes, whose keys IKEv2 agrees on.
// `src_public_key` and `dst_public_key` are base64 of a self-signed X.509 certificate (DER) with an RSA key, one per
// forwarder; both ends use UDP 4500 unless they say otherwise, and 500 beside it. What both data planes take for granted
// (reference, 15.4): the client side initiates; RSA signatures; IKE with AES-CBC-256, SHA1-96 and DH group 14; ESP with
// AES-CBC-256 and SHA1-96; a lifetime of 3600 s with jitter 10 and handover 5; traffic selectors of the two addresses and
// all ports.

import { decodeBase64 } from '../spiffe/base64url.ts';
import { DerReader, derTag, readObjectIdentifier } from '../spiffe/der-reader.ts';
import { asNsmError } from '../errors.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import {
  type KeyedTunnel,
  type KeyedTunnelKind,
  makeKeyedTunnel,
  readKeyedTunnel,
} from './keyed-tunnel.ts';
import { mechanismType } from './mechanism.ts';

/** IKEv2 and ESP through NAT (RFC 3948). */
export const ipsecPort = 4500;

/** rsaEncryption of RFC 8017. */
const rsaId = '1.2.840.113549.1.1.1';

/** An IKEv2 identity of type FQDN is this much of the certificate's base64. */
const identityLength = 64;

const ipsec: KeyedTunnelKind = {
  type: mechanismType.ipsec,
  port: ipsecPort,
  keyExpected: 'a certificate with an RSA key: base64 of its DER',
  whyNoKey(text) {
    const bytes = decodeBase64(text);
    if (bytes === undefined) return `${text.length} characters that are no base64`;
    try {
      const algorithm = keyAlgorithm(bytes);
      return algorithm === rsaId ? undefined : `a certificate with a key of kind ${algorithm}`;
    } catch (error) {
      return `${bytes.length} bytes that are no certificate: ${asNsmError(error).message}`;
    }
  },
};

/** A preference or answer; what is undefined is left out. */
export const ipsecMechanism = (known: Partial<KeyedTunnel>): Mechanism =>
  makeKeyedTunnel(ipsec, known);

/** What the mechanism says so far. Throws INVALID_ARGUMENT naming the parameter. */
export const readIpsec = (mechanism: Mechanism): KeyedTunnel => readKeyedTunnel(ipsec, mechanism);

/** The IKEv2 identity that an end with this certificate (base64) has. */
export const ipsecIdentity = (certificate: string): string => certificate.slice(0, identityLength);

/**
 * Object identifier of the subject's key. No more of the certificate is looked at: what it says of names and times binds
 * nobody, since it signs itself.
 */
function keyAlgorithm(der: Uint8Array): string {
  const outer = new DerReader(der);
  const body = outer.enter('the certificate').enter('the certificate body');
  outer.end('the certificate');
  body.readOptional('the version', 0xa0);
  body.read('the serial number', derTag.integer);
  for (const what of ['the signature algorithm', 'the issuer', 'the validity', 'the subject']) {
    body.read(what, derTag.sequence);
  }
  const algorithm = body.enter('the public key').enter('the kind of key');
  const { content } = algorithm.read('the kind of key', derTag.objectIdentifier);
  return readObjectIdentifier(content, 'the kind of key');
}
