// Identities with certificates that no honest authority issues; the processes that have them believe in them.

import type { Identity, IdentitySnapshot } from '../../protocols/ports/identity.ts';
import type { IdentityServer } from '../../transports/spiffe-ts/spiffe.ts';
import type { TestCa } from '../transports/spiffe-ts/pki.ts';
import { keyOf, makeKey, makeLeaf } from '../transports/spiffe-ts/pki.ts';

const hourMs = 3_600_000;

export interface Forged {
  readonly ca?: TestCa;
  readonly uri?: string;
  readonly uris?: readonly string[];
  readonly notAfterMs?: number;
}

export const times = () => ({ notBeforeMs: Date.now() - hourMs, notAfterMs: Date.now() + hourMs });

/** By default for `spiffe://home.test/a`. */
export function forgedBy(
  identity: Identity,
  { ca, ...forged }: Forged & { readonly ca: TestCa },
): Identity {
  const key = makeKey();
  const uris = forged.uris ?? [forged.uri ?? 'spiffe://home.test/a'];
  const leaf = makeLeaf(ca, { ...times(), key, ...forged, uris });
  const snapshot = identity.current() as IdentitySnapshot;
  const svid = {
    ...snapshot.svid,
    chain: [leaf],
    privateKey: new Uint8Array(key.export({ type: 'pkcs8', format: 'der' })),
    notAfterMs: Date.now() + hourMs,
  };
  return faked(identity, () => ({ ...snapshot, svid }));
}

export function faked(
  identity: Identity,
  current: Identity['current'],
  others: Partial<Identity> = {},
): Identity {
  return {
    current,
    watch: () => () => {},
    verifyPeer: (chain: readonly Uint8Array[]) => identity.verifyPeer(chain),
    signPathToken: (...token: Parameters<Identity['signPathToken']>) =>
      identity.signPathToken(...token),
    ...others,
  } as Identity;
}

/** The authority itself, with its key. */
export function caOf(server: IdentityServer): TestCa {
  const [generation] = server.save().generations.slice(-1);
  if (generation === undefined) throw new Error('no CA');
  const der = new Uint8Array(Buffer.from(generation.certificate, 'base64'));
  return { name: `${server.trustDomain} ${generation.keyId}`, key: keyOf(generation.caKey), der };
}
