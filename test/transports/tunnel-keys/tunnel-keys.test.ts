// Protects the keys of tunnels: the same in every life, another pair for every name, kept before they are given out, and
// nowhere to be read but where a data plane asks for them.

import { createPrivateKey, diffieHellman, createPublicKey, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { formats } from '../../../protocols/formats.ts';
import { TunnelKeysRecordSchema } from '../../../protocols/nsm/gen/vwire_journal_pb.ts';
import {
  ipsecIdentity,
  ipsecMechanism,
  readIpsec,
} from '../../../protocols/nsm/ipsec-mechanism.ts';
import { readWireguard, wireguardMechanism } from '../../../protocols/nsm/wireguard-mechanism.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { Journal } from '../../../protocols/ports/journal.ts';
import { openJournal } from '../../../transports/journal/journal.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { openTunnelKeys } from '../../../transports/tunnel-keys/tunnel-keys.ts';

const recordIn = async (journal: Journal) => (await journal.load()).get('tunnel-keys');

describe('WireGuard keys', () => {
  it('are pairs, one for each name, which a WireGuard mechanism takes', async () => {
    const keys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: false });
    const names = ['a client', 'a endpoint', 'b client'];
    const publicKeys = names.map((name) => keys.wireguardPublicKey(name));
    expect(new Set(publicKeys).size).toBe(3);
    for (const srcPublicKey of publicKeys) {
      expect(readWireguard(wireguardMechanism({ srcPublicKey }))).toMatchObject({ srcPublicKey });
    }
    expect(keys.ipsecCertificate).toBeUndefined();
  });

  it('of two forwarders agree on a secret by X25519, each with the private key that a data plane gets', async () => {
    const [near, far] = await Promise.all(
      [1, 2].map(() => openTunnelKeys({ journal: createMemoryJournal(), ipsec: false })),
    );
    if (near === undefined || far === undefined) expect.fail('no keys');
    const secret = (own: Uint8Array, peer: string) =>
      diffieHellman({
        privateKey: createPrivateKey({
          key: { kty: 'OKP', crv: 'X25519', d: Buffer.from(own).toString('base64url'), x: '' },
          format: 'jwk',
        }),
        publicKey: createPublicKey({
          key: { kty: 'OKP', crv: 'X25519', x: Buffer.from(peer, 'base64').toString('base64url') },
          format: 'jwk',
        }),
      }).toString('hex');
    const seen = [
      secret(near.wireguardPrivateKey('n'), far.wireguardPublicKey('f')),
      secret(far.wireguardPrivateKey('f'), near.wireguardPublicKey('n')),
    ];
    expect(seen[0]).toBe(seen[1]);
  });

  it('are derived as ever: another outcome would change the keys of every live tunnel', async () => {
    // Computed apart: HKDF (RFC 5869) and X25519 (RFC 7748).
    const journal = createMemoryJournal();
    const record = create(TunnelKeysRecordSchema, {
      version: 1,
      wireguardSecret: new Uint8Array(32).fill(7),
    });
    await journal.put('tunnel-keys', toBinary(TunnelKeysRecordSchema, record));
    const keys = await openTunnelKeys({ journal, ipsec: false });
    expect(Buffer.from(keys.wireguardPrivateKey('["a","client"]')).toString('hex')).toBe(
      'c03759ddd8cb40256b23b1462899a5c4e8cec49c12bd2b80633c74ce1831d375',
    );
    expect(keys.wireguardPublicKey('["a","client"]')).toBe(
      'JElsv7s8QJN9WQe7u1z9Vkukr1dw0ldMYP1qXgV7zHs=',
    );
  });
});

