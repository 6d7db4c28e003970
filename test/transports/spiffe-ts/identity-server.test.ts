// Protects the development Workload API server: identities by socket and by peer, rotation at half life without a gap,
// federation, JWT-SVIDs, and the refusals that the specification asks for.

import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Identity } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { parseBundleDocument } from '../../../protocols/spiffe/bundle-document.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import type {
  IdentityServer,
  IdentityServerOptions,
} from '../../../transports/spiffe-ts/spiffe.ts';
import {
  BundleStore,
  createIdentityServer,
  createIdentitySource,
  createWorkloadApiClient,
  verifyJwtSvid,
  verifyX509Svid,
  watchX509Bundles,
} from '../../../transports/spiffe-ts/spiffe.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { ManualClock } from '../../sandbox/manual-clock.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const budget = { timeoutMs: 60_000 };
const a = 'spiffe://home.test/a';
let folder: string;
let clock: ManualClock;
let warnings: string[];
const opened: { close(): unknown }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'vwire-spiffe-'));
  clock = createManualClock();
  warnings = [];
});

afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
  expect(clock.pendingTimers).toBe(0);
  expect(readdirSync(folder).filter((name) => name.endsWith('.sock'))).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});

const socket = (name: string): string => `unix://${join(folder, name)}.sock`;

function serverOf(trustDomain: string, more: Partial<IdentityServerOptions> = {}): IdentityServer {
  const server = createIdentityServer({
    trustDomain,
    clock,
    wallClock: clock,
    log: { ...silentLog, warn: (message) => warnings.push(message) },
    svidLifetimeMs: 20_000,
    ...more,
  });
  opened.push(server);
  return server;
}

function sourceOf(endpoint: string): Identity {
  const source = createIdentitySource({
    endpoint,
    clock,
    wallClock: clock,
    random: systemRandom,
    log: silentLog,
  });
  opened.push(source);
  return source;
}

const reaches = (source: Identity, generation: number): Promise<void> =>
  eventually(`generation ${generation}`, 10_000, () => {
    if ((source.current()?.generation ?? 0) < generation) throw new Error('not yet');
  });

it('says loudly that it is for development', () => {
  serverOf('home.test');
  expect(warnings.join()).toContain('DEVELOPMENT ONLY');
});

it('issues at half life anew, and no moment is without a valid identity', async () => {
  const server = serverOf('home.test');
  const source = sourceOf((await server.serve(socket('a'), [a])).url);
  const other = sourceOf((await server.serve(socket('b'), ['spiffe://home.test/b'])).url);
  await Promise.all([source.ready(budget), other.ready(budget)]);
  for (let round = 1; round <= 12; round += 1) {
    await reaches(source, round);
    await reaches(other, round);
    for (const [one, peer] of [
      [source, other],
      [other, source],
    ] as const) {
      const svid = peer.current()?.svid;
      expect(one.verifyPeer(svid?.chain ?? []).spiffeId).toBe(svid?.spiffeId);
      expect(svid?.notAfterMs).toBeGreaterThan(clock.epochMs() + 9_000);
    }
    await clock.advance(10_000);
  }
});

it('renews its CA at half life: the new one is published before it signs', async () => {
  const server = serverOf('home.test', { caLifetimeMs: 80_000 });
  const source = sourceOf((await server.serve(socket('a'), [a])).url);
  const other = sourceOf((await server.serve(socket('b'), ['spiffe://home.test/b'])).url);
  await Promise.all([source.ready(budget), other.ready(budget)]);
  const authorities = new Set<string>();
  for (let second = 0; second < 200; second += 5) {
    // The peer's newest SVID is verified with bundles that were pushed before it was issued.
    const before = source.current()?.bundles ?? new Map<string, readonly Uint8Array[]>();
    const generation = other.current()?.generation ?? 0;
    server.rotateSvids();
    await reaches(other, generation + 1);
    const chain = other.current()?.svid.chain ?? [];
    expect(verifyX509Svid(chain, before, clock.epochMs()).trustDomain).toBe('home.test');
    for (const der of before.get('home.test') ?? [])
      authorities.add(Buffer.from(der).toString('hex'));
    const seen = source.current()?.generation ?? 0;
    await clock.advance(5_000);
    server.rotateSvids();
    await reaches(source, seen + 1);
  }
  expect(authorities.size).toBeGreaterThan(3);
  expect(server.save().generations.length).toBeLessThanOrEqual(3);
});

