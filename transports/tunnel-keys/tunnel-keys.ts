// What a forwarder proves itself by in its tunnels: WireGuard key pairs, derived by name from one secret, and one RSA key
// for IKEv2 with a certificate for each tunnel, whose serial number is derived by name. Secret and key are made once and kept in a journal of their own, so that a restart, a refresh or
// a data plane that lost everything finds the same keys, and no record of a connection holds one.
// Invariants: nothing is given out before it is kept; private keys go to the data plane alone, are never logged and are
// no enumerable properties of what is handed about.

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { promisify } from 'node:util';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import {
  type TunnelKeysRecord,
  TunnelKeysRecordSchema,
} from '../../protocols/nsm/gen/vwire_journal_pb.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { TunnelKeys, TunnelSecrets } from '../../protocols/ports/tunnel-keys.ts';
import { decodeBase64Url, encodeBase64 } from '../../protocols/spiffe/base64url.ts';
import { concatBytes } from '../../protocols/spiffe/der-writer.ts';
import { selfSignedCertificate } from './self-signed-certificate.ts';

export interface TunnelKeysOptions {
  /** Its alone; synced before a change is acknowledged. It stays whoever's it is. */
  readonly journal: Journal;
  /** Whether the data plane makes IPsec tunnels: an RSA key takes some hundred milliseconds to make. */
  readonly ipsec: boolean;
}

const recordKey = 'tunnel-keys';
const secretBytes = 32;
/** The reference's own (15.4). */
const rsaBits = 2048;

/** Errors: DATA_LOSS (what is kept cannot be read), FAILED_PRECONDITION (a later version wrote it), the journal's. */
export async function openTunnelKeys({
  journal,
  ipsec,
}: TunnelKeysOptions): Promise<TunnelKeys & TunnelSecrets> {
  const kept = (await journal.load()).get(recordKey);
  const record = kept === undefined ? create(TunnelKeysRecordSchema) : read(kept);
  const hasSecret = record.wireguardSecret.length === secretBytes;
  const hasRsa = record.ipsecPrivateKey.length > 0;
  if (!hasSecret) record.wireguardSecret = new Uint8Array(randomBytes(secretBytes));
  if (ipsec && !hasRsa) await addRsa(record);
  if (!hasSecret || (ipsec && !hasRsa)) {
    record.version = formats.tunnelKeysRecord;
    await journal.put(recordKey, toBinary(TunnelKeysRecordSchema, record));
  }
  return keysOf(record, ipsec);
}

async function addRsa(record: TunnelKeysRecord): Promise<void> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: rsaBits });
  record.ipsecPrivateKey = new Uint8Array(privateKey.export({ type: 'pkcs8', format: 'der' }));
}

function read(bytes: Uint8Array): TunnelKeysRecord {
  const record = decoded(bytes);
  const found = `version ${record.version}`;
  if (record.version > formats.tunnelKeysRecord) {
    throw unreadable('FAILED_PRECONDITION', found, 'start the later version of vwire again');
  }
  if (record.version > 0 && record.wireguardSecret.length === secretBytes) return record;
  throw unreadable('DATA_LOSS', `${found}, ${record.wireguardSecret.length} bytes of secret`);
}

function decoded(bytes: Uint8Array): TunnelKeysRecord {
  try {
    return fromBinary(TunnelKeysRecordSchema, bytes);
  } catch (error) {
    throw unreadable('DATA_LOSS', asNsmError(error).message);
  }
}

function unreadable(
  code: 'DATA_LOSS' | 'FAILED_PRECONDITION',
  found: string,
  remedy = 'remove that journal: every tunnel gets other keys at its next refresh',
): NsmError {
  return new NsmError(code, 'the keys of the tunnels cannot be read', {
    rule: 'journal of tunnel keys',
    expected: `a record of version ${formats.tunnelKeysRecord} or older`,
    found,
    remedy,
  });
}

function keysOf(record: TunnelKeysRecord, ipsec: boolean): TunnelKeys & TunnelSecrets {
  const wireguardPrivateKey = (name: string): Uint8Array => {
    const info = `vwire wireguard ${name}`;
    const derived = hkdfSync('sha256', record.wireguardSecret, new Uint8Array(), info, 32);
    return clamped(new Uint8Array(derived));
  };
  const keys = {
    wireguardPrivateKey,
    wireguardPublicKey(name: string): string {
      const { x = '' } = createPublicKey(x25519(wireguardPrivateKey(name))).export({
        format: 'jwk',
      });
      return encodeBase64(decodeBase64Url(x) ?? new Uint8Array());
    },
  };
  if (!ipsec) return keys;
  const rsaKey = createPrivateKey({
    key: Buffer.from(record.ipsecPrivateKey),
    format: 'der',
    type: 'pkcs8',
  });
  const ipsecCertificate = (name: string): string => {
    const serial = hkdfSync('sha256', record.wireguardSecret, '', `vwire ipsec ${name}`, 16);
    const certificate = selfSignedCertificate(rsaKey, 'vwire forwarder', new Uint8Array(serial));
    return encodeBase64(certificate);
  };
  // Not enumerable: whoever prints the whole prints no key.
  return Object.defineProperties(keys, {
    ipsecCertificate: { value: ipsecCertificate, enumerable: true },
    ipsecPrivateKey: { value: record.ipsecPrivateKey },
  });
}

/** As every tool of WireGuard writes a private key (RFC 7748 5, decodeScalar25519). */
function clamped(key: Uint8Array): Uint8Array {
  key[0] = (key[0] ?? 0) & 248;
  key[31] = ((key[31] ?? 0) & 127) | 64;
  return key;
}

/** PKCS#8 of RFC 8410 before the 32 bytes. */
const x25519Head = Uint8Array.from([
  0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20,
]);

function x25519(privateKey: Uint8Array): KeyObject {
  const key = Buffer.from(concatBytes([x25519Head, privateKey]));
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}
