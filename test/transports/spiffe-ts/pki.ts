// Certificates for tests, good ones and those that no honest authority issues: every field can be turned.

import type { KeyObject } from 'node:crypto';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { keyPurpose, keyUsageBit } from '../../../protocols/spiffe/certificate.ts';
import type { CertificateExtension } from '../../../transports/spiffe-ts/development/issue-certificate.ts';
import {
  alternativeNames,
  basicConstraints,
  extendedKeyUsage,
  issueCertificate,
  keyUsage,
} from '../../../transports/spiffe-ts/development/issue-certificate.ts';

export type KeyName = 'P-256' | 'P-384' | 'P-521' | 'RSA' | 'RSA-1024' | 'secp256k1';

const keys = new Map<string, KeyObject>();

/** RSA keys take long to make, so one of each kind serves a whole file. */
export function makeKey(name: KeyName = 'P-256'): KeyObject {
  if (name === 'RSA' || name === 'RSA-1024') {
    const known = keys.get(name);
    const modulusLength = name === 'RSA' ? 2048 : 1024;
    const key = known ?? generateKeyPairSync('rsa', { modulusLength }).privateKey;
    keys.set(name, key);
    return key;
  }
  return generateKeyPairSync('ec', { namedCurve: name }).privateKey;
}

export interface TestCa {
  readonly name: string;
  readonly key: KeyObject;
  readonly der: Uint8Array;
}

export const nowMs = Date.UTC(2026, 5, 1);
const dayMs = 86_400_000;

export interface CaOptions {
  readonly name?: string;
  readonly key?: KeyObject;
  readonly issuer?: TestCa;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  readonly isCa?: boolean;
  readonly usage?: readonly number[];
  readonly pathLengthMax?: number;
  readonly extra?: readonly CertificateExtension[];
}

let count = 0;

export function makeCa(options: CaOptions = {}): TestCa {
  count += 1;
  const { name = `ca ${count}`, key = makeKey(), issuer, isCa = true } = options;
  const der = issueCertificate({
    subject: name,
    issuer: issuer?.name ?? name,
    issuerKey: issuer?.key ?? key,
    subjectKey: key,
    notBeforeMs: options.notBeforeMs ?? nowMs - dayMs,
    notAfterMs: options.notAfterMs ?? nowMs + dayMs,
    extensions: [
      basicConstraints(isCa, options.pathLengthMax),
      keyUsage(options.usage ?? [keyUsageBit.keyCertSign, keyUsageBit.cRLSign]),
      ...(options.extra ?? []),
    ],
  });
  return { name, key, der };
}

export interface LeafOptions {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly key?: KeyObject;
  readonly isCa?: boolean;
  readonly usage?: readonly number[] | undefined;
  readonly isUsageCritical?: boolean;
  readonly purposes?: readonly string[] | undefined;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  readonly extra?: readonly CertificateExtension[];
}

export const leafId = 'spiffe://home.test/ns/default/pod/a';

export function makeLeaf(issuer: TestCa, options: LeafOptions = {}): Uint8Array {
  const usage = 'usage' in options ? options.usage : [keyUsageBit.digitalSignature];
  const purposes =
    'purposes' in options ? options.purposes : [keyPurpose.serverAuth, keyPurpose.clientAuth];
  const { uris = [leafId], dnsNames = [] } = options;
  return issueCertificate({
    subject: 'workload',
    issuer: issuer.name,
    issuerKey: issuer.key,
    subjectKey: options.key ?? makeKey(),
    notBeforeMs: options.notBeforeMs ?? nowMs - 60_000,
    notAfterMs: options.notAfterMs ?? nowMs + 3_600_000,
    extensions: [
      basicConstraints(options.isCa ?? false),
      ...(usage === undefined ? [] : [keyUsage(usage, options.isUsageCritical ?? true)]),
      ...(purposes === undefined ? [] : [extendedKeyUsage(purposes)]),
      ...(uris.length + dnsNames.length === 0 ? [] : [alternativeNames(uris, dnsNames)]),
      ...(options.extra ?? []),
    ],
  });
}

export const keyOf = (pem: string): KeyObject => createPrivateKey(pem);
