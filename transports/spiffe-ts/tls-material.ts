// An identity in the forms that node:tls takes, and the chain that a TLS peer presented in the form that the verifier
// takes. TLS itself can only check against one merged list of CAs: that is never enough, so every user of this
// material also calls `verifyPeer` with the peer's chain.

import type { PeerCertificate } from 'node:tls';
import type { IdentitySnapshot } from '../../protocols/ports/identity.ts';
import { chainLengthMax } from './verify-x509-svid.ts';

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

export function toPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Node adds the link where the whole chain was asked for, and a root links to itself. */
type LinkedCertificate = Partial<Pick<PeerCertificate, 'raw'>> & {
  readonly issuerCertificate?: LinkedCertificate;
};

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
