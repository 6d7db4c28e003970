// Protects mTLS with issued SVIDs between two processes: the right peers talk to each other, by TCP and gRPC, across
// rotations, and every wrong one is refused by the server or by the client, with the rule that it broke.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client, credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asNsmError } from '../../../protocols/errors.ts';
import type { Identity } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import type { TlsMaterial } from '../../../transports/spiffe-ts/spiffe.ts';
import {
  createIdentityServer,
  createIdentitySource,
  presentedChain,
  tlsMaterial,
} from '../../../transports/spiffe-ts/spiffe.ts';
import { toPem } from '../../../protocols/spiffe/tls-material.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { TestCa } from './pki.ts';
import { keyOf, makeCa, makeKey, makeLeaf } from './pki.ts';

const ports = { clock: systemClock, wallClock: systemWallClock };
const folder = mkdtempSync(join(tmpdir(), 'vwire-spiffe-'));
const socket = (name: string): string => `unix://${join(folder, name)}.sock`;
const home = createIdentityServer({ ...ports, trustDomain: 'home.test', log: silentLog });
const away = createIdentityServer({
  ...ports,
  trustDomain: 'away.test',
  log: silentLog,
  caKey: 'rsa-2048',
});
const lines: string[] = [];
let child: ChildProcessWithoutNullStreams;
let port = '';
let own: Identity;
let guest: Identity;

const source = (endpoint: string): Identity =>
  createIdentitySource({ ...ports, endpoint, random: systemRandom, log: silentLog });

beforeAll(async () => {
  home.federate('away.test', away.bundle());
  away.federate('home.test', home.bundle());
  await home.serve(socket('server'), ['spiffe://home.test/server']);
  own = source((await home.serve(socket('a'), ['spiffe://home.test/a'])).url);
  guest = source((await away.serve(socket('b'), ['spiffe://away.test/b'])).url);
  child = spawn(
    process.execPath,
    ['--import', 'tsx', join(import.meta.dirname, 'mtls-child.ts'), socket('server')],
    { stdio: 'pipe' },
  );
  child.stderr.on('data', (text: Buffer) => lines.push(String(text)));
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  port = (await said(/^listening (\d+)$/))[1] ?? '';
  await Promise.all([own.ready({ timeoutMs: 10_000 }), guest.ready({ timeoutMs: 10_000 })]);
});

afterAll(async () => {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.stdin.end();
  await gone;
  await Promise.all([own.close(), guest.close(), home.close(), away.close()]);
  rmSync(folder, { recursive: true, force: true });
});

/** The first line from `from` on that matches. */
const said = (pattern: RegExp, from = 0): Promise<RegExpExecArray> =>
  eventually(`a line ${pattern}`, 15_000, () => {
    const found = lines.slice(from).map((line) => pattern.exec(line));
    const match = found.find((one) => one !== null);
    if (match === undefined || match === null) throw new Error(lines.join('\n'));
    return match;
  });

interface Caller {
  readonly material: TlsMaterial;
  readonly verifier: Identity;
  readonly expected?: string;
}

/** Who the server took us for. */
async function ask({ material, verifier, expected }: Caller): Promise<string> {
  let refusal: Error | undefined;
  const channel = credentials.createSsl(
    Buffer.from(material.ca.join('')),
    Buffer.from(material.key),
    Buffer.from(material.cert),
    {
      checkServerIdentity: (_host, peer) => {
        try {
          const { spiffeId } = verifier.verifyPeer(presentedChain(peer));
          if (expected !== undefined && spiffeId !== expected) throw new Error(spiffeId);
          return undefined;
        } catch (error) {
          refusal = error as Error;
          return refusal;
        }
      },
    },
  );
  const client = new Client(`127.0.0.1:${port}`, channel, {
    'grpc.ssl_target_name_override': 'localhost',
    'grpc.use_local_subchannel_pool': 1,
  });
  const pass = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        '/test.Whoami/Ask',
        pass,
        pass,
        new Uint8Array(),
        { deadline: Date.now() + 8_000 },
        (error, answer) => {
          if (answer !== undefined) resolve(answer.toString());
          else reject(refusal ?? error ?? new Error('nothing'));
        },
      );
    });
  } finally {
    client.close();
  }
}

const of = (identity: Identity): Caller => {
  const snapshot = identity.current();
  if (snapshot === undefined) throw new Error('no identity');
  return { material: tlsMaterial(snapshot), verifier: identity };
};