describe('the key for IKEv2', () => {
  it('is an RSA key of 2048 bits whose certificate signs itself and fits into a mechanism', async () => {
    const keys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: true });
    const srcPublicKey = keys.ipsecCertificate?.('a') ?? '';
    expect(readIpsec(ipsecMechanism({ srcPublicKey }))).toMatchObject({ srcPublicKey });
    const certificate = new X509Certificate(Buffer.from(srcPublicKey, 'base64'));
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048);
    const privateKey = createPrivateKey({
      key: Buffer.from(keys.ipsecPrivateKey ?? []),
      format: 'der',
      type: 'pkcs8',
    });
    expect(certificate.checkPrivateKey(privateKey)).toBe(true);
  });

  it('has a certificate for each tunnel, told apart by what IKEv2 takes for an identity', async () => {
    const keys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: true });
    const names = Array.from({ length: 20 }, (_, number) => `tunnel ${number}`);
    const certificates = names.map((name) => keys.ipsecCertificate?.(name) ?? '');
    expect(new Set(certificates.map(ipsecIdentity)).size).toBe(names.length);
    // The API of VPP says one character less than there is.
    expect(new Set(certificates.map((each) => ipsecIdentity(each).slice(0, -1))).size).toBe(20);
    const [first, second] = certificates.map(
      (each) => new X509Certificate(Buffer.from(each, 'base64')).publicKey,
    );
    expect(second?.equals(first ?? expect.fail('no certificate'))).toBe(true);
  });

  it('is made once somebody asks for it, beside the secret that was there', async () => {
    const journal = createMemoryJournal();
    const before = await openTunnelKeys({ journal, ipsec: false });
    const after = await openTunnelKeys({ journal, ipsec: true });
    expect(after.wireguardPublicKey('a')).toBe(before.wireguardPublicKey('a'));
    const again = await openTunnelKeys({ journal, ipsec: true });
    expect(again.ipsecCertificate?.('a')).toBe(after.ipsecCertificate?.('a'));
  });
});

describe('what is kept', () => {
  it('is there in the next life, from a file that its owner alone can read', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'vwire-tunnel-keys-'));
    const options = { directory, name: 'forwarder-keys', fsync: 'always' as const };
    try {
      const seen: string[] = [];
      for (let life = 1; life <= 2; life += 1) {
        const journal = await openJournal({ ...options, log: silentLog, clock: systemClock });
        const keys = await openTunnelKeys({ journal, ipsec: false });
        seen.push(keys.wireguardPublicKey('a'));
        await journal.close();
      }
      expect(seen[0]).toBe(seen[1]);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('is written before any key is given out: a journal that refuses gives none', async () => {
    const journal: Journal = {
      ...createMemoryJournal(),
      put: async () => Promise.reject(new Error('disk full')),
    };
    await expect(openTunnelKeys({ journal, ipsec: false })).rejects.toThrow('disk full');
  });

  it('is refused where a later version wrote it or it is damaged, and left as it is', async () => {
    const journal = createMemoryJournal();
    await openTunnelKeys({ journal, ipsec: false });
    const kept = fromBinary(TunnelKeysRecordSchema, (await recordIn(journal)) ?? new Uint8Array());
    const later = toBinary(TunnelKeysRecordSchema, {
      ...kept,
      version: formats.tunnelKeysRecord + 1,
    });
    for (const [bytes, code] of [
      [later, 'FAILED_PRECONDITION'],
      [
        toBinary(TunnelKeysRecordSchema, { ...kept, wireguardSecret: new Uint8Array(3) }),
        'DATA_LOSS',
      ],
      [Uint8Array.of(255, 255), 'DATA_LOSS'],
    ] as const) {
      await journal.put('tunnel-keys', bytes);
      await expect(openTunnelKeys({ journal, ipsec: false })).rejects.toMatchObject({
        code,
        details: { remedy: expect.any(String) },
      });
      expect(await recordIn(journal)).toEqual(bytes);
    }
  });

  it('is in nothing that prints the keys', async () => {
    const journal = createMemoryJournal();
    const keys = await openTunnelKeys({ journal, ipsec: true });
    const kept = fromBinary(TunnelKeysRecordSchema, (await recordIn(journal)) ?? new Uint8Array());
    const printed = `${inspect(keys, { depth: 5 })}${JSON.stringify(keys)}`;
    for (const secret of [kept.wireguardSecret, kept.ipsecPrivateKey]) {
      for (const form of ['base64', 'hex'] as const) {
        expect(printed).not.toContain(Buffer.from(secret).toString(form));
      }
    }
    expect(printed).not.toContain('ipsecPrivateKey');
  });
});
