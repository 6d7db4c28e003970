// Protects a workload's hold on its identity: which answers of the Workload API replace it, which do not, what a
// broken stream does, and which refusals end the watch.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { create, toBinary } from '@bufbuild/protobuf';
import { NsmError } from '../../../protocols/errors.ts';
import { JWTBundlesResponseSchema } from '../../../protocols/nsm/gen/workload_pb.ts';
import type { Identity } from '../../../protocols/ports/identity.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { concatBytes } from '../../../protocols/spiffe/der-writer.ts';
import { createIdentitySource } from '../../../transports/spiffe-ts/identity-source.ts';
import { backoff, firstMessageMs } from '../../../transports/spiffe-ts/watch.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { ManualClock } from '../../sandbox/manual-clock.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';
import { leafId, makeCa, makeKey, nowMs } from './pki.ts';
import type { ScriptedApi } from './scripted-workload-api.ts';
import { endWith, scriptedWorkloadApi } from './scripted-workload-api.ts';
import type { Entry } from './x509-response.ts';
import { away, entryOf, home, pkcs8, responseOf } from './x509-response.ts';

let api: ScriptedApi;
let clock: ManualClock;
let identity: Identity;
let errors: unknown[];

beforeEach(async () => {
  api = await scriptedWorkloadApi();
  clock = createManualClock(nowMs);
  errors = [];
  identity = createIdentitySource({
    endpoint: api.endpoint,
    clock,
    wallClock: clock,
    random: systemRandom,
    log: { ...silentLog, error: (message, fields) => errors.push([message, fields]) },
    withdrawAfterMs: 10_000,
  });
});

afterEach(async () => {
  await identity.close();
  expect(clock.pendingTimers).toBe(0);
  api.close();
});

const budget = { timeoutMs: 60_000 };

const until = (what: string, look: () => boolean): Promise<void> =>
  eventually(what, 10_000, () => {
    if (!look()) throw new Error('not yet');
  });

const streams = (count: number): Promise<void> =>
  until(`${count} streams`, () => api.opened.length >= count);

describe('what the Workload API sends', () => {
  it('becomes a snapshot with the chain, the key, all identities and all bundles', async () => {
    const middle = makeCa({ issuer: home, key: makeKey('RSA') });
    const first = entryOf({ ca: middle, others: [middle.der] });
    const second = { ...entryOf({ uris: ['spiffe://home.test/b'] }), hint: 'internal' };
    api.onStream = (stream) => {
      expect(stream.metadata.get('workload.spiffe.io')).toEqual(['true']);
      stream.write(responseOf([first, second, { ...second, spiffeId: second.spiffeId }]));
    };
    const snapshot = await identity.ready(budget);
    expect(snapshot.generation).toBe(1);
    expect(snapshot.svid.spiffeId).toBe(leafId);
    expect(snapshot.svid.chain).toHaveLength(2);
    expect(Buffer.from(snapshot.svid.privateKey)).toEqual(Buffer.from(first.x509SvidKey));
    // Of two with the same hint the first counts.
    expect(snapshot.svids.map(({ hint }) => hint)).toEqual(['', 'internal']);
    expect([...snapshot.bundles.keys()].sort()).toEqual(['away.test', 'home.test']);
    expect(identity.verifyPeer(snapshot.svid.chain).spiffeId).toBe(leafId);
  });

  it('replaces everything that was: an absent bundle is withdrawn', async () => {
    api.onStream = (stream) => stream.write(responseOf([entryOf()]));
    await identity.ready(budget);
    const seen: (number | undefined)[] = [];
    identity.watch((snapshot) => seen.push(snapshot?.bundles.size));
    api.opened[0]?.write(responseOf([entryOf()], {}));
    await until('a second snapshot', () => seen.length === 1);
    expect(seen).toEqual([1]);
    expect(identity.current()?.generation).toBe(2);
  });

  const good = entryOf();
  const rows: readonly (readonly [string, () => Uint8Array])[] = [
    ['no SVID at all', () => responseOf([])],
    ['an empty id', () => responseOf([{ ...good, spiffeId: '' }])],
    ['an empty chain', () => responseOf([{ ...good, x509Svid: new Uint8Array() }])],
    ['an empty key', () => responseOf([{ ...good, x509SvidKey: new Uint8Array() }])],
    ['an empty bundle', () => responseOf([{ ...good, bundle: new Uint8Array() }])],
    ['the key of another', () => responseOf([{ ...good, x509SvidKey: pkcs8(makeKey()) }])],
    ['an id that the chain does not have', () => responseOf([{ ...good, spiffeId: `${leafId}2` }])],
    ['an expired SVID', () => responseOf([entryOf({ notAfterMs: nowMs - 1_000 })])],
    ['a chain of the federated CA', () => responseOf([entryOf({ ca: away })])],
    ['an own bundle of the federated CA', () => responseOf([{ ...good, bundle: away.der }])],
    ['a federated bundle under no id', () => responseOf([good], { 'not an id': away.der })],
    [
      'a federated bundle that is cut',
      () => responseOf([good], { 'spiffe://away.test': away.der.subarray(0, -1) }),
    ],
    ['one good and one bad SVID', () => responseOf([good, { ...good, x509Svid: home.der }])],
    [
      'two bundles of the own trust domain',
      () => responseOf([good, { ...good, bundle: concatBytes([home.der, away.der]) }]),
    ],
    ['a hint beyond all bounds', () => responseOf([{ ...good, hint: 'x'.repeat(2_000) }])],
    ['more SVIDs than anybody has', () => responseOf(Array.from({ length: 65 }, () => good))],
    [
      'more certificates than a bundle has',
      () =>
        responseOf([{ ...good, bundle: concatBytes(Array.from({ length: 65 }, () => home.der)) }]),
    ],
  ];
  it.each(rows)('is refused, and the last good state stays: %s', async (_, message) => {
    api.onStream = (stream) => stream.write(responseOf([good]));
    const before = await identity.ready(budget);
    const bad = message();
    api.opened[0]?.write(bad);
    await until('the refusal', () => errors.length === 1);
    expect(identity.current()).toBe(before);
    // The stream goes on.
    api.opened[0]?.write(responseOf([good]));
    await until('the next good one', () => identity.current()?.generation === 2);
  });

  it('is refused where the federated bundles speak for the own domain', async () => {
    const forged: Entry = entryOf({ ca: away });
    api.onStream = (stream) => {
      stream.write(responseOf([forged], { 'spiffe://home.test': away.der }));
      stream.write(responseOf([good], { 'spiffe://home.test': away.der }));
    };
    const snapshot = await identity.ready(budget);
    expect(snapshot.generation).toBe(1);
    expect(snapshot.bundles.get('home.test')?.map((der) => Buffer.from(der))).toEqual([
      Buffer.from(home.der),
    ]);
  });

  it('may be bytes that are no message: the stream is opened anew', async () => {
    api.onStream = (stream, count) =>
      stream.write(count === 1 ? Uint8Array.of(0xff, 0xff) : responseOf([good]));
    await streams(1);
    await until('the back-off', () => clock.pendingTimers === 1);
    await eventually('a second stream', 10_000, async () => {
      await clock.advance(backoff.firstMs);
      if (identity.current() === undefined) throw new Error('not yet');
    });
  });
});

