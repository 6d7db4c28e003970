// Protects what WIREGUARD and IPSEC mechanisms say on the wire: keys and defaults of the reference, and that a bad value
// is one refusal that names it without repeating what may be a secret.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Mechanism } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  ipsecIdentity,
  ipsecMechanism,
  readIpsec,
} from '../../../protocols/nsm/ipsec-mechanism.ts';
import type { KeyedTunnel } from '../../../protocols/nsm/keyed-tunnel.ts';
import { withParameters } from '../../../protocols/nsm/mechanism.ts';
import { readWireguard, wireguardMechanism } from '../../../protocols/nsm/wireguard-mechanism.ts';
import { encodeBase64 } from '../../../protocols/spiffe/base64url.ts';
import { issueCertificate } from '../../../transports/spiffe-ts/development/issue-certificate.ts';
import { selfSignedCertificate } from '../../../transports/tunnel-keys/self-signed-certificate.ts';

/** What the key is does not matter here, so a short one is quick to make. */
const certificate = (): string => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
  return encodeBase64(selfSignedCertificate(privateKey, 'test', randomBytes(16)));
};
const [certificateA, certificateB] = [certificate(), certificate()];

function ellipticCertificate(): string {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return encodeBase64(
    issueCertificate({
      subject: 'a',
      issuer: 'a',
      issuerKey: key,
      subjectKey: key,
      notBeforeMs: 0,
      notAfterMs: 1_000,
      extensions: [],
    }),
  );
}

const wireguardKey = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .filter((bytes) => bytes.some((byte) => byte !== 0))
  .map(encodeBase64);
const port = fc.integer({ min: 1, max: 65_535 });

const tunnel = (key: fc.Arbitrary<string>): fc.Arbitrary<KeyedTunnel> =>
  fc
    .record({
      srcIp: fc.ipV4(),
      dstIp: fc.ipV4(),
      srcPort: port,
      dstPort: port,
      srcPublicKey: key,
      dstPublicKey: key,
      mtu: fc.nat(),
    })
    .filter(({ srcPublicKey, dstPublicKey }) => srcPublicKey !== dstPublicKey);

const kinds: readonly {
  readonly type: string;
  readonly port: number;
  readonly keys: readonly [string, string];
  readonly any: fc.Arbitrary<KeyedTunnel>;
  readonly make: (known: Partial<KeyedTunnel>) => Mechanism;
  readonly read: (mechanism: Mechanism) => KeyedTunnel;
}[] = [
  {
    type: 'WIREGUARD',
    port: 51_820,
    keys: [encodeBase64(new Uint8Array(32).fill(1)), encodeBase64(new Uint8Array(32).fill(2))],
    any: tunnel(wireguardKey),
    make: wireguardMechanism,
    read: readWireguard,
  },
  {
    type: 'IPSEC',
    port: 4500,
    keys: [certificateA, certificateB],
    any: tunnel(fc.constantFrom(certificateA, certificateB)),
    make: ipsecMechanism,
    read: readIpsec,
  },
];

describe.each(kinds)('$type', ({ type, port: defaultPort, keys, any, make, read }) => {
  const whole = {
    srcIp: '10.0.0.1',
    dstIp: '10.0.0.2',
    srcPort: 1,
    dstPort: 2,
    srcPublicKey: keys[0],
    dstPublicKey: keys[1],
    mtu: 1400,
  };

  it('has the class, the type and the keys of the reference', () => {
    expect(make(whole)).toMatchObject({ cls: 'REMOTE', type });
    expect(make(whole).parameters).toEqual({
      src_ip: '10.0.0.1',
      dst_ip: '10.0.0.2',
      src_port: '1',
      dst_port: '2',
      src_public_key: keys[0],
      dst_public_key: keys[1],
      MTU: '1400',
    });
  });

  it('is read as it was made', () => {
    fc.assert(
      fc.property(any, (known) => {
        expect(read(make(known))).toEqual(known);
      }),
    );
  });

  it('takes what is absent, empty or no number for not known yet, and its port for granted', () => {
    const nothing = {
      srcIp: '',
      dstIp: '',
      srcPort: defaultPort,
      dstPort: defaultPort,
      srcPublicKey: '',
      dstPublicKey: '',
      mtu: 0,
    };
    expect(read(make({}))).toEqual(nothing);
    const empty = { src_ip: '', dst_port: '0', src_port: 'x', dst_public_key: '', MTU: '-1' };
    expect(read(withParameters(make({}), empty))).toEqual(nothing);
  });

  it.each([
    ['src_ip', { src_ip: '10.0.0' }, '10.0.0'],
    ['dst_ip', { dst_ip: 'fe80::1%eth0' }, 'fe80::1%eth0'],
    ['dst_ip', { dst_ip: '2001:db8::1' }, '10.0.0.1 and 2001:db8::1'],
    ['src_public_key', { src_public_key: 'no base64!' }, '10 characters'],
    ['src_public_key', { src_public_key: 'AAAA' }, '3 bytes'],
    ['dst_public_key', { dst_public_key: keys[0] }, 'the same'],
  ])('refuses a bad %s, naming it: %j', (key, change, found) => {
    expect(() => read(withParameters(make(whole), change))).toThrow(
      expect.objectContaining({
        code: 'INVALID_ARGUMENT',
        message: expect.stringContaining(type),
        details: expect.objectContaining({
          rule: `mechanism.parameters.${key}`,
          expected: expect.any(String),
          found: expect.stringContaining(found),
        }),
      }),
    );
  });

  it('repeats no text that stands where a key belongs: it may be a secret', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 12 }), (text) => {
        try {
          read(withParameters(make({}), { src_public_key: text }));
        } catch (error) {
          expect(JSON.stringify(error)).not.toContain(text);
        }
      }),
    );
  });
});

it('a WireGuard key of zeros is none', () => {
  const srcPublicKey = encodeBase64(new Uint8Array(32));
  expect(() => readWireguard(wireguardMechanism({ srcPublicKey }))).toThrow(/parameter/);
});

describe('a certificate for IKEv2', () => {
  it('has an RSA key, and is one whole DER value', () => {
    const read = (srcPublicKey: string) => () => readIpsec(ipsecMechanism({ srcPublicKey }));
    expect(read(ellipticCertificate())).toThrow(
      expect.objectContaining({
        details: expect.objectContaining({ found: expect.stringContaining('1.2.840.10045.2.1') }),
      }),
    );
    const bytes = Buffer.from(certificateA, 'base64');
    expect(read(bytes.subarray(0, -1).toString('base64'))).toThrow(/parameter/);
    expect(read(Buffer.concat([bytes, Buffer.of(5, 0)]).toString('base64'))).toThrow(/parameter/);
  });

  it('makes an identity of 64 characters that no other certificate has', () => {
    expect(ipsecIdentity(certificateA)).toBe(certificateA.slice(0, 64));
    expect(ipsecIdentity(certificateA)).not.toBe(ipsecIdentity(certificateB));
  });
});
