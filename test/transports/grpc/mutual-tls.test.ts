// Protects what mutual TLS promises on a gRPC hop: both sides know each other by SPIFFE ID, tokens are made for whom
// they go to, certificates change under running calls and streams without a lost call, and nobody is served or called
// whose own trust domain does not vouch for it now.

import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { NsmError } from '../../../protocols/errors.ts';
import {
  ConnectionEventSchema,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Identity, IdentitySnapshot } from '../../../protocols/ports/identity.ts';
import type { Log } from '../../../protocols/ports/log.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { CallContext, Listening, Peer } from '../../../protocols/ports/rpc.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import { tlsMaterial } from '../../../protocols/spiffe/tls-material.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { failure, noLeak, liveResources } from '../../contract/rpc.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { caOf, faked, type Forged, forgedBy, times } from '../../sandbox/forged-identities.ts';
import { renewed, TestIdentities } from '../../sandbox/identities.ts';
import { makeCa } from '../spiffe-ts/pki.ts';

const clock = systemClock;
const of = (identity: Identity) => ({ clock, tls: { identity, wallClock: systemWallClock } });
const hourMs = 3_600_000;

let folder: string;
let home: TestIdentities;
let away: TestIdentities;
let before: Record<string, number>;
const cleanUps: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  before = liveResources();
  folder = mkdtempSync(join(tmpdir(), 'vwire-mtls-'));
  home = new TestIdentities();
  away = new TestIdentities({ trustDomain: 'away.test' });
  federate(home, away);
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  await Promise.all([home.close(), away.close()]);
  rmSync(folder, { recursive: true, force: true });
  await noLeak(before);
});

/** A trust domain whose SVIDs live for some seconds, and are renewed at half of that. */
function briefIdentities(): TestIdentities {
  const brief = new TestIdentities({ trustDomain: 'brief.test', svidLifetimeMs: 4_000 });
  federate(home, brief);
  cleanUps.push(() => brief.close());
  return brief;
}

function federate(one: TestIdentities, other: TestIdentities): void {
  one.server.federate(other.server.trustDomain, other.server.bundle());
  other.server.federate(one.server.trustDomain, one.server.bundle());
}

/** A server that tells its callers who they are, and what it refused. */
async function serveAs(identity: Identity, url = `unix://${folder}/nsm.sock`) {
  const refused: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (_, fields) => void refused.push(String(fields?.['error'])),
  };
  const contexts: CallContext[] = [];
  const held: (() => void)[] = [];
  const services = [
    serve(NetworkService, {
      request: async ({ connection }, context) => {
        contexts.push(context);
        if (connection?.networkService === 'hold') {
          await new Promise<void>((resolve) => held.push(resolve));
        }
        return create(ConnectionSchema, { id: context.peer.spiffeId ?? '' });
      },
      close: () => Promise.resolve(create(EmptySchema)),
    }),
    serve(MonitorConnection, {
      async *monitorConnections({ networkServices }, context) {
        contexts.push(context);
        yield create(ConnectionEventSchema);
        if (networkServices.includes('list')) {
          await new Promise<void>((resolve) => held.push(resolve));
          return;
        }
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      },
    }),
  ];
  const listening: Listening = await createGrpc({ ...of(identity), log }).listener.listen(
    url,
    services,
  );
  cleanUps.push(() => listening.close(0));
  return { url: listening.url, refused, contexts, held };
}

type Served = Awaited<ReturnType<typeof serveAs>>;

function callerAs(identity: Identity, { url }: Pick<Served, 'url'>) {
  const audiences: (string | undefined)[] = [];
  const { dialer } = createGrpc({
    ...of(identity),
    callHeaders: {
      names: ['x-for'],
      make: (peer) => {
        audiences.push(peer?.spiffeId);
        return { 'x-for': String(peer?.spiffeId) };
      },
    },
  });
  cleanUps.push(() => dialer.close());
  const channel = dialer.dial(url);
  const ask = async (networkService = ''): Promise<{ id: string; peer: Peer | undefined }> => {
    let peer: Peer | undefined;
    const { id } = await channel
      .client(NetworkService)
      .request(create(NetworkServiceRequestSchema, { connection: { networkService } }), {
        timeoutMs: 10_000,
        // As a hop that hands on what it was sent.
        headers: { 'x-for': 'another' },
        onPeer: (found) => {
          peer = found;
        },
      });
    return { id, peer };
  };
  /** A stream whose first message has come. */
  const watch = async () => {
    const stream = channel
      .client(MonitorConnection)
      .monitorConnections(create(MonitorScopeSelectorSchema))
      [Symbol.asyncIterator]();
    await stream.next();
    const ended = stream.next().then(
      () => undefined,
      (error: unknown) => error as NsmError,
    );
    return { ended };
  };
  const monitor = channel.client(MonitorConnection);
  /** A stream that is given up after its first message. */
  const glance = async (): Promise<void> => {
    const selector = create(MonitorScopeSelectorSchema);
    for await (const _ of monitor.monitorConnections(selector, { timeoutMs: 10_000 })) return;
  };
  /** How many messages come on a stream that has an end. */
  const list = async (): Promise<number> => {
    let count = 0;
    const selector = create(MonitorScopeSelectorSchema, { networkServices: ['list'] });
    for await (const _ of monitor.monitorConnections(selector, { timeoutMs: 60_000 })) count += 1;
    return count;
  };
  return { ask, watch, glance, list, audiences };
}