describe('a stream that ends', () => {
  it.each([
    ['cleanly', (n: number) => api.opened[n]?.end()],
    ['as unavailable', (n: number) => api.opened[n] && endWith(api.opened[n], 14)],
    ['as unimplemented', (n: number) => api.opened[n] && endWith(api.opened[n], 12)],
    ['as unknown', (n: number) => api.opened[n] && endWith(api.opened[n], 2)],
  ] as const)('%s is opened again, and the identity stays meanwhile', async (_, end) => {
    api.onStream = (stream) => stream.write(responseOf([entryOf()]));
    const first = await identity.ready(budget);
    end(0);
    await eventually('another stream', 10_000, async () => {
      expect(identity.current()).toBeDefined();
      await clock.advance(backoff.firstMs);
      if (api.opened.length < 2) throw new Error('not yet');
    });
    await until('a new snapshot', () => identity.current() !== first);
    expect(identity.current()?.generation).toBe(2);
  });

  it('again and again is asked less and less often, at least every 30 s', async () => {
    const waits: number[] = [];
    api.onStream = (stream) => endWith(stream, 14);
    for (let attempt = 1; attempt <= 10; attempt += 1) {
      await streams(attempt);
      await until('the back-off', () => clock.pendingTimers === 1);
      // The timer of the first message is replaced by that of the back-off once the end is known.
      const startMs = clock.nowMs();
      await eventually('the next attempt', 20_000, async () => {
        if (api.opened.length > attempt) return;
        await clock.advance(Math.max(50, (clock.nowMs() - startMs) / 8));
        throw new Error('not yet');
      });
      waits.push(clock.nowMs() - startMs);
    }
    expect(waits[9]).toBeGreaterThan(waits[0] ?? 0);
    expect(Math.max(...waits)).toBeLessThan(backoff.maxMs * 1.3);
  });

  it.each([
    ['INVALID_ARGUMENT', 3],
    ['CANCELLED', 1],
  ] as const)('with %s ends the watch for good', async (code, status) => {
    api.onStream = (stream) => endWith(stream, status);
    await expect(identity.ready(budget)).rejects.toMatchObject({ code });
    await clock.advance(120_000);
    expect(api.opened).toHaveLength(1);
    await expect(identity.ready(budget)).rejects.toBeInstanceOf(NsmError);
  });

  it('with PERMISSION_DENIED withdraws the identity when it lasts', async () => {
    api.onStream = (stream, count) => {
      if (count === 1) stream.write(responseOf([entryOf()]));
      else endWith(stream, 7);
    };
    await identity.ready(budget);
    const seen: unknown[] = [];
    identity.watch((snapshot) => seen.push(snapshot));
    if (api.opened[0] !== undefined) endWith(api.opened[0], 7);
    await until('the denial', () => clock.pendingTimers >= 2);
    await clock.advance(9_000);
    expect(identity.current()).toBeDefined();
    await clock.advance(1_000);
    expect(identity.current()).toBeUndefined();
    expect(seen).toEqual([undefined]);
    expect(() => identity.signPathToken(undefined, 1_000)).toThrow(NsmError);
    // It comes back as soon as the server changes its mind.
    api.onStream = (stream) => stream.write(responseOf([entryOf()]));
    await eventually('a new identity', 10_000, async () => {
      await clock.advance(backoff.maxMs);
      if (identity.current() === undefined) throw new Error('not yet');
    });
  });

  it('without having said anything for long is given up and opened anew', async () => {
    await streams(1);
    await clock.advance(firstMessageMs);
    await eventually('another stream', 10_000, async () => {
      await clock.advance(backoff.firstMs);
      if (api.opened.length < 2) throw new Error('not yet');
    });
    await until('the end of the first', () => api.opened[0]?.cancelled === true);
  });
});

