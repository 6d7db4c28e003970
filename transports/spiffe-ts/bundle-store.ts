// The bundles of the trust domains that this process knows besides its own: federation by documents that somebody
// fetched, each under the trust domain that it was fetched for.
// Invariants: bundles are never merged; an older document never replaces a newer one; listeners hear every change.

import { NsmError } from '../../protocols/errors.ts';
import { parseBundleDocument } from '../../protocols/spiffe/bundle-document.ts';
import { parseTrustDomain } from '../../protocols/spiffe/spiffe-id.ts';
import type { JwtKeys } from './verify-jwt-svid.ts';
import { readJwtKeys } from './verify-jwt-svid.ts';

export interface TrustBundle {
  readonly trustDomain: string;
  /** As it came. */
  readonly document: Uint8Array;
  /** CA certificates in DER. */
  readonly x509Authorities: readonly Uint8Array[];
  readonly jwtKeys: JwtKeys;
  readonly sequence?: bigint;
  readonly refreshHintSeconds?: number;
}

const bundlesMax = 1024;

export class BundleStore {
  readonly #bundles = new Map<string, TrustBundle>();
  readonly #listeners = new Set<(trustDomain: string) => void>();

  get(trustDomain: string): TrustBundle | undefined {
    return this.#bundles.get(trustDomain);
  }

  get trustDomains(): readonly string[] {
    return [...this.#bundles.keys()];
  }

  /** For `verifyX509Svid`. */
  x509(): ReadonlyMap<string, readonly Uint8Array[]> {
    return new Map([...this.#bundles].map(([name, bundle]) => [name, bundle.x509Authorities]));
  }

  /** For `verifyJwtSvid`. */
  jwt(): ReadonlyMap<string, JwtKeys> {
    return new Map([...this.#bundles].map(([name, bundle]) => [name, bundle.jwtKeys]));
  }

  /**
   * Takes the bundle of a trust domain (its name or SPIFFE ID) from a document. False where nothing changed: it is the
   * one known, or an older one. Errors: INVALID_ARGUMENT, RESOURCE_EXHAUSTED (1024 trust domains).
   */
  set(trustDomainText: string, document: Uint8Array): boolean {
    const trustDomain = parseTrustDomain(trustDomainText);
    const known = this.#bundles.get(trustDomain);
    if (known !== undefined && Buffer.from(known.document).equals(document)) return false;
    const { x509Authorities, jwtAuthorities, sequence, refreshHintSeconds } =
      parseBundleDocument(document);
    const isOlder =
      sequence !== undefined && known?.sequence !== undefined && sequence < known.sequence;
    if (isOlder) return false;
    if (known === undefined && this.#bundles.size === bundlesMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'too many federated trust domains', {
        rule: 'bundles',
        expected: `at most ${bundlesMax}`,
        found: 'one more',
      });
    }
    this.#bundles.set(trustDomain, {
      trustDomain,
      document: new Uint8Array(document),
      x509Authorities,
      jwtKeys: readJwtKeys(jwtAuthorities),
      ...(sequence === undefined ? {} : { sequence }),
      ...(refreshHintSeconds === undefined ? {} : { refreshHintSeconds }),
    });
    this.#tell(trustDomain);
    return true;
  }

  /** Nothing of that trust domain is trusted any more. */
  delete(trustDomain: string): void {
    if (this.#bundles.delete(trustDomain)) this.#tell(trustDomain);
  }

  /** Returns how to stop. */
  watch(listener: (trustDomain: string) => void): () => void {
    const own = (trustDomain: string): void => listener(trustDomain);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  #tell(trustDomain: string): void {
    for (const listener of this.#listeners) listener(trustDomain);
  }
}
