// Protects tokens: JWT-SVIDs by the rules of their specification, one row each, and the path tokens of NSM in the form
// that the reference signs and verifies.

import type { KeyObject } from 'node:crypto';
import { constants, createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import type { X509Svid } from '../../../protocols/ports/identity.ts';
import { signPathToken, verifyPathToken } from '../../../transports/spiffe-ts/path-tokens.ts';
import { verifyJwtSvid } from '../../../transports/spiffe-ts/verify-jwt-svid.ts';
import type { KeyName } from './pki.ts';
import { leafId, makeCa, makeKey, makeLeaf, nowMs } from './pki.ts';

const keys = {
  'P-256': makeKey('P-256'),
  'P-384': makeKey('P-384'),
  'P-521': makeKey('P-521'),
  RSA: makeKey('RSA'),
};
type Kid = keyof typeof keys;
const bundles = new Map([
  ['home.test', new Map(Object.entries(keys).map(([id, key]) => [id, createPublicKey(key)]))],
  ['away.test', new Map([['P-256', createPublicKey(makeKey())]])],
]);

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

function signed(header: Record<string, unknown>, claims: unknown, key?: KeyObject): string {
  const { alg, kid } = header;
  const input = `${part(header)}.${part(claims)}`;
  const hash = `sha${String(alg).slice(2)}`;
  const signer = key ?? keys[(kid as Kid | undefined) ?? 'P-256'];
  const signature = String(alg).startsWith('PS')
    ? sign(hash, Buffer.from(input), {
        key: signer,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      })
    : sign(hash, Buffer.from(input), { key: signer, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

const nowSeconds = nowMs / 1000;
const claims = { sub: leafId, aud: ['server'], exp: nowSeconds + 60 };
const header = { alg: 'ES256', kid: 'P-256', typ: 'JWT' };

const verify = (token: string) => verifyJwtSvid(token, 'server', bundles, nowMs);

function ruleOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(NsmError);
    expect((error as NsmError).code).toBe('UNAUTHENTICATED');
    return (error as NsmError).details.rule ?? '';
  }
  return 'accepted';
}

describe('a JWT-SVID', () => {
  it.each([
    ['ES256', 'P-256'],
    ['ES384', 'P-384'],
    ['ES512', 'P-521'],
    ['RS256', 'RSA'],
    ['RS384', 'RSA'],
    ['RS512', 'RSA'],
    ['PS256', 'RSA'],
    ['PS384', 'RSA'],
    ['PS512', 'RSA'],
  ])('is verified by %s with a %s key', (alg, kid) => {
    const result = verify(signed({ alg, kid }, { ...claims, more: { a: 1 } }));
    expect(result.spiffeId.text).toBe(leafId);
    expect(result).toMatchObject({ audience: ['server'], expiresAtMs: claims.exp * 1000 });
    expect(result.claims).toMatchObject({ more: { a: 1 } });
  });

  const rows: readonly (readonly [string, () => string, string])[] = [
    ['without key id', () => signed({ alg: 'ES384' }, claims, keys['P-384']), 'accepted'],
    ['without type', () => signed({ alg: 'ES256', kid: 'P-256' }, claims), 'accepted'],
    ['of type JOSE', () => signed({ ...header, typ: 'JOSE' }, claims), 'accepted'],
    ['with one audience as a text', () => signed(header, { ...claims, aud: 'server' }), 'accepted'],
    ['for several', () => signed(header, { ...claims, aud: ['x', 'server'] }), 'accepted'],
    ['of type at+jwt', () => signed({ ...header, typ: 'at+jwt' }, claims), 'jwt-typ'],
    ['with another header', () => signed({ ...header, jku: 'https://a' }, claims), 'jwt-header'],
    ['with a critical header', () => signed({ ...header, crit: [] }, claims), 'jwt-header'],
    [
      'with a number as key id',
      () => `${part({ ...header, kid: 1 })}.${part(claims)}.AAAA`,
      'jwt-kid',
    ],
    ['without algorithm', () => `${part({ kid: 'P-256' })}.${part(claims)}.AAAA`, 'jwt-alg'],
    ['of algorithm none', () => `${part({ alg: 'none' })}.${part(claims)}.`, 'jwt-form'],
    ['of algorithm none, signed', () => `${part({ alg: 'none' })}.${part(claims)}.AAAA`, 'jwt-alg'],
    ['of algorithm toString', () => `${part({ alg: 'toString' })}.${part(claims)}.AAAA`, 'jwt-alg'],
    ['by HMAC with the public key', hmacToken, 'jwt-alg'],
    [
      'of the wrong algorithm for its key',
      () => signed({ alg: 'RS256', kid: 'P-256' }, claims, keys.RSA),
      'jwt-signature',
    ],
    [
      'of an unknown key',
      () => signed({ ...header, kid: 'x' }, claims, keys['P-256']),
      'jwt-signature',
    ],
    ['by another key', () => signed(header, claims, makeKey()), 'jwt-signature'],
    [
      'without key id by another key',
      () => signed({ alg: 'ES256' }, claims, makeKey()),
      'jwt-signature',
    ],
    [
      'with a changed claim',
      () => withClaims(signed(header, claims), { ...claims, sub: `${leafId}2` }),
      'jwt-signature',
    ],
    ['with a signature in DER', derSigned, 'jwt-signature'],
    ['without subject', () => signed(header, { ...claims, sub: undefined }), 'jwt-sub'],
    [
      'with a subject that is no SPIFFE ID',
      () => signed(header, { ...claims, sub: 'me' }),
      'jwt-sub',
    ],
    [
      'of a domain without bundle',
      () => signed(header, { ...claims, sub: 'spiffe://x/a' }),
      'trust-bundle',
    ],
    [
      'of the federated domain, signed by ours',
      () => signed(header, { ...claims, sub: 'spiffe://away.test/a' }),
      'jwt-signature',
    ],
    ['without audience', () => signed(header, { ...claims, aud: undefined }), 'jwt-aud'],
    ['with an empty audience', () => signed(header, { ...claims, aud: [] }), 'jwt-aud'],
    ['for somebody else', () => signed(header, { ...claims, aud: ['Server'] }), 'jwt-aud'],
    [
      'with a number as audience',
      () => signed(header, { ...claims, aud: [1, 'server'] }),
      'jwt-aud',
    ],
    ['without end', () => signed(header, { ...claims, exp: undefined }), 'jwt-exp'],
    ['with a text as end', () => signed(header, { ...claims, exp: '9999999999' }), 'jwt-exp'],
    ['that ends now', () => signed(header, { ...claims, exp: nowSeconds }), 'jwt-exp'],
    ['that ended', () => signed(header, { ...claims, exp: nowSeconds - 1 }), 'jwt-exp'],
    ['that has not begun', () => signed(header, { ...claims, nbf: nowSeconds + 1 }), 'jwt-nbf'],
    ['that began', () => signed(header, { ...claims, nbf: nowSeconds }), 'accepted'],
    ['of two parts', () => signed(header, claims).split('.').slice(0, 2).join('.'), 'jwt-form'],
    ['of four parts', () => `${signed(header, claims)}.AAAA`, 'jwt-form'],
    ['with padding', () => `${signed(header, claims)}=`, 'jwt-form'],
    ['whose claims are a list', () => signed(header, [claims]), 'jwt-form'],
    ['that is very long', () => signed(header, { ...claims, x: 'x'.repeat(9_000) }), 'jwt-length'],
    ['that is empty', () => '', 'jwt-form'],
  ];
  it.each(rows)('%s', (_, token, rule) => {
    expect(ruleOf(() => verify(token()))).toBe(rule);
  });

  it('is never shown in an error', () => {
    for (const [, token] of rows) {
      try {
        verify(token());
      } catch (error) {
        const shown = JSON.stringify([(error as NsmError).message, (error as NsmError).details]);
        for (const piece of token().split('.')) {
          if (piece.length > 8) expect(shown).not.toContain(piece);
        }
      }
    }
  });
});

function withClaims(token: string, other: unknown): string {
  const [head, , signature] = token.split('.');
  return [head, part(other), signature].join('.');
}

function hmacToken(): string {
  const input = `${part({ alg: 'HS256', kid: 'P-256' })}.${part(claims)}`;
  const secret = createPublicKey(keys['P-256']).export({ type: 'spki', format: 'pem' });
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
}

function derSigned(): string {
  const input = `${part(header)}.${part(claims)}`;
  return `${input}.${sign('sha256', Buffer.from(input), keys['P-256']).toString('base64url')}`;
}

const ca = makeCa();

function svidOf(keyName: KeyName = 'P-256'): X509Svid {
  const key = makeKey(keyName);
  return {
    spiffeId: leafId,
    chain: [makeLeaf(ca, { key })],
    privateKey: key.export({ type: 'pkcs8', format: 'der' }),
    notBeforeMs: nowMs,
    notAfterMs: nowMs + 3_600_000,
    hint: '',
  };
}

describe('a path token', () => {
  const svid = svidOf();
  const leaf = svid.chain[0] ?? new Uint8Array();
  const peer = 'spiffe://home.test/next';
  const expiresAtMs = nowMs + 600_500;

  it('has the form of the reference: ES256, sub, aud as an array, exp in whole seconds', () => {
    const { token, expiresAtMs: reported } = signPathToken(svid, { audience: peer, expiresAtMs });
    const [head, body, signature] = token.split('.').map((one) => Buffer.from(one, 'base64url'));
    expect(JSON.parse(String(head))).toEqual({ alg: 'ES256', typ: 'JWT' });
    expect(JSON.parse(String(body))).toEqual({ sub: leafId, aud: [peer], exp: nowSeconds + 600 });
    expect(signature).toHaveLength(64);
    expect(reported).toBe(nowMs + 600_000);
    expect(verifyPathToken(token, leaf)).toMatchObject({ subject: leafId, audience: [peer] });
  });

  it('has no audience where the peer is not known, and never outlives the SVID', () => {
    const late = nowMs + 10_000_000;
    const { token, expiresAtMs: end } = signPathToken(svid, {
      audience: undefined,
      expiresAtMs: late,
    });
    expect(end).toBe(svid.notAfterMs);
    const parsed = verifyPathToken(token, leaf);
    expect(parsed).toMatchObject({ audience: [], expiresAtMs: svid.notAfterMs });
    expect(parsed.jwt.claims).not.toHaveProperty('aud');
  });

  it('is signed with nothing but an ECDSA key on P-256', () => {
    for (const name of ['P-384', 'RSA'] as const) {
      expect(() => signPathToken(svidOf(name), { audience: peer, expiresAtMs })).toThrow(
        expect.objectContaining({ code: 'FAILED_PRECONDITION' }),
      );
    }
  });

  const good = signPathToken(svid, { audience: peer, expiresAtMs }).token;
  const foreign = (head: object, body: object): string => {
    const input = `${part(head)}.${part(body)}`;
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const signature = sign('sha256', Buffer.from(input), {
      key: privateKey,
      dsaEncoding: 'ieee-p1363',
    });
    return `${input}.${signature.toString('base64url')}`;
  };
  const base = { sub: leafId, aud: [peer], exp: nowSeconds + 60 };
  it.each([
    ['by another key', foreign({ alg: 'ES256' }, base), 'token-signature'],
    ['with a changed claim', withClaims(good, { ...base, sub: peer }), 'token-signature'],
    ['of algorithm none', `${part({ alg: 'none' })}.${part(base)}.AAAA`, 'token-alg'],
    ['of HS256', `${part({ alg: 'HS256' })}.${part(base)}.AAAA`, 'token-alg'],
    ['with a critical header', foreign({ alg: 'ES256', crit: ['x'] }, base), 'token-header'],
    ['without subject', foreign({ alg: 'ES256' }, { ...base, sub: '' }), 'token-sub'],
    ['without end', foreign({ alg: 'ES256' }, { ...base, exp: undefined }), 'token-exp'],
    ['with an odd audience', foreign({ alg: 'ES256' }, { ...base, aud: 7 }), 'token-aud'],
    ['that is empty', '', 'jwt-form'],
  ])('%s is refused', (_, token, rule) => {
    expect(ruleOf(() => verifyPathToken(token, leaf))).toBe(rule);
  });

  it('is refused where the peer has another certificate', () => {
    expect(ruleOf(() => verifyPathToken(good, makeLeaf(ca)))).toBe('token-signature');
    expect(ruleOf(() => verifyPathToken(good, new Uint8Array(5)))).toBe('token-signature');
  });
});
