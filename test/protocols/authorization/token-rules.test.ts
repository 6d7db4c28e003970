// Protects the reference's rules about path tokens under their own names, and the two of ours, each by a table: what it
// lets pass, what it finds wrong, and that no finding shows a token.

import { describe, expect, it } from 'vitest';
import { describeError } from '../../../protocols/errors.ts';
import type { Finding } from '../../../protocols/authorization/finding.ts';
import { refusalOf } from '../../../protocols/authorization/finding.ts';
import { TokenReader } from '../../../protocols/authorization/read-tokens.ts';
import { clientRules, serverRules } from '../../../protocols/authorization/token-rules.ts';
import { jwtSigningInput, joinJwt } from '../../../protocols/spiffe/jwt.ts';
import { pathTokenClaims, pathTokenHeader } from '../../../protocols/spiffe/path-token.ts';

const nowEpochMs = Date.UTC(2026, 0, 1);
const id = (name: string): string => `spiffe://home.test/${name}`;
const leafOf = (name: string): Uint8Array => new TextEncoder().encode(name);

/** Signed by `signer` in the eyes of the fake verifier below: its name is the signature. */
function token(subject: string, audience: readonly string[], more: TokenChange = {}): string {
  const { signer = subject, expiresAtMs = nowEpochMs + 60_000 } = more;
  const claims = pathTokenClaims({
    subject: id(subject),
    audience: audience.map(id),
    expiresAtMs,
  });
  return joinJwt(jwtSigningInput(pathTokenHeader, claims), leafOf(signer));
}
interface TokenChange {
  readonly signer?: string;
  readonly expiresAtMs?: number;
}

const verify = (text: string, leaf: Uint8Array): void => {
  const signature = Buffer.from(text.split('.')[2] ?? '', 'base64url');
  if (!signature.equals(leaf)) throw new Error('another key');
};
const reader = () => new TokenReader(verify);

const ruleOf = (finding: Finding | undefined): string => finding?.rule ?? 'granted';

const toManager = token('nsc', ['nsmgr']);
const toForwarder = token('nsmgr', ['forwarder']);

describe('what a server asks of the tokens before it', () => {
  const atForwarder = (tokens: readonly string[], peer = 'nsmgr') =>
    serverRules(
      {
        tokens,
        peer: { spiffeId: id(peer), leaf: leafOf(peer) },
        self: id('forwarder'),
        nowEpochMs,
      },
      reader(),
    );

  const rows: readonly (readonly [string, readonly string[], string])[] = [
    ['an honest path', [toManager, toForwarder], 'granted'],
    ['a path that begins at the caller', [toForwarder], 'granted'],
    ['no caller at all', [], 'path.index'],
    ['an empty token', [toManager, ''], 'tokens_valid'],
    ['an empty token further away', ['', toForwarder], 'tokens_valid'],
    ['something that is no JWT', ['a.b', toForwarder], 'tokens_valid'],
    ['a token longer than any', [toManager, `${toForwarder}${'A'.repeat(9000)}`], 'tokens_valid'],
    [
      'an expired token of the caller',
      [toManager, token('nsmgr', ['forwarder'], { expiresAtMs: nowEpochMs })],
      'tokens_expired',
    ],
    [
      'an expired token further away',
      [token('nsc', ['nsmgr'], { expiresAtMs: nowEpochMs - 1 }), toForwarder],
      'tokens_expired',
    ],
    [
      'a token that was for another hop',
      [token('nsc', ['stranger']), toForwarder],
      'tokens_chained',
    ],
    ['one of several it is for', [token('nsc', ['stranger', 'nsmgr']), toForwarder], 'granted'],
    ['a token that was for nobody', [token('nsc', []), toForwarder], 'tokens_chained'],
    ['the token of somebody else', [token('nsc', ['forwarder'])], 'prev_token_subject'],
    ['a token for another server', [toManager, token('nsmgr', ['other'])], 'prev_token_audience'],
    [
      'a token by another key',
      [toManager, token('nsmgr', ['forwarder'], { signer: 'thief' })],
      'prev_token_signed',
    ],
  ];
  it.each(rows)('%s', (_, tokens, expected) => {
    expect(ruleOf(atForwarder(tokens))).toBe(expected);
  });

  it('does not ask for the age of a token where something is only taken away', () => {
    const expired = token('nsmgr', ['forwarder'], { expiresAtMs: nowEpochMs - 1 });
    const peer = { spiffeId: id('nsmgr'), leaf: leafOf('nsmgr') };
    const view = { peer, self: id('forwarder'), nowEpochMs: undefined };
    expect(ruleOf(serverRules({ ...view, tokens: [expired] }, reader()))).toBe('granted');
  });

  it.each([
    ['tokens_expired', [token('nsmgr', ['forwarder'], { expiresAtMs: nowEpochMs - 1 })]],
    ['tokens_chained', [token('nsc', ['other']), toForwarder]],
    ['tokens_valid', ['', toForwarder]],
  ] as const)('does not ask for %s where the operator has selected other rules', (rule, tokens) => {
    const peer = { spiffeId: id('nsmgr'), leaf: leafOf('nsmgr') };
    const view = { tokens, peer, self: id('forwarder'), nowEpochMs };
    const others = new Set(['tokens_expired', 'tokens_chained', 'tokens_valid']);
    expect(ruleOf(serverRules({ ...view, selected: others }, reader()))).toBe(rule);
    others.delete(rule);
    expect(ruleOf(serverRules({ ...view, selected: others }, reader()))).toBe('granted');
  });

  it.each(rows)('refuses %s without showing a token', (_, tokens) => {
    const finding = atForwarder(tokens);
    if (finding === undefined) return;
    const error = refusalOf(finding, 'forwarder-1');
    const text = describeError(error);
    expect(error.code).toBe(tokens.length === 0 ? 'INVALID_ARGUMENT' : 'PERMISSION_DENIED');
    expect(error.details).toMatchObject({ hop: 'forwarder-1', rule: finding.rule });
    for (const each of tokens)
      for (const part of each.split('.')) {
        if (part.length > 8) expect(text).not.toContain(part.slice(0, 20));
      }
  });
});