describe('a client', () => {
  it('of the same trust domain is known by its SPIFFE ID', async () => {
    const expected = 'spiffe://home.test/server';
    expect(await ask({ ...of(own), expected })).toBe('spiffe://home.test/a');
  });

  it('of a federated trust domain is known by its SPIFFE ID', async () => {
    expect(await ask(of(guest))).toBe('spiffe://away.test/b');
  });

  it('keeps talking while identities and CAs rotate on both sides', async () => {
    for (let round = 0; round < 3; round += 1) {
      const from = lines.length;
      const generation = own.current()?.generation ?? 0;
      if (round === 1) home.rotateAuthority();
      else home.rotateSvids();
      const during = ask(of(own));
      await eventually('a new snapshot', 10_000, () => {
        if ((own.current()?.generation ?? 0) <= generation) throw new Error('not yet');
      });
      await said(/^rotated/, from);
      expect(await during).toBe('spiffe://home.test/a');
      expect(await ask(of(own))).toBe('spiffe://home.test/a');
    }
  });

  it('refuses a server that is another than expected, or that it has no bundle for', async () => {
    await expect(ask({ ...of(own), expected: 'spiffe://home.test/x' })).rejects.toThrow('/server');
    const alone = createIdentityServer({ ...ports, trustDomain: 'alone.test', log: silentLog });
    const lonely = source((await alone.serve(socket('c'), ['spiffe://alone.test/c'])).url);
    try {
      await lonely.ready({ timeoutMs: 10_000 });
      const ca = of(own).material.ca;
      const caller = { ...of(lonely), material: { ...of(lonely).material, ca } };
      const refusal = ask(caller).catch((error: unknown) => asNsmError(error).details.rule);
      expect(await refusal).toBe('trust-bundle');
    } finally {
      await lonely.close();
      await alone.close();
    }
  });
});

describe('the server refuses', () => {
  const now = Date.now();
  const hourMs = 3_600_000;
  /** The CA of one of the two servers, with its key. */
  const caOf = (server: typeof home): TestCa => {
    const [generation] = server.save().generations.slice(-1);
    if (generation === undefined) throw new Error('no CA');
    const der = new Uint8Array(Buffer.from(generation.certificate, 'base64'));
    return { name: `${server.trustDomain} ${generation.keyId}`, key: keyOf(generation.caKey), der };
  };
  const times = { notBeforeMs: now - hourMs, notAfterMs: now + hourMs };
  const materialOf = (ca: TestCa, options: Parameters<typeof makeLeaf>[1]): TlsMaterial => {
    const key = makeKey();
    const leaf = makeLeaf(ca, { ...times, key, ...options });
    return {
      cert: toPem('CERTIFICATE', leaf),
      key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ca: of(own).material.ca,
    };
  };
  const id = 'spiffe://home.test/a';

  it('nobody whose chain goes through an intermediate', async () => {
    const middle = makeCa({ ...times, issuer: caOf(away), key: makeKey('P-384') });
    const { cert, key, ca } = materialOf(middle, { uris: ['spiffe://away.test/c'] });
    const material = { cert: cert + toPem('CERTIFICATE', middle.der), key, ca };
    expect(await ask({ material, verifier: own })).toBe('spiffe://away.test/c');
  });

  const rows: readonly (readonly [string, () => TlsMaterial, RegExp])[] = [
    [
      'a foreign trust domain',
      () => materialOf(makeCa(times), { uris: ['spiffe://x.test/a'] }),
      /^refused tls/,
    ],
    [
      'a foreign CA that signs our ids',
      () => materialOf(makeCa(times), { uris: [id] }),
      /^refused tls/,
    ],
    [
      'a federated CA that signs our ids',
      () => materialOf(caOf(away), { uris: [id] }),
      /^refused chain$/,
    ],
    [
      'our CA under the name of a federated domain',
      () => materialOf(caOf(home), { uris: ['spiffe://away.test/a'] }),
      /^refused chain$/,
    ],
    [
      'a wrong name',
      () => materialOf(caOf(home), { uris: ['https://home.test/a'] }),
      /^refused spiffe-id-scheme$/,
    ],
    [
      'DNS names only',
      () => materialOf(caOf(home), { uris: [], dnsNames: ['localhost'] }),
      /^refused svid-uri$/,
    ],
    ['two ids', () => materialOf(caOf(home), { uris: [id, `${id}2`] }), /^refused svid-uri$/],
    [
      'an expired SVID',
      () => materialOf(caOf(home), { uris: [id], notAfterMs: now - 1_000 }),
      /^refused tls/,
    ],
    [
      'a CA certificate as leaf',
      () => materialOf(caOf(home), { uris: [id], isCa: true, usage: [0, 5] }),
      /^refused (svid-leaf|tls)/,
    ],
  ];
  it.each(rows)('%s', async (_, material, line) => {
    const from = lines.length;
    await expect(ask({ material: material(), verifier: own })).rejects.toThrow();
    await said(line, from);
    expect(await ask(of(own))).toBe('spiffe://home.test/a');
  });
});
