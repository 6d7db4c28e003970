// TLS to nats-server with the SVID of now: the server is judged by the bundle of its own trust domain, and where its
// SPIFFE ID is known, by that. What is said here is asked for anew with each connection.

import type { ConnectionOptions } from '@nats-io/transport-node';
import type { ConnectionOptions as NodeTlsOptions, PeerCertificate } from 'node:tls';
import { NsmError } from '../../protocols/errors.ts';
import { inboxPrefixOf } from '../../protocols/messages/bus-rights.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import {
  isSameMaterial,
  presentedChain,
  type TlsMaterial,
  tlsMaterial,
} from '../../protocols/spiffe/tls-material.ts';

export interface BusTls {
  readonly identity: Identity;
  /** SPIFFE ID of the server; absent: any of a trusted domain. */
  readonly serverId?: string;
}

/** Errors: UNAUTHENTICATED while this process has no identity. */
export function tlsConnectionOptions({ identity, serverId }: BusTls): Partial<ConnectionOptions> {
  const { spiffeId } = ownMaterial(identity);
  const tls: NodeTlsOptions = {
    // Read by the library for each connection.
    get cert() {
      return ownMaterial(identity).material.cert;
    },
    get key() {
      return ownMaterial(identity).material.key;
    },
    get ca() {
      return ownMaterial(identity).material.ca;
    },
    minVersion: 'TLSv1.2',
    checkServerIdentity: (_host, certificate) => judge(identity, serverId, certificate),
  };
  return { tls: tls as ConnectionOptions['tls'] & {}, inboxPrefix: inboxPrefixOf(spiffeId) };
}

/** Calls back whenever a connection would prove or accept something else than before. Returns how to stop. */
export function watchMaterial(identity: Identity, onChange: () => void): () => void {
  let known = materialOf(identity);
  return identity.watch(() => {
    const material = materialOf(identity);
    if (material === undefined || (known !== undefined && isSameMaterial(material, known))) return;
    known = material;
    onChange();
  });
}

function materialOf(identity: Identity): TlsMaterial | undefined {
  const snapshot = identity.current();
  return snapshot && tlsMaterial(snapshot);
}

function ownMaterial(identity: Identity): { spiffeId: string; material: TlsMaterial } {
  const snapshot = identity.current();
  if (snapshot !== undefined) {
    return { spiffeId: snapshot.svid.spiffeId, material: tlsMaterial(snapshot) };
  }
  throw new NsmError('UNAUTHENTICATED', 'this process has no identity to connect to the bus with', {
    rule: 'own-identity',
    expected: 'an X.509-SVID of the Workload API',
    found: 'none so far, or it was withdrawn',
  });
}

function judge(
  identity: Identity,
  serverId: string | undefined,
  certificate: PeerCertificate,
): Error | undefined {
  try {
    const { spiffeId } = identity.verifyPeer(presentedChain(certificate));
    if (serverId === undefined || spiffeId === serverId) return undefined;
    return new NsmError('UNAUTHENTICATED', 'another one serves the bus', {
      rule: 'bus-server',
      expected: serverId,
      found: spiffeId,
      remedy: 'correct VWIRE_NATS_ID, or look who listens there',
    });
  } catch (error) {
    return error as Error;
  }
}