describe('who waits', () => {
  it('is told what was wrong when the time is over', async () => {
    api.onStream = (stream) => endWith(stream, 14, 'still starting');
    const waiting = identity.ready({ timeoutMs: 5_000 });
    const outcome = expect(waiting).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: 'still starting' },
    });
    await streams(1);
    await until('the failure', () => clock.pendingTimers === 2);
    await eventually('the end of the stream', 10_000, async () => {
      await clock.advance(100);
      if (api.opened.length < 2) throw new Error('not yet');
    });
    await clock.advance(5_000);
    await outcome;
  });

  it('ends with its signal, also one that was aborted before, and with the source', async () => {
    const stop = new AbortController();
    const waiting = identity.ready({ timeoutMs: 5_000, signal: stop.signal });
    stop.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'CANCELLED' });
    const again = identity.ready({ timeoutMs: 5_000, signal: stop.signal });
    await expect(again).rejects.toMatchObject({ code: 'CANCELLED' });
    const last = identity.ready({ timeoutMs: 5_000 });
    await identity.close();
    await expect(last).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('iterates over the newest snapshots only, and ends with its signal', async () => {
    api.onStream = (stream) => stream.write(responseOf([entryOf()]));
    await identity.ready(budget);
    const stop = new AbortController();
    const iterator = identity.updates(stop.signal)[Symbol.asyncIterator]();
    for (let more = 0; more < 3; more += 1) api.opened[0]?.write(responseOf([entryOf()]));
    await until('all four', () => identity.current()?.generation === 4);
    expect((await iterator.next()).value?.generation).toBe(4);
    const waiting = iterator.next();
    stop.abort();
    expect((await waiting).done).toBe(true);
  });

  it('hears loudly when an SVID ends without a newer one', async () => {
    api.onStream = (stream) => stream.write(responseOf([entryOf({ notAfterMs: nowMs + 5_000 })]));
    await identity.ready(budget);
    await clock.advance(5_000);
    expect(errors).toHaveLength(1);
    expect(JSON.stringify(errors)).not.toContain('PRIVATE');
  });
});

it('verifies JWT-SVIDs only with bundles that came whole', async () => {
  const jwtApi = await scriptedWorkloadApi('FetchJWTBundles');
  const source = createIdentitySource({
    endpoint: jwtApi.endpoint,
    clock,
    wallClock: clock,
    random: systemRandom,
    log: silentLog,
  });
  try {
    const keys = new TextEncoder().encode('{"keys":[{"kty":"EC"}]}');
    jwtApi.onStream = (stream) => {
      const message = create(JWTBundlesResponseSchema, { bundles: { 'spiffe://home.test': keys } });
      stream.write(toBinary(JWTBundlesResponseSchema, message));
      // An entry without a known curve is skipped, so the bundle is good and empty.
    };
    const refusal = source.validateJwtSvid(jwtLike, 'x', budget);
    await expect(refusal).rejects.toMatchObject({ details: { rule: 'trust-bundle' } });
  } finally {
    await source.close();
    jwtApi.close();
  }
});

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwtLike = [
  part({ alg: 'ES256', kid: 'a' }),
  part({ sub: leafId, aud: ['x'], exp: nowMs / 1000 + 100 }),
  Buffer.alloc(64, 1).toString('base64url'),
].join('.');
