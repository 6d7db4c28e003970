// Protects those who share a listener with a peer that floods it, over mutual TLS: whatever a stranger or a proven peer
// opens and never finishes, or sends too much of, is bounded and comes to an end (a status or a closed connection),
// and others are served meanwhile.

import { once } from 'node:events';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConnectionSchema } from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Identity } from '../../../protocols/ports/identity.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import { serve } from '../../../protocols/ports/rpc.ts';
import { createFdPassing } from '../../../transports/fd-passing/fd-passing.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import type { GrpcListenerOptions } from '../../../transports/grpc/grpc-listener.ts';
import { createGrpcListener } from '../../../transports/grpc/grpc-listener.ts';
import { systemClock as clock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { liveResources, noLeak } from '../../contract/rpc.ts';
import { eventually } from '../../sandbox/eventually.ts';
import { TestIdentities } from '../../sandbox/identities.ts';
import {
  callHeaders,
  endHeaders,
  frame,
  frameType,
  headerBlock,
  opening,
  partOfMessage,
  placeOf,
  provenSession,
  provenSocket,
} from '../../sandbox/raw-http2.ts';

const requestPath = '/networkservice.NetworkService/Request';
const boundMs = 10_000;

let folder: string;
let identities: TestIdentities;
let before: Record<string, number>;
const cleanUps: (() => unknown)[] = [];

beforeEach(() => {
  before = liveResources();
  folder = mkdtempSync(join(tmpdir(), 'vwire-floods-'));
  identities = new TestIdentities();
});

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  await identities.close();
  rmSync(folder, { recursive: true, force: true });
  await noLeak(before);
});

/** A listener of small bounds, an honest caller on a connection of its own, and the thief's identity. */
async function listener(options: Partial<GrpcListenerOptions> = {}, scheme = 'unix') {
  const refused: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (message, fields) => void refused.push(`${message} ${JSON.stringify(fields)}`),
  };
  const served: string[] = [];
  const tls = async (name: string) => ({
    identity: await identities.source(name),
    wallClock: systemWallClock,
  });
  const services = [
    serve(NetworkService, {
      request: (_, { peer }) => {
        served.push(peer.spiffeId ?? '');
        return Promise.resolve(create(ConnectionSchema, { id: peer.spiffeId ?? '' }));
      },
      close: () => Promise.resolve(create(EmptySchema)),
    }),
  ];
  const url = scheme === 'unix' ? `unix://${folder}/nsm.sock` : 'tcp://127.0.0.1:0';
  const listening = await createGrpcListener({
    clock,
    log,
    tls: await tls('server'),
    ...options,
  }).listen(url, services);
  cleanUps.push(() => listening.close(0));
  const { dialer } = createGrpc({ clock, tls: await tls('honest') });
  cleanUps.push(() => dialer.close());
  const ask = async (): Promise<string> => {
    const { id } = await dialer
      .dial(listening.url)
      .client(NetworkService)
      .request(create(NetworkServiceRequestSchema), { timeoutMs: boundMs });
    return id;
  };
  const othersAreServed = async (): Promise<void> => {
    expect(await ask()).toBe('spiffe://home.test/honest');
  };
  /** One that has no connection yet. */
  const newcomerIsServed = async (): Promise<void> => {
    const session = await sessionOf(listening.url, await identities.source('newcomer'));
    expect(await outcome(wholeRequest(session))).toBe('0');
    session.destroy();
  };
  const thief = await identities.source('thief');
  return { url: listening.url, refused, served, othersAreServed, newcomerIsServed, thief };
}

async function sessionOf(url: string, identity: Identity): Promise<ClientHttp2Session> {
  const session = await provenSession(url, identity);
  cleanUps.push(() => session.destroy());
  return session;
}

