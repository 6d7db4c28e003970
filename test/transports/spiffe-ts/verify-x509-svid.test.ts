// Protects who is taken for whom: the rules of the X509-SVID specification and of RFC 5280 paths, one row each, and
// that a CA of one trust domain never speaks for another.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { keyPurpose, keyUsageBit } from '../../../protocols/spiffe/certificate.ts';
import { derTag } from '../../../protocols/spiffe/der-reader.ts';
import {
  derBoolean,
  derSequence,
  derText,
  derValue,
} from '../../../protocols/spiffe/der-writer.ts';
import { toPem } from '../../../protocols/spiffe/tls-material.ts';
import { verifyX509Svid } from '../../../transports/spiffe-ts/verify-x509-svid.ts';
import type { CaOptions, LeafOptions } from './pki.ts';
import { leafId, makeCa, makeKey, makeLeaf, nowMs } from './pki.ts';

const home = makeCa();
const federated = makeCa();
const bundles = new Map([
  ['home.test', [home.der]],
  ['away.test', [federated.der]],
]);

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

const verifyLeaf = (options: LeafOptions, ca = home): string =>
  ruleOf(() => verifyX509Svid([makeLeaf(ca, options)], bundles, nowMs));

const { digitalSignature, keyCertSign, cRLSign } = keyUsageBit;

describe('a leaf', () => {
  const rows: readonly (readonly [string, LeafOptions, string])[] = [
    ['as SPIRE issues it', {}, 'accepted'],
    ['of a P-384 key', { key: makeKey('P-384') }, 'accepted'],
    ['of an RSA key', { key: makeKey('RSA') }, 'accepted'],
    ['with DNS names beside', { dnsNames: ['a.test', 'b.test'] }, 'accepted'],
    ['without extended key usage', { purposes: undefined }, 'accepted'],
    ['with keyEncipherment (2) and keyAgreement (4)', { usage: [0, 2, 4] }, 'accepted'],
    ['without any name', { uris: [] }, 'svid-uri'],
    ['with DNS names only', { uris: [], dnsNames: ['a.test'] }, 'svid-uri'],
    ['with two ids', { uris: [leafId, `${leafId}b`] }, 'svid-uri'],
    ['with the same id twice', { uris: [leafId, leafId] }, 'svid-uri'],
    ['with an id and another URI', { uris: [leafId, 'https://a.test/'] }, 'svid-uri'],
    ['with a URI of another scheme', { uris: ['https://home.test/a'] }, 'spiffe-id-scheme'],
    ['with the id of the trust domain', { uris: ['spiffe://home.test'] }, 'spiffe-id-path'],
    ['with a root path', { uris: ['spiffe://home.test/'] }, 'spiffe-id-path'],
    ['that is a CA', { isCa: true }, 'svid-leaf'],
    ['without key usage', { usage: undefined }, 'svid-usage'],
    ['with key usage not critical', { isUsageCritical: false }, 'svid-usage'],
    ['without digitalSignature', { usage: [2] }, 'svid-usage'],
    ['with keyCertSign', { usage: [digitalSignature, keyCertSign] }, 'svid-usage'],
    ['with cRLSign', { usage: [digitalSignature, cRLSign] }, 'svid-usage'],
    ['for servers only', { purposes: [keyPurpose.serverAuth] }, 'svid-purpose'],
    ['for clients only', { purposes: [keyPurpose.clientAuth] }, 'svid-purpose'],
    ['that has expired', { notAfterMs: nowMs - 1_000 }, 'validity'],
    ['that is not yet valid', { notBeforeMs: nowMs + 1_000 }, 'validity'],
    ['of an RSA key of 1024 bits', { key: makeKey('RSA-1024') }, 'key'],
    ['of a key on secp256k1', { key: makeKey('secp256k1') }, 'key'],
    ['of an unknown trust domain', { uris: ['spiffe://other.test/a'] }, 'trust-bundle'],
    [
      'with an unknown critical extension',
      { extra: [{ id: '1.2.3.4', isCritical: true, value: derBoolean(true) }] },
      'critical-extension',
    ],
    [
      'with an unknown extension that is not critical',
      { extra: [{ id: '1.2.3.4', isCritical: false, value: derBoolean(true) }] },
      'accepted',
    ],
  ];
  it.each(rows)('%s', (_, options, rule) => {
    expect(verifyLeaf(options)).toBe(rule);
  });
});