it('federates with another server, and stops to', async () => {
  const home = serverOf('home.test');
  const away = serverOf('away.test', { caKey: 'ec-p384' });
  const source = sourceOf((await home.serve(socket('a'), [a])).url);
  const guest = sourceOf((await away.serve(socket('b'), ['spiffe://away.test/b'])).url);
  const [, peer] = await Promise.all([source.ready(budget), guest.ready(budget)]);
  expect(() => source.verifyPeer(peer.svid.chain)).toThrow(
    expect.objectContaining({ details: expect.objectContaining({ rule: 'trust-bundle' }) }),
  );
  const stop = away.watchBundle((document) => home.federate('away.test', document));
  expect(home.federate('spiffe://away.test', away.bundle())).toBe(true);
  expect(home.federate('away.test', away.bundle())).toBe(false);
  await reaches(source, 2);
  expect(source.verifyPeer(peer.svid.chain).spiffeId).toBe('spiffe://away.test/b');
  // A rotation of the other CA is heard of.
  away.rotateAuthority();
  await reaches(source, 3);
  expect(source.current()?.bundles.get('away.test')).toHaveLength(2);
  // JWT-SVIDs cross as well.
  const { token } = await guest.fetchJwtSvid({ audience: [a] }, budget);
  const claims = await source.validateJwtSvid(token, a, budget);
  expect(claims.spiffeId.text).toBe('spiffe://away.test/b');
  stop();
  home.federate('away.test', undefined);
  await reaches(source, 4);
  expect(() => source.verifyPeer(peer.svid.chain)).toThrow();
  expect(() => home.federate('home.test', away.bundle())).toThrow();
});

it('tells workloads apart by the unix peer, and gives strangers nothing', async () => {
  const server = serverOf('home.test');
  const peers: unknown[] = [];
  const { url } = await server.servePeers(socket('all'), (peer) => {
    peers.push(peer);
    return peers.length === 1 ? [`spiffe://home.test/uid/${peer.uid}`] : [];
  });
  const source = sourceOf(url);
  const snapshot = await source.ready(budget);
  expect(snapshot.svid.spiffeId).toBe(`spiffe://home.test/uid/${process.getuid?.()}`);
  expect(peers[0]).toEqual({
    pid: process.pid,
    uid: process.getuid?.(),
    gid: process.getgid?.(),
  });
  const client = createWorkloadApiClient(url);
  opened.push(client);
  await expect(client.fetchJwtSvids({ audience: ['x'] }, budget)).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
  });
  expect(() => server.servePeers('tcp://127.0.0.1:0', () => [])).toThrow();
});

it('issues and validates JWT-SVIDs for each of the workload’s identities', async () => {
  const server = serverOf('home.test', { jwtLifetimeMs: 60_000 });
  const b = 'spiffe://home.test/b';
  const { url } = await server.serve(socket('a'), [a, b]);
  const source = sourceOf(url);
  const first = await source.fetchJwtSvid({ audience: ['x', 'y'] }, budget);
  expect(first).toMatchObject({ spiffeId: a, expiresAtMs: clock.epochMs() + 60_000 });
  const second = await source.fetchJwtSvid({ audience: ['x'], spiffeId: b }, budget);
  expect((await source.validateJwtSvid(second.token, 'x', budget)).spiffeId.text).toBe(b);
  const client = createWorkloadApiClient(url);
  opened.push(client);
  const answer = await client.validateJwtSvid({ audience: 'y', svid: first.token }, budget);
  expect(answer).toMatchObject({ spiffeId: a, claims: { sub: a, aud: ['x', 'y'] } });
  const store = new BundleStore();
  store.set('home.test', server.bundle());
  expect(verifyJwtSvid(first.token, 'x', store.jwt(), clock.epochMs()).spiffeId.text).toBe(a);
  const refusals: readonly (readonly [() => Promise<unknown>, string])[] = [
    [
      () => client.validateJwtSvid({ audience: 'z', svid: first.token }, budget),
      'INVALID_ARGUMENT',
    ],
    [() => source.fetchJwtSvid({ audience: [] }, budget), 'INVALID_ARGUMENT'],
    [() => client.fetchJwtSvids({ audience: [] }, budget), 'INVALID_ARGUMENT'],
    [
      () => source.fetchJwtSvid({ audience: ['x'], spiffeId: `${a}2` }, budget),
      'PERMISSION_DENIED',
    ],
    [() => source.validateJwtSvid(first.token, 'z', budget), 'UNAUTHENTICATED'],
  ];
  for (const [call, code] of refusals) await expect(call()).rejects.toMatchObject({ code });
  await clock.advance(60_000);
  await expect(source.validateJwtSvid(first.token, 'x', budget)).rejects.toMatchObject({
    details: { rule: 'jwt-exp' },
  });
});

