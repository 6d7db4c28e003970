// An identity in the forms that TLS libraries take, and the chain that a TLS peer presented in the form that the
// verifier takes. TLS itself can only check against one merged list of CAs: that is never enough, so every user of
// this material also calls `verifyPeer` with the peer's chain.

import type { IdentitySnapshot } from '../ports/identity.ts';
import { encodeBase64 } from './base64url.ts';
import { chainLengthMax } from './svid-rules.ts';

export interface TlsMaterial {
  /** Leaf and intermediates, PEM. */
  readonly cert: string;
  /** PKCS#8, PEM. */
  readonly key: string;
  /** CA certificates of every trust domain, PEM: enough for a handshake, no proof of an identity. */
  readonly ca: string[];
}

export function tlsMaterial({ svid, bundles }: IdentitySnapshot): TlsMaterial {
  return {
    cert: svid.chain.map((der) => toPem('CERTIFICATE', der)).join(''),
    key: toPem('PRIVATE KEY', svid.privateKey),
    ca: [...bundles.values()].flatMap((roots) => roots.map((der) => toPem('CERTIFICATE', der))),
  };
}

/** Whether two materials prove and accept the same: a snapshot may come again with nothing new. */
export function isSameMaterial(one: TlsMaterial, other: TlsMaterial): boolean {
  return one.cert === other.cert && one.ca.join('') === other.ca.join('');
}

export function toPem(label: string, der: Uint8Array): string {
  const lines = encodeBase64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** As Node tells of a peer: it adds the link where the whole chain was asked for, and a root links to itself. */
interface LinkedCertificate {
  readonly raw?: Uint8Array;
  readonly issuerCertificate?: LinkedCertificate;
}

/**
 * DER certificates, leaf first, of `socket.getPeerCertificate(true)` or of what `checkServerIdentity` gets; empty
 * where the peer presented none. The root that Node adds does no harm: a path ends at the bundle anyway.
 */
export function presentedChain(peer: LinkedCertificate): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  const seen = new Set<LinkedCertificate>();
  let next: LinkedCertificate | undefined = peer;
  while (next?.raw !== undefined && !seen.has(next) && chain.length < chainLengthMax) {
    seen.add(next);
    chain.push(next.raw);
    next = next.issuerCertificate;
  }
  return chain;
}