describe('trust domains', () => {
  it('accepts a workload of a federated domain by that domain', () => {
    expect(verifyLeaf({ uris: ['spiffe://away.test/a'] }, federated)).toBe('accepted');
  });

  it('refuses a federated CA that signs an id of our domain', () => {
    expect(verifyLeaf({ uris: [leafId] }, federated)).toBe('chain');
  });

  it('refuses our CA under the name of a federated domain', () => {
    expect(verifyLeaf({ uris: ['spiffe://away.test/a'] }, home)).toBe('chain');
  });

  it('refuses a federated CA that took the name of ours', () => {
    const impostor = makeCa({ name: home.name });
    const both = new Map([...bundles, ['away.test', [impostor.der]]]);
    expect(ruleOf(() => verifyX509Svid([makeLeaf(impostor)], both, nowMs))).toBe('chain');
  });

  it('refuses the federated root presented as an intermediate', () => {
    const leaf = makeLeaf(federated);
    expect(ruleOf(() => verifyX509Svid([leaf, federated.der], bundles, nowMs))).toBe('chain');
  });

  it('trusts nobody of a domain whose bundle is empty', () => {
    const empty = new Map([['home.test', []]]);
    expect(ruleOf(() => verifyX509Svid([makeLeaf(home)], empty, nowMs))).toBe('trust-bundle');
  });
});