it('serves bundles alone to those who only verify', async () => {
  const server = serverOf('home.test');
  const { url } = await server.serve('tcp://127.0.0.1:0', [a]);
  expect(url).toMatch(/^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/);
  const ports = { clock, random: systemRandom, log: silentLog };
  const watch = watchX509Bundles({ endpoint: url, ...ports });
  opened.push(watch);
  expect((await watch.ready(budget)).get('home.test')).toHaveLength(1);
});

it('refuses calls without the security header', async () => {
  const server = serverOf('home.test');
  const { url } = await server.serve(socket('a'), [a]);
  const client = new Client(url.replace('unix://', 'unix:'), credentials.createInsecure());
  opened.push(client);
  const bytes = (value: Uint8Array): Buffer => Buffer.from(value);
  for (const value of [undefined, 'True', 'false']) {
    const metadata = new Metadata();
    if (value !== undefined) metadata.set('workload.spiffe.io', value);
    for (const method of ['FetchX509SVID', 'FetchX509Bundles', 'FetchJWTBundles']) {
      const path = `/SpiffeWorkloadAPI/${method}`;
      const call = client.makeServerStreamRequest(path, bytes, bytes, new Uint8Array(), metadata);
      const code = new Promise((resolve) => call.once('error', (error) => resolve(error)));
      call.resume();
      expect(await code).toMatchObject({ code: 3 });
    }
  }
});

describe('a server', () => {
  it('keeps its CA across restarts where it is told to save it', async () => {
    const first = serverOf('home.test');
    const source = sourceOf((await first.serve(socket('a'), [a])).url);
    const { svid } = await source.ready(budget);
    const saved = JSON.parse(JSON.stringify(first.save())) as ReturnType<typeof first.save>;
    const second = serverOf('home.test', { saved });
    const roots = parseBundleDocument(second.bundle()).x509Authorities;
    const peer = verifyX509Svid(svid.chain, new Map([['home.test', roots]]), clock.epochMs());
    expect(peer.spiffeId).toBe(a);
    expect(() => serverOf('away.test', { saved })).toThrow();
    // What comes later in the file is not reached by the broken ones.
    expect(opened).toHaveLength(3);
  });

  it('lets nobody but the owner to a socket, unless it is told', async () => {
    const server = serverOf('home.test');
    await server.serve(socket('a'), [a]);
    await server.servePeers(socket('b'), () => [a]);
    expect(statSync(join(folder, 'a.sock')).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'b.sock')).mode & 0o777).toBe(0o666);
  });

  it('never takes over a socket that is served, ids of other domains, or other machines', async () => {
    const server = serverOf('home.test');
    await server.serve(socket('a'), [a]);
    const rest: readonly (() => unknown)[] = [
      () => server.serve(socket('a'), [a]),
      () => server.serve(socket('b'), ['spiffe://away.test/a']),
      () => server.serve('tcp://0.0.0.0:0', [a]),
      () => server.serve('unix:relative.sock', [a]),
      () => serverOf('Home.test'),
      () => serverOf('home.test', { svidLifetimeMs: 1_000 }),
      () => serverOf('home.test', { svidLifetimeMs: 10_000, caLifetimeMs: 30_000 }),
    ];
    for (const run of rest) await expect((async () => run())()).rejects.toThrow();
  });

  it('ends connections that never speak when it closes', async () => {
    const server = serverOf('home.test');
    await server.serve(socket('a'), [a]);
    const silent = connect(join(folder, 'a.sock'));
    await new Promise((resolve) => silent.once('connect', resolve));
    const closed = new Promise((resolve) => silent.once('close', resolve));
    silent.on('error', () => {}).resume();
    await server.close();
    await closed;
  });
});
