// Who this process is and whom it trusts: its X.509-SVIDs, the CA certificates of each trust domain, and JWT-SVIDs.
// NSM concept: the SPIFFE Workload API as every NSM component uses it.
// Invariants: a snapshot is complete and was validated as a whole before it replaced the one before; it never
// changes; the bundles of two trust domains are never merged.

import type { JwtSvidClaims } from '../spiffe/jwt-svid.ts';
import type { PathTokenClaims } from '../spiffe/path-token.ts';
import type { Budget } from './dataplane.ts';

/** One identity of this process. Never log it: it holds the key. */
export interface X509Svid {
  readonly spiffeId: string;
  /** DER certificates, leaf first, the root not included. */
  readonly chain: readonly Uint8Array[];
  /** Unencrypted PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** Wall-clock times in ms since 1970. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** An operator's word on what the identity is for; empty where there is none. */
  readonly hint: string;
}

export interface IdentitySnapshot {
  /** The default identity: the first that the Workload API named. */
  readonly svid: X509Svid;
  readonly svids: readonly X509Svid[];
  /** CA certificates (DER) by trust domain name: the own one and federated ones. */
  readonly bundles: ReadonlyMap<string, readonly Uint8Array[]>;
  /** Grows by one with each snapshot of this source, from 1 on. */
  readonly generation: number;
}

/** A peer whose certificate was found to be signed by its own trust domain. */
export interface VerifiedPeer {
  readonly spiffeId: string;
  readonly trustDomain: string;
  /** DER of the leaf. */
  readonly leaf: Uint8Array;
  /** The earliest end of the certificates on the path: trust in the peer ends then. */
  readonly notAfterMs: number;
}

export interface JwtSvid {
  readonly spiffeId: string;
  readonly token: string;
  readonly expiresAtMs: number;
  readonly hint: string;
}

export interface SignedPathToken {
  readonly token: string;
  /** Never later than the SVID's own end. */
  readonly expiresAtMs: number;
}

export interface Identity {
  /** Undefined before the first snapshot, and after the source of identity said that this process has none. */
  current(): IdentitySnapshot | undefined;
  /**
   * The current snapshot, or the first to come. Errors: DEADLINE_EXCEEDED (what was last wrong is the cause),
   * CANCELLED, UNAVAILABLE (closed), and whatever ended the watch for good.
   */
  ready(budget: Budget): Promise<IdentitySnapshot>;
  /** Called with each later snapshot, and with undefined when identity is withdrawn. Returns how to stop. */
  watch(listener: (snapshot: IdentitySnapshot | undefined) => void): () => void;
  /** The current snapshot and each later one; a slow reader gets only the newest. Ends with the signal or `close`. */
  updates(signal?: AbortSignal): AsyncIterable<IdentitySnapshot>;
  /**
   * Verifies a chain, leaf first, against the current bundle of the leaf's own trust domain.
   * Errors: UNAUTHENTICATED with the rule that is broken.
   */
  verifyPeer(chain: readonly Uint8Array[]): VerifiedPeer;
  /** Errors: PERMISSION_DENIED, INVALID_ARGUMENT, UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED. */
  fetchJwtSvid(request: JwtSvidRequest, budget: Budget): Promise<JwtSvid>;
  /** Verifies with the bundle of the subject's trust domain. Errors: UNAUTHENTICATED, and those of `ready`. */
  validateJwtSvid(token: string, audience: string, budget: Budget): Promise<JwtSvidClaims>;
  /**
   * Signs a path token with the key of the current default SVID. `audience`: the SPIFFE ID of the peer; `ownLeaf`: the
   * certificate of a snapshot before, for a peer that knows this process by that one.
   * Errors: UNAUTHENTICATED (no identity), FAILED_PRECONDITION (the key is not ECDSA P-256).
   */
  signPathToken(
    audience: string | undefined,
    lifetimeMs: number,
    ownLeaf?: Uint8Array,
  ): SignedPathToken;
  /**
   * For a peer that knows this process by the certificate `ownLeaf` of a snapshot before: the claims of an own path token,
   * signed with the key of that one. Undefined where the peer can verify the token as it is, or it is not an own one.
   */
  resignPathToken(token: string, ownLeaf: Uint8Array): SignedPathToken | undefined;
  /** Verifies that the holder of that leaf signed the token, and nothing else. Errors: UNAUTHENTICATED. */
  verifyPathToken(token: string, leaf: Uint8Array): PathTokenClaims;
  close(): Promise<void>;
}

export interface JwtSvidRequest {
  /** At least one. */
  readonly audience: readonly string[];
  /** One of several identities; absent: the default one. */
  readonly spiffeId?: string;
}
