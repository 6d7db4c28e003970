// What both sides of a gRPC connection make of an identity for TLS: a context for handshakes from the newest SVID and
// the bundles of all trust domains together. That merged list alone proves no identity: each peer is judged besides.

import { constants } from 'node:crypto';
import type { SecureContext, SecureContextOptions } from 'node:tls';
import { createSecureContext } from 'node:tls';
import { NsmError } from '../../protocols/errors.ts';
import type { WallClock } from '../../protocols/ports/clock.ts';
import type { Identity } from '../../protocols/ports/identity.ts';
import type { TlsMaterial } from '../../protocols/spiffe/tls-material.ts';
import { isSameMaterial, tlsMaterial } from '../../protocols/spiffe/tls-material.ts';

export interface MutualTls {
  readonly identity: Identity;
  /** Judges when certificates end. */
  readonly wallClock: WallClock;
}

export const alpnProtocol = 'h2';

/** Of the current identity; a context that no handshake succeeds with while there is none. */
export function contextOptions(material: TlsMaterial | undefined): SecureContextOptions {
  return {
    ...material,
    minVersion: 'TLSv1.2',
    // A resumed session would bring back a peer that was judged long ago.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

/** The TLS context that new connections of a dialer are made with. */
export interface OwnSide {
  readonly context: SecureContext;
  readonly leaf: Uint8Array | undefined;
  /** Wall-clock ms. */
  readonly notAfterMs: number;
}

/** Follows the identity; a snapshot that changes nothing is not news. */
export class OwnSides {
  readonly #identity: Identity;
  readonly #unwatch: () => void;
  #material: TlsMaterial | undefined;
  #current: OwnSide | undefined;

  constructor(identity: Identity, onChange: () => void) {
    this.#identity = identity;
    this.#renew();
    this.#unwatch = identity.watch(() => {
      if (this.#renew()) onChange();
    });
  }

  /** Errors: UNAUTHENTICATED while this process has no identity. */
  current(): OwnSide {
    if (this.#current === undefined) this.#renew();
    if (this.#current !== undefined) return this.#current;
    throw new NsmError('UNAUTHENTICATED', 'this process has no identity to connect with', {
      rule: 'own-identity',
      expected: 'an X.509-SVID of the Workload API',
      found: 'none so far, or it was withdrawn',
    });
  }

  close(): void {
    this.#unwatch();
  }

  #renew(): boolean {
    const snapshot = this.#identity.current();
    const material = snapshot && tlsMaterial(snapshot);
    const known = this.#material;
    if (material === known) return false;
    if (material !== undefined && known !== undefined && isSameMaterial(material, known)) {
      return false;
    }
    this.#material = material;
    this.#current =
      snapshot === undefined
        ? undefined
        : {
            context: createSecureContext(contextOptions(material)),
            leaf: snapshot.svid.chain[0],
            notAfterMs: snapshot.svid.notAfterMs,
          };
    return true;
  }
}
