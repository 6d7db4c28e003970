// Protects which keys a trust domain is believed to have: SPIFFE bundle documents and plain JWK Sets, what is skipped
// and what refuses the whole document.

import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { PublicJwk } from '../../../protocols/spiffe/bundle-document.ts';
import {
  encodeBundleDocument,
  parseBundleDocument,
} from '../../../protocols/spiffe/bundle-document.ts';
import { makeCa } from '../../transports/spiffe-ts/pki.ts';

const ca = makeCa();
const jwkOf = (kind: 'ec' | 'rsa'): PublicJwk => {
  const { publicKey } =
    kind === 'ec'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  return publicKey.export({ format: 'jwk' }) as PublicJwk;
};
const ec = jwkOf('ec');
const rsa = jwkOf('rsa');
const x5c = [Buffer.from(ca.der).toString('base64')];

const parse = (value: unknown, form?: 'bundle' | 'keys') =>
  parseBundleDocument(new TextEncoder().encode(JSON.stringify(value)), form);

it('comes back as it was published', () => {
  const document = encodeBundleDocument({
    x509Authorities: [{ certificate: ca.der, jwk: ec }],
    jwtAuthorities: new Map([
      ['a', ec],
      ['b', rsa],
    ]),
    sequence: 12n,
    refreshHintSeconds: 300,
  });
  const bundle = parseBundleDocument(document);
  expect(bundle.x509Authorities.map((der) => Buffer.from(der))).toEqual([Buffer.from(ca.der)]);
  const plain = ({ kty, ...rest }: PublicJwk) => expect.objectContaining({ kty, ...rest });
  expect(bundle.jwtAuthorities.get('a')).toEqual(plain(ec));
  expect(bundle.jwtAuthorities.get('b')).toEqual(plain(rsa));
  expect(bundle).toMatchObject({ sequence: 12n, refreshHintSeconds: 300 });
});

describe('a bundle document', () => {
  const rows: readonly (readonly [string, unknown, number, number])[] = [
    ['with no keys trusts nothing', { keys: [] }, 0, 0],
    ['skips an unknown use', { keys: [{ ...ec, use: 'other', kid: 'a' }] }, 0, 0],
    ['skips a missing use', { keys: [{ ...ec, kid: 'a' }] }, 0, 0],
    ['skips an unknown key type', { keys: [{ kty: 'OKP', use: 'jwt-svid', kid: 'a' }] }, 0, 0],
    ['skips an unknown curve', { keys: [{ ...ec, crv: 'K', use: 'jwt-svid', kid: 'a' }] }, 0, 0],
    ['skips an authority without x5c', { keys: [{ ...ec, use: 'x509-svid' }] }, 0, 0],
    ['skips an authority with an empty x5c', { keys: [{ use: 'x509-svid', x5c: [] }] }, 0, 0],
    ['takes the first of x5c', { keys: [{ use: 'x509-svid', x5c: [...x5c, 'no'] }] }, 1, 0],
    ['takes a JWT key', { keys: [{ ...ec, use: 'jwt-svid', kid: 'a' }], other: 1 }, 0, 1],
    ['ignores members of no concern', { keys: [], trust_domain: 7 }, 0, 0],
  ];
  it.each(rows)('%s', (_, value, authorities, keys) => {
    const bundle = parse(value);
    expect([bundle.x509Authorities.length, bundle.jwtAuthorities.size]).toEqual([
      authorities,
      keys,
    ]);
  });

  const jwt = { ...ec, use: 'jwt-svid', kid: 'a' };
  const bad: readonly (readonly [string, unknown, string])[] = [
    ['that is a list', [], 'bundle-form'],
    ['that is null', null, 'bundle-form'],
    ['without keys', {}, 'bundle-keys'],
    ['whose keys are an object', { keys: {} }, 'bundle-keys'],
    ['with too many keys', { keys: Array.from({ length: 257 }, () => ({})) }, 'bundle-keys'],
    ['with a key that is a text', { keys: ['a'] }, 'bundle-key'],
    ['with a JWT key without id', { keys: [{ ...ec, use: 'jwt-svid' }] }, 'bundle-kid'],
    ['with a JWT key with an empty id', { keys: [{ ...jwt, kid: '' }] }, 'bundle-kid'],
    ['with two JWT keys of one id', { keys: [jwt, jwt] }, 'bundle-kid'],
    ['with a cut coordinate', { keys: [{ ...jwt, x: 'AAAA' }] }, 'bundle-jwk'],
    ['with a missing coordinate', { keys: [{ ...jwt, y: undefined }] }, 'bundle-jwk'],
    [
      'with a short RSA key',
      { keys: [{ ...jwt, kty: 'RSA', n: 'AAAA', e: 'AQAB' }] },
      'bundle-jwk',
    ],
    ['with x5c that is no base64', { keys: [{ use: 'x509-svid', x5c: ['?'] }] }, 'bundle-x5c'],
    ['with x5c that is no text', { keys: [{ use: 'x509-svid', x5c: [1] }] }, 'bundle-x5c'],
    ['with x5c that is no certificate', { keys: [{ use: 'x509-svid', x5c: ['AAAA'] }] }, 'der'],
    ['with a negative sequence', { keys: [], spiffe_sequence: -1 }, 'bundle-sequence'],
    ['with a text as sequence', { keys: [], spiffe_sequence: '1' }, 'bundle-sequence'],
    ['with a broken hint', { keys: [], spiffe_refresh_hint: 1.5 }, 'bundle-refresh-hint'],
  ];
  it.each(bad)('%s is refused', (_, value, rule) => {
    expect(() => parse(value)).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        details: expect.objectContaining({ rule }),
      }),
    );
  });

  it('never keeps the private part of a key', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = privateKey.export({ format: 'jwk' });
    const { jwtAuthorities } = parse({ keys: [{ ...jwk, use: 'jwt-svid', kid: 'a' }] });
    expect(Object.keys(jwtAuthorities.get('a') ?? {}).sort()).toEqual(['crv', 'kty', 'x', 'y']);
  });
});

it('takes the keys of a plain JWK Set, as a SPIRE agent sends it, for JWT keys', () => {
  expect(parse({ keys: [{ ...ec, kid: 'a' }] }, 'keys').jwtAuthorities.size).toBe(1);
  expect(parse({ keys: [{ ...ec, kid: 'a', use: 'x509-svid' }] }, 'keys').jwtAuthorities.size).toBe(
    0,
  );
});