describe('both sides', () => {
  it.each(['unix', 'tcp'])('know each other by SPIFFE ID and leaf over %s', async (scheme) => {
    const [server, client] = [await home.source('server'), await away.source('client')];
    const url = scheme === 'unix' ? `unix://${folder}/a.sock` : 'tcp://127.0.0.1:0';
    const served = await serveAs(server, url);
    const { ask } = callerAs(client, served);
    const { id, peer } = await ask();
    expect(id).toBe('spiffe://away.test/client');
    expect(peer).toMatchObject({ binding: 'grpc', spiffeId: 'spiffe://home.test/server' });
    expect(Buffer.from(peer?.leaf ?? [])).toEqual(Buffer.from(leafOf(server)));
    expect(peer?.trustedUntilMs).toBe(server.current()?.svid.notAfterMs);
    expect(served.contexts[0]?.peer.trustedUntilMs).toBe(client.current()?.svid.notAfterMs);
    const leaf = served.contexts[0]?.peer.leaf ?? new Uint8Array();
    const { token } = client.signPathToken('spiffe://home.test/server', 60_000);
    expect(server.verifyPathToken(token, leaf).subject).toBe('spiffe://away.test/client');
  });

  it('call headers are made for the server that is reached, from the first call on', async () => {
    const served = await serveAs(await home.source('server'));
    const { ask, watch, audiences } = callerAs(await home.source('client'), served);
    await ask();
    await watch();
    expect(audiences).toEqual(['spiffe://home.test/server', 'spiffe://home.test/server']);
    expect(served.contexts.map(({ headers }) => headers['x-for'])).toEqual(audiences);
  });

  it('reuse one connection, one leaf object included', async () => {
    const served = await serveAs(await home.source('server'));
    const { ask } = callerAs(await home.source('client'), served);
    await ask();
    await ask();
    expect(served.contexts[0]?.peer).toBe(served.contexts[1]?.peer);
  });
});