async function strange(url: string): Promise<Socket> {
  const socket = connect(placeOf(url));
  socket.on('error', () => {});
  cleanUps.push(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const wholeRequest = (session: ClientHttp2Session): ClientHttp2Stream => {
  const stream = openCall(session);
  stream.end(partOfMessage(0, 0));
  return stream;
};

function openCall(session: ClientHttp2Session, headers = callHeaders(requestPath)) {
  const stream = session.request(headers);
  stream.on('error', () => {});
  stream.resume();
  return stream;
}

/** The gRPC status that a stream ends with, or how it was reset; fails where it does not end. */
function outcome(stream: ClientHttp2Stream): Promise<string> {
  return within('the end of a stream', (resolve) => {
    let status: string | undefined;
    const note = (headers: Record<string, unknown>): void => {
      if (typeof headers['grpc-status'] === 'string') status = headers['grpc-status'];
    };
    stream.on('response', note).on('trailers', note);
    stream.on('close', () => resolve(status ?? `reset ${stream.rstCode}`));
  });
}

function closed(socket: Socket | ClientHttp2Session): Promise<string> {
  return within('a closed connection', (resolve) => {
    if (socket.destroyed) resolve('closed');
    socket.on('close', () => resolve('closed'));
    if ('resume' in socket) socket.resume();
  });
}

function within(what: string, run: (resolve: (value: string) => void) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${what} in ${boundMs} ms`)), boundMs);
    run((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

const isOpen = (each: { readonly destroyed: boolean }): boolean => !each.destroyed;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const megabytesInUse = (): number => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return (heapUsed + external) / 1e6;
};

describe('metadata beyond what HTTP/2 lets through', () => {
  it.each([
    ['in one header', { 'x-one': 'A'.repeat(1_000_000) }],
    [
      'in many',
      Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`x-${n}`, 'A'.repeat(10_000)])),
    ],
  ])('ends its connection: a megabyte %s', async (_, headers) => {
    const keepalive = { keepaliveMs: 300, keepaliveTimeoutMs: 300 };
    const { url, thief, othersAreServed, served } = await listener(keepalive);
    await othersAreServed();
    const session = await sessionOf(url, thief);
    openCall(session, { ...callHeaders(requestPath), ...headers });
    expect(await closed(session)).toBe('closed');
    await othersAreServed();
    expect(served).not.toContain('spiffe://home.test/thief');
  });
});

describe('a slow peer', () => {
  it.each([
    ['tcp', 'of TCP', false],
    ['unix', 'of a unix socket', false],
    ['unix', 'of a unix socket that carries descriptors', true],
  ])('%s: handshakes that never end give way and end, %s', async (scheme, _, passes) => {
    const handshakesMax = 8;
    const fdPassing = passes ? { fdPassing: createFdPassing({ clock, log: silentLog }) } : {};
    const { url, othersAreServed, newcomerIsServed, refused } = await listener(
      { handshakesMax, handshakeMs: 2_000, ...fdPassing },
      scheme,
    );
    const strangers: Socket[] = [];
    for (let n = 0; n < 5 * handshakesMax; n += 1) {
      const socket = await strange(url);
      // The first bytes of a ClientHello that promises more.
      if (n % 2 === 1) socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0]));
      socket.resume();
      strangers.push(socket);
    }
    await othersAreServed();
    await newcomerIsServed();
    await eventually('the first ones to give way', boundMs, () =>
      expect(strangers.filter(isOpen).length).toBeLessThanOrEqual(handshakesMax),
    );
    await eventually('the others to end', boundMs, () =>
      expect(strangers.filter(isOpen)).toEqual([]),
    );
    expect(refused.join()).toContain('rule: handshakes');
    expect(refused.length).toBeLessThanOrEqual(22);
  });

  it('that is proven and never speaks is cut', async () => {
    const { url, thief, othersAreServed } = await listener({
      keepaliveMs: 200,
      keepaliveTimeoutMs: 200,
    });
    const socket = await provenSocket(url, thief);
    expect(await closed(socket)).toBe('closed');
    await othersAreServed();
  });

  it.each([
    ['never ends its headers', frame(frameType.headers, 0, 1, headerBlock(callHeaders('/x')))],
    [
      'stops within a frame of headers',
      frame(frameType.headers, endHeaders, 1, headerBlock(callHeaders('/x'))).subarray(0, 20),
    ],
  ])('that %s is cut', async (_, bytes) => {
    const { url, thief, othersAreServed } = await listener({
      keepaliveMs: 200,
      keepaliveTimeoutMs: 200,
    });
    const socket = await provenSocket(url, thief);
    socket.write(Buffer.concat([opening, bytes]));
    expect(await closed(socket)).toBe('closed');
    await othersAreServed();
  });

  it('that trickles its request is given up, and never reaches a handler', async () => {
    const { url, thief, othersAreServed, served } = await listener({
      perPeer: { arrivalMs: 1_000 },
    });
    const session = await sessionOf(url, thief);
    const [trickled, unended, silent] = [openCall(session), openCall(session), openCall(session)];
    trickled.write(partOfMessage(1_000, 0));
    const drops = setInterval(() => trickled.writable && trickled.write(Buffer.alloc(1)), 50);
    cleanUps.push(() => clearInterval(drops));
    // All of its message, but not its end.
    unended.write(partOfMessage(0, 0));
    await othersAreServed();
    const outcomes = await Promise.all([trickled, unended, silent].map(outcome));
    expect(outcomes).toEqual(['4', '4', '4']);
    await othersAreServed();
    expect(served).not.toContain('spiffe://home.test/thief');
    expect(await outcome(wholeRequest(session))).toBe('0');
  });
});

describe('a flood', () => {
  it('of streams is refused beyond the bound of the peer, over any number of connections', async () => {
    const callsMax = 20;
    const { url, thief, othersAreServed, newcomerIsServed } = await listener({
      perPeer: { callsMax },
    });
    const sessions = [await sessionOf(url, thief), await sessionOf(url, thief)];
    const flood = Array.from({ length: 5 * callsMax }, (_, n) => {
      const path = n % 2 === 0 ? requestPath : '/unknown.Service/Method';
      return openCall(sessions[n % 2] as ClientHttp2Session, callHeaders(path));
    });
    const ends = flood.map((stream) => outcome(stream).catch(() => 'open'));
    await othersAreServed();
    await newcomerIsServed();
    const settled: string[] = [];
    for (const end of ends) void end.then((status) => settled.push(status));
    // Of an unknown method all end; of a known one, as many as fit wait for their requests.
    await eventually('the refusals', boundMs, () =>
      expect(settled.filter((status) => status === '8').length).toBeGreaterThanOrEqual(
        3 * callsMax,
      ),
    );
    for (const session of sessions) session.destroy();
    const again = await sessionOf(url, thief);
    await eventually('room again', boundMs, async () =>
      expect(await outcome(wholeRequest(again))).toBe('0'),
    );
    await Promise.all(ends);
  });

  it('of requests that are never whole holds no more than the bound of the peer', async () => {
    const arrivingBytesMax = 2_000_000;
    const { url, thief, othersAreServed } = await listener({ perPeer: { arrivingBytesMax } });
    const session = await sessionOf(url, thief);
    const ends = Array.from({ length: 40 }, () => {
      const stream = openCall(session);
      stream.write(partOfMessage(4_000_000, 200_000));
      return outcome(stream);
    });
    const first = await Promise.race(ends);
    expect(first).toBe('8');
    await othersAreServed();
    session.destroy();
    await Promise.all(ends);
  });

  it('of resets ends its connection, and memory is as before', async () => {
    const { url, thief, othersAreServed, served } = await listener();
    await othersAreServed();
    const beforeMb = megabytesInUse();
    let streams = 0;
    for (let connection = 0; connection < 5; connection += 1) {
      const session = await sessionOf(url, thief);
      const end = closed(session);
      while (isOpen(session) && streams < 100_000) {
        for (let n = 0; n < 200 && isOpen(session) && !session.closed; n += 1) {
          const stream = openCall(session);
          setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
          streams += 1;
        }
        await othersAreServed();
      }
      expect(await end).toBe('closed');
    }
    expect(streams).toBeLessThan(20_000);
    expect(served).not.toContain('spiffe://home.test/thief');
    expect(megabytesInUse() - beforeMb).toBeLessThan(50);
  });

  it('of refusals that nobody reads cuts the connection', async () => {
    const { url, thief, othersAreServed } = await listener({ perPeer: { callsMax: 1 } });
    const socket = await provenSocket(url, thief);
    const end = closed(socket);
    socket.pause();
    socket.write(opening);
    const block = headerBlock(callHeaders(requestPath));
    for (let id = 1; id < 60_000 && isOpen(socket); id += 2) {
      const hasRoom = socket.write(frame(frameType.headers, endHeaders, id, block));
      if (!hasRoom) await Promise.race([once(socket, 'drain'), end]);
    }
    socket.resume();
    expect(await end).toBe('closed');
    await othersAreServed();
  });

  it('of connections is refused beyond the bound of the peer', async () => {
    const connectionsMax = 5;
    const { url, thief, othersAreServed, newcomerIsServed, refused } = await listener({
      perPeer: { connectionsMax },
    });
    const sockets: Socket[] = [];
    for (let n = 0; n < 4 * connectionsMax; n += 1) {
      const socket = await provenSocket(url, thief);
      cleanUps.push(() => socket.destroy());
      socket.resume();
      sockets.push(socket);
    }
    await eventually('the refusals', boundMs, () =>
      expect(sockets.filter(isOpen)).toHaveLength(connectionsMax),
    );
    expect(refused.join()).toContain('rule: connections-per-peer');
    await othersAreServed();
    await newcomerIsServed();
    for (const socket of sockets) socket.destroy();
    await eventually('room again', boundMs, async () => {
      const session = await sessionOf(url, thief);
      expect(await outcome(wholeRequest(session))).toBe('0');
    });
  });
});
