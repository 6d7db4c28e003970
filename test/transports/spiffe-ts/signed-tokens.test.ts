// Protects what makes decisions cheap under load: all that one hop says to another within a second is one and the same token,
// and never one with other claims or by another key.

import { describe, expect, it } from 'vitest';
import { SignedTokens } from '../../../transports/spiffe-ts/signed-tokens.ts';
import { verifyPathToken } from '../../../transports/spiffe-ts/spiffe.ts';
import { leafId, makeCa, makeKey, makeLeaf, nowMs } from './pki.ts';

function svidOf() {
  const key = makeKey();
  return {
    spiffeId: leafId,
    chain: [makeLeaf(makeCa(), { key })],
    privateKey: key.export({ type: 'pkcs8', format: 'der' }),
    notBeforeMs: nowMs,
    notAfterMs: nowMs + 3_600_000,
    hint: '',
  };
}

describe('tokens that were signed a moment ago', () => {
  const expiresAtMs = nowMs + 600_100;
  const audience = 'spiffe://home.test/next';

  it('are given out again as long as they would say the same', () => {
    const [signed, svid] = [new SignedTokens(), svidOf()];
    const first = signed.token(svid, { audience, expiresAtMs });
    expect(signed.token(svid, { audience, expiresAtMs: expiresAtMs + 800 })).toBe(first);
    expect(signed.token(svid, { audience, expiresAtMs: expiresAtMs + 900 })).not.toBe(first);
  });

  it('are never given to another peer, or where another key is to sign', () => {
    const [signed, svid, renewed] = [new SignedTokens(), svidOf(), svidOf()];
    const leaf = renewed.chain[0] ?? new Uint8Array();
    const first = signed.token(svid, { audience, expiresAtMs });
    const other = signed.token(svid, { audience: undefined, expiresAtMs });
    expect(other.token).not.toBe(first.token);
    const { token } = signed.token(renewed, { audience, expiresAtMs });
    expect(verifyPathToken(token, leaf).audience).toEqual([audience]);
  });
});