describe('rotation', () => {
  it('of the own SVID ends streams with notice, lets calls end, and new calls prove the new one', async () => {
    const client = await home.source('client');
    const served = await serveAs(await home.source('server'));
    const { ask, watch } = callerAs(client, served);
    const { ended } = await watch();
    const held = ask('hold');
    await eventually('the call', 5_000, () => expect(served.held).toHaveLength(1));
    await renewed(client, () => home.server.rotateSvids());
    expect(await ended).toMatchObject({
      code: 'UNAVAILABLE',
      details: { rule: 'svid-rotation' },
    });
    await watch();
    expect(served.contexts.at(-1)?.peer.leaf).toEqual(Buffer.from(leafOf(client)));
    expect(served.contexts[0]?.peer.leaf).not.toEqual(served.contexts.at(-1)?.peer.leaf);
    served.held[0]?.();
    expect((await held).id).toBe('spiffe://home.test/client');
  });

  it('of the CA on both sides loses no call', async () => {
    const [server, client] = [await home.source('server'), await home.source('client')];
    const served = await serveAs(server);
    const { ask } = callerAs(client, served);
    for (const act of [
      () => home.server.rotateAuthority(),
      () => home.server.rotateSvids(),
      () => home.server.rotateSvids(),
    ]) {
      const during = renewed(client, act);
      expect((await ask()).id).toBe('spiffe://home.test/client');
      await during;
      expect((await ask()).id).toBe('spiffe://home.test/client');
    }
  });

  it("of the server is followed before the server's certificate ends", async () => {
    const server = await briefIdentities().source('server');
    const served = await serveAs(server);
    const { watch, ask } = callerAs(await home.source('client'), served);
    const { ended } = await watch();
    const { peer } = await ask();
    expect(await ended).toMatchObject({ details: { rule: 'svid-rotation' } });
    const certificate = new X509Certificate(peer?.leaf ?? new Uint8Array());
    // Long before the old one ends, and again until there is a newer one.
    expect(Date.now()).toBeLessThanOrEqual(Date.parse(certificate.validTo) - 1_000);
    await eventually('the next certificate', 5_000, async () => {
      const next = (await ask()).peer;
      expect(next?.spiffeId).toBe('spiffe://brief.test/server');
      expect(next?.leaf).not.toEqual(peer?.leaf);
    });
    expect(Date.now()).toBeLessThanOrEqual(Date.parse(certificate.validTo));
  });

  it('of one side alone: tokens are signed with the key that the other side knows it by', async () => {
    const [server, client] = [await home.source('server'), await home.source('client')];
    const served = await serveAs(server);
    const still = client.current();
    const { ask } = callerAs(
      faked(client, () => still),
      served,
    );
    const [{ peer: before }] = [
      await ask(),
      await renewed(server, () => home.server.rotateSvids()),
    ];
    const { peer: now } = await ask();
    // The connection is the one of before, and so is what the client knows of the server.
    expect(now).toBe(before);
    const [id, leaf] = ['spiffe://home.test/client', now?.leaf ?? new Uint8Array()];
    const known = served.contexts.at(-1)?.peer.ownLeaf;
    const { token } = server.signPathToken(id, 60_000, known);
    expect(server.verifyPathToken(token, leaf).subject).toBe('spiffe://home.test/server');
    expect(() => server.verifyPathToken(server.signPathToken(id, 60_000).token, leaf)).toThrow(
      'not valid',
    );
    // The same of the client, whose newest SVID the server has not seen.
    const seen = served.contexts.at(-1)?.peer.leaf ?? new Uint8Array();
    const { token: own } = client.signPathToken('spiffe://home.test/server', 60_000, now?.ownLeaf);
    expect(server.verifyPathToken(own, seen).subject).toBe(id);
  });

  it('that brings nothing new disturbs no stream', async () => {
    const client = await home.source('client');
    let tell = (): void => {};
    const repeating: Identity = faked(client, () => client.current(), {
      watch: (listener) => {
        tell = () => listener(client.current());
        return () => {};
      },
    });
    const served = await serveAs(await home.source('server'));
    const { ask, watch } = callerAs(repeating, served);
    const { ended } = await watch();
    tell();
    await ask();
    const [first, second] = served.contexts;
    expect(first?.peer).toBe(second?.peer);
    expect(await Promise.race([ended, Promise.resolve('open')])).toBe('open');
  });
});

it('a caller that gives up very many streams loses no call, nor a list that goes on meanwhile', async () => {
  const served = await serveAs(await home.source('server'));
  const { ask, glance, list } = callerAs(await home.source('client'), served);
  const listing = list();
  await eventually('the list', 5_000, () => expect(served.held).toHaveLength(1));
  for (let batch = 0; batch < 20; batch += 1) {
    await Promise.all(Array.from({ length: 100 }, glance));
    expect((await ask()).id).toBe('spiffe://home.test/client');
  }
  served.held[0]?.();
  expect(await listing).toBe(1);
}, 60_000);