describe('a path', () => {
  it.each(['P-256', 'P-384', 'P-521', 'RSA'] as const)('ends at a CA with a %s key', (name) => {
    const ca = makeCa({ key: makeKey(name) });
    const trusted = new Map([['home.test', [federated.der, ca.der]]]);
    expect(verifyX509Svid([makeLeaf(ca)], trusted, nowMs).spiffeId).toBe(leafId);
  });

  it('goes through intermediates in any order, and ends trust with the shortest', () => {
    const notAfterMs = nowMs + 60_000;
    const upper = makeCa({ issuer: home, key: makeKey('RSA'), notAfterMs });
    const lower = makeCa({ issuer: upper });
    const leaf = makeLeaf(lower);
    for (const others of [
      [lower.der, upper.der],
      [upper.der, lower.der],
      [federated.der, upper.der, home.der, lower.der],
    ]) {
      const peer = verifyX509Svid([leaf, ...others], bundles, nowMs);
      expect(peer).toMatchObject({ spiffeId: leafId, trustDomain: 'home.test', notAfterMs });
    }
    expect(ruleOf(() => verifyX509Svid([leaf, lower.der], bundles, nowMs))).toBe('chain');
  });

  const rows: readonly (readonly [string, CaOptions, string])[] = [
    ['that may sign certificates', {}, 'accepted'],
    ['that is no CA', { isCa: false }, 'ca-flag'],
    ['without keyCertSign', { usage: [cRLSign] }, 'ca-usage'],
    ['that has expired', { notAfterMs: nowMs - 1_000 }, 'validity'],
    ['that is not yet valid', { notBeforeMs: nowMs + 1_000 }, 'validity'],
    ['that may sign leaves only', { pathLengthMax: 0 }, 'accepted'],
    ['with an RSA key of 1024 bits', { key: makeKey('RSA-1024') }, 'key'],
    ['with constraints to our domain', { extra: [uriConstraint('home.test')] }, 'accepted'],
    [
      'with constraints to another domain',
      { extra: [uriConstraint('away.test')] },
      'name-constraints',
    ],
    [
      'with constraints that exclude our domain',
      { extra: [uriConstraint('home.test', 'excluded')] },
      'name-constraints',
    ],
    [
      'with constraints to DNS names, which it has none of',
      { extra: [dnsConstraint()] },
      'accepted',
    ],
  ];
  it.each(rows)('with an intermediate %s', (_, options, rule) => {
    const middle = makeCa({ issuer: home, ...options });
    expect(ruleOf(() => verifyX509Svid([makeLeaf(middle), middle.der], bundles, nowMs))).toBe(rule);
  });

  it.each(rows)('with a root %s', (_, options, rule) => {
    const root = makeCa(options);
    const trusted = new Map([['home.test', [root.der]]]);
    expect(ruleOf(() => verifyX509Svid([makeLeaf(root)], trusted, nowMs))).toBe(rule);
  });

  it('keeps to the number of CAs that a root allows', () => {
    const root = makeCa({ pathLengthMax: 0 });
    const middle = makeCa({ issuer: root });
    const trusted = new Map([['home.test', [root.der]]]);
    expect(ruleOf(() => verifyX509Svid([makeLeaf(middle), middle.der], trusted, nowMs))).toBe(
      'path-length',
    );
  });

  it('refuses a leaf that another key signed in the name of the CA', () => {
    const forged = makeLeaf({ ...home, key: makeKey() });
    expect(ruleOf(() => verifyX509Svid([forged], bundles, nowMs))).toBe('chain');
  });

  it('refuses a leaf that signs another leaf', () => {
    const key = makeKey();
    const middle = makeLeaf(home, { key });
    const leaf = makeLeaf({ name: 'workload', key, der: middle });
    expect(ruleOf(() => verifyX509Svid([leaf, middle], bundles, nowMs))).toBe('ca-flag');
  });

  it('refuses chains that are empty, too long, or hold bytes that are no certificate', () => {
    const leaf = makeLeaf(home);
    expect(ruleOf(() => verifyX509Svid([], bundles, nowMs))).toBe('chain-length');
    const long = Array.from({ length: 11 }, () => leaf);
    expect(ruleOf(() => verifyX509Svid(long, bundles, nowMs))).toBe('chain-length');
    expect(ruleOf(() => verifyX509Svid([leaf, leaf.subarray(1)], bundles, nowMs))).toBe(
      'certificate',
    );
  });

  it('ends soon where many CAs of one name could have signed each other', () => {
    const name = 'the same';
    const crowd = Array.from({ length: 9 }, () => makeCa({ name }));
    const leaf = makeLeaf({ ...home, name });
    const chain = [leaf, ...crowd.map(({ der }) => der)];
    const trusted = new Map([['home.test', crowd.map(({ der }) => der)]]);
    expect(ruleOf(() => verifyX509Svid(chain, trusted, nowMs))).toBe('chain');
  });
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl) process.stderr.write('skipped: there is no openssl to verify certificates with\n');

it.skipIf(!hasOpenssl)('issues certificates that OpenSSL verifies too', () => {
  const middle = makeCa({ issuer: home, key: makeKey('RSA') });
  const folder = mkdtempSync(join(tmpdir(), 'vwire-spiffe-'));
  try {
    const write = (name: string, der: Uint8Array): string => {
      writeFileSync(join(folder, name), toPem('CERTIFICATE', der));
      return join(folder, name);
    };
    const files = ['-CAfile', write('ca', home.der), '-untrusted', write('middle', middle.der)];
    const when = ['-attime', String(nowMs / 1000), '-x509_strict', '-purpose', 'sslserver'];
    const leaf = write('leaf', makeLeaf(middle));
    const text = execFileSync('openssl', ['verify', ...when, ...files, leaf], { encoding: 'utf8' });
    expect(text).toContain('OK');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

function uriConstraint(host: string, kind: 'permitted' | 'excluded' = 'permitted') {
  const subtree = derSequence(derText(0x86, host));
  const value = derSequence(derValue(kind === 'permitted' ? 0xa0 : 0xa1, subtree));
  return { id: '2.5.29.30', isCritical: true, value };
}

function dnsConstraint() {
  const value = derSequence(derValue(0xa0, derValue(derTag.sequence, derText(0x82, 'a.test'))));
  return { id: '2.5.29.30', isCritical: true, value };
}
