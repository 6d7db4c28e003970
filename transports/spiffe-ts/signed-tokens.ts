// Path tokens that were signed a moment ago. Their end has whole seconds, so all that one hop says to another within a
// second is the same: it is signed once, and whoever has verified it need not do so again.
// Invariant: what is kept is bounded, and is only given out for the very claims and key that it was signed for.

import type { SignedPathToken, X509Svid } from '../../protocols/ports/identity.ts';
import { type PathTokenRequest, pathTokenEndMs, signPathToken } from './path-tokens.ts';

/** Peers of one second. */
const keptMax = 1_024;

interface OfSvid {
  readonly endMs: number;
  readonly byAudience: Map<string | undefined, SignedPathToken>;
}

export class SignedTokens {
  readonly #latest = new WeakMap<X509Svid, OfSvid>();

  /** Errors: FAILED_PRECONDITION. */
  token(svid: X509Svid, request: PathTokenRequest): SignedPathToken {
    const endMs = pathTokenEndMs(svid, request);
    let kept = this.#latest.get(svid);
    if (kept?.endMs !== endMs || kept.byAudience.size >= keptMax) {
      kept = { endMs, byAudience: new Map() };
      this.#latest.set(svid, kept);
    }
    const { audience } = request;
    let signed = kept.byAudience.get(audience);
    if (signed === undefined) {
      signed = signPathToken(svid, request);
      kept.byAudience.set(audience, signed);
    }
    return signed;
  }
}