describe('a server', () => {
  it('ends the stream of a client at the end of its certificate', async () => {
    const client = await briefIdentities().source('client');
    const old = client.current() as IdentitySnapshot;
    const { notAfterMs } = old.svid;
    // It does not follow its own rotation, and believes that its SVID lives long.
    const careless = faked(client, () => ({
      ...old,
      svid: { ...old.svid, notAfterMs: Date.now() + hourMs },
    }));
    const served = await serveAs(await home.source('server'));
    const { ended } = await callerAs(careless, served).watch();
    expect(await ended).toMatchObject({ code: 'UNAVAILABLE' });
    expect((await ended)?.details.found).toContain('client certificate that has expired');
    expect(Date.now()).toBeGreaterThanOrEqual(notAfterMs - 50);
    expect(served.contexts[0]?.signal.aborted).toBe(true);
  });

  it('ends the stream of a client whose trust domain is not trusted any more', async () => {
    const server = await home.source('server');
    const served = await serveAs(server);
    const { watch, ask } = callerAs(await away.source('client'), served);
    const { ended } = await watch();
    await renewed(server, () => home.server.federate('away.test', undefined));
    expect((await ended)?.code).toBe('UNAVAILABLE');
    await failure(ask());
    await eventually('the refusal', 5_000, () =>
      expect(served.refused.join()).toContain('trust-bundle'),
    );
  });

  const rows: readonly (readonly [string, () => Forged, RegExp])[] = [
    [
      'a foreign trust domain',
      () => ({ ca: makeCa(times()), uri: 'spiffe://x.test/a' }),
      /trust-bundle/,
    ],
    ['a foreign CA that signs our ids', () => ({ ca: makeCa(times()) }), /rule: chain/],
    ['a federated CA that signs our ids', () => ({ ca: caOf(away.server) }), /rule: chain/],
    [
      'our CA under the name of a federated domain',
      () => ({ ca: caOf(home.server), uri: 'spiffe://away.test/a' }),
      /rule: chain/,
    ],
    ['a name that is no SPIFFE ID', () => ({ uri: 'https://home.test/a' }), /spiffe-id-scheme/],
    ['two ids', () => ({ uris: ['spiffe://home.test/a', 'spiffe://home.test/b'] }), /svid-uri/],
    ['an expired SVID', () => ({ notAfterMs: Date.now() - 1_000 }), /expired|validity/],
  ];

  it.each(rows)('refuses %s', async (_, forged, rule) => {
    const server = await home.source('server');
    const client = await home.source('client');
    const served = await serveAs(server);
    const error = await failure(
      callerAs(forgedBy(client, { ca: caOf(home.server), ...forged() }), served).ask(),
    );
    expect(error.code).toBe('UNAVAILABLE');
    await eventually('the refusal', 5_000, () => expect(served.refused.join()).toMatch(rule));
    expect(served.contexts).toHaveLength(0);
    expect((await callerAs(client, served).ask()).id).toBe('spiffe://home.test/client');
  });

  it.each([
    ['no certificate', { ALPNProtocols: ['h2'] }, /chain-length/],
    ['no HTTP/2', { own: true }, /tls-alpn/],
  ] as const)('refuses a client with %s', async (_, how, rule) => {
    const client = await home.source('client');
    const served = await serveAs(await home.source('server'));
    const { cert, key } = tlsMaterial(client.current() as IdentitySnapshot);
    const socket = connectTls({
      path: served.url.slice('unix://'.length),
      rejectUnauthorized: false,
      ...('own' in how ? { cert, key } : how),
    });
    await new Promise((resolve) => socket.on('error', resolve).on('close', resolve));
    await eventually('the refusal', 5_000, () => expect(served.refused.join()).toMatch(rule));
  });

  it('refuses a plaintext client, and a plaintext server is not called', async () => {
    const client = await home.source('client');
    const served = await serveAs(await home.source('server'));
    const plain = createGrpc({ clock, insecure: true });
    cleanUps.push(() => plain.dialer.close());
    const request = create(NetworkServiceRequestSchema);
    const call = plain.dialer.dial(served.url).client(NetworkService);
    expect((await failure(call.request(request, { timeoutMs: 5_000 }))).code).toBe('UNAVAILABLE');
    const open = await plain.listener.listen(`unix://${folder}/plain.sock`, []);
    cleanUps.push(() => open.close(0));
    expect((await failure(callerAs(client, open).ask())).code).toBe('UNAVAILABLE');
  });
});

describe('a client', () => {
  it.each([
    ['a federated CA that signs our ids', () => ({ ca: caOf(away.server) }), 'chain'],
    ['two ids', () => ({ uris: ['spiffe://home.test/a', 'spiffe://home.test/b'] }), 'svid-uri'],
  ] as const)('refuses a server with %s, and says why', async (_, forged, rule) => {
    const client = await home.source('client');
    const served = await serveAs(
      forgedBy(await home.source('server'), { ca: caOf(home.server), ...forged() }),
    );
    const caller = callerAs(client, served);
    const error = await failure(caller.ask());
    expect(error).toMatchObject({ code: 'UNAVAILABLE', details: { rule } });
    expect(caller.audiences).toEqual([]);
    expect(served.contexts).toHaveLength(0);
  });

  it('without an identity calls nobody', async () => {
    const served = await serveAs(await home.source('server'));
    const withdrawn = faked(await home.source('client'), () => undefined);
    const error = await failure(callerAs(withdrawn, served).ask());
    expect(error).toMatchObject({ code: 'UNAUTHENTICATED', details: { rule: 'own-identity' } });
  });
});

const leafOf = (identity: Identity) => identity.current()?.svid.chain[0] ?? new Uint8Array();