describe('what a client asks of the answer', () => {
  const toEndpoint = token('forwarder', ['nse']);
  const last = token('nse', ['forwarder']);
  const whole = [toManager, toForwarder, toEndpoint, last];
  const atClient = (tokens: readonly string[], peer = 'nsmgr') =>
    clientRules(
      {
        tokens,
        index: 0,
        peer: { spiffeId: id(peer), leaf: leafOf(peer) },
        nowEpochMs,
      },
      reader(),
    );

  it.each([
    ['a whole path', whole, 'nsmgr', 'granted'],
    ['an answer of nobody', [toManager], 'nsmgr', 'next_token_signed'],
    ['a token that another one has signed', whole, 'stranger', 'next_token_signed'],
    ['a chain that breaks far away', [toManager, toForwarder, last], 'nsmgr', 'tokens_chained'],
    ['no token far away', [toManager, toForwarder, ''], 'nsmgr', 'tokens_valid'],
    [
      'a token that has ended far away',
      [toManager, toForwarder, token('forwarder', ['nse'], { expiresAtMs: 1000 })],
      'nsmgr',
      'tokens_expired',
    ],
  ] as const)('%s', (_, tokens, peer, expected) => {
    expect(ruleOf(atClient(tokens, peer))).toBe(expected);
  });
});

describe('what is kept of tokens', () => {
  it('verifies a signature once for a certificate, and again for another', () => {
    let verified = 0;
    const kept = new TokenReader((text, leaf) => {
      verified += 1;
      verify(text, leaf);
    });
    const leaf = leafOf('nsmgr');
    expect(kept.isSignedBy(toForwarder, leaf)).toBe(true);
    expect(kept.isSignedBy(toForwarder, leaf)).toBe(true);
    expect(verified).toBe(1);
    expect(kept.isSignedBy(toForwarder, leafOf('thief'))).toBe(false);
    expect(kept.isSignedBy(toForwarder, leaf)).toBe(true);
    expect(verified).toBe(2);
  });

  it('keeps the latest ones alone', () => {
    let verified = 0;
    const kept = new TokenReader(() => (verified += 1), 4);
    const leaf = leafOf('any');
    const tokens = new Map('abcdef'.split('').map((name) => [name, token(name, [])]));
    const ask = (names: string): void => {
      for (const name of names) expect(kept.isSignedBy(tokens.get(name) ?? '', leaf)).toBe(true);
    };
    ask('abacad');
    // `a` was used all the time and is kept.
    expect(verified).toBe(4);
    ask('efb');
    // `b` had to go.
    expect(verified).toBe(7);
  });
});
