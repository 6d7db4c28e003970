// Protects those who share a listener with a peer that floods it, over mutual TLS: whatever a stranger or a proven peer
// opens and never finishes, or sends too much of, is bounded and comes to an end (a status or a closed connection), others
// are served meanwhile, and the whole of a flood is one line of the audit log for each thing that was refused.

import { once } from 'node:events';
import type { ClientHttp2Session } from 'node:http2';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createFdPassing } from '../../../transports/fd-passing/fd-passing.ts';
import { systemClock as clock } from '../../../transports/process/system-clock.ts';
import { eventually } from '../../sandbox/eventually.ts';
import {
  boundMs,
  cleanUps,
  closed,
  isOpen,
  listener,
  openCall,
  outcome,
  requestPath,
  sessionOf,
  stageFloods,
  strange,
  thiefId,
  wholeRequest,
} from '../../sandbox/flooded-listener.ts';
import {
  callHeaders,
  endHeaders,
  frame,
  frameType,
  headerBlock,
  opening,
  partOfMessage,
  provenSocket,
} from '../../sandbox/raw-http2.ts';

stageFloods();

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
    const { url, thief, othersAreServed, served, lines } = await listener(keepalive);
    await othersAreServed();
    const session = await sessionOf(url, thief);
    openCall(session, { ...callHeaders(requestPath), ...headers });
    expect(await closed(session)).toBe('closed');
    await othersAreServed();
    expect(served).not.toContain(thiefId);
    await eventually('the line', boundMs, () =>
      expect(lines()).toEqual([['Connect', thiefId, 'header-block']]),
    );
  });

  it.each([
    ['too many', Object.fromEntries(Array.from({ length: 500 }, (_, n) => [`x-${n}`, 'a']))],
    ['too large', { 'x-one': 'A'.repeat(30_000), 'x-two': 'A'.repeat(30_000) }],
  ])('is refused: %s headers', async (_, headers) => {
    const { url, thief, othersAreServed, served, lines } = await listener();
    const session = await sessionOf(url, thief);
    const flood = Array.from({ length: 20 }, () =>
      openCall(session, { ...callHeaders(requestPath), ...headers }),
    );
    expect(new Set(await Promise.all(flood.map(outcome)))).toEqual(new Set(['8']));
    await othersAreServed();
    expect(served).not.toContain(thiefId);
    expect(lines()).toEqual([['Request', thiefId, 'header-bounds']]);
    expect(await outcome(wholeRequest(session))).toBe('0');
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
    const { url, othersAreServed, newcomerIsServed, refused, lines } = await listener(
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
    // Some gave way, and the time of the last ones was over.
    expect(lines()).toEqual([
      ['Connect', undefined, 'handshakes'],
      ['Connect', undefined, 'handshake-time'],
    ]);
  });

  it('that is proven and never speaks is cut', async () => {
    const { url, thief, othersAreServed, lines } = await listener({
      keepaliveMs: 200,
      keepaliveTimeoutMs: 200,
    });
    const socket = await provenSocket(url, thief);
    expect(await closed(socket)).toBe('closed');
    await othersAreServed();
    expect(lines()).toEqual([['Connect', thiefId, 'keepalive']]);
  });

  it.each([
    ['never ends its headers', frame(frameType.headers, 0, 1, headerBlock(callHeaders('/x')))],
    [
      'stops within a frame of headers',
      frame(frameType.headers, endHeaders, 1, headerBlock(callHeaders('/x'))).subarray(0, 20),
    ],
  ])('that %s is cut', async (_, bytes) => {
    const { url, thief, othersAreServed, lines } = await listener({
      keepaliveMs: 200,
      keepaliveTimeoutMs: 200,
    });
    const socket = await provenSocket(url, thief);
    socket.write(Buffer.concat([opening, bytes]));
    expect(await closed(socket)).toBe('closed');
    await othersAreServed();
    expect(lines()).toEqual([['Connect', thiefId, 'header-block']]);
  });

  it('that trickles its request is given up, and never reaches a handler', async () => {
    const { url, thief, othersAreServed, served, lines } = await listener({
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
    expect(served).not.toContain(thiefId);
    expect(lines()).toEqual([['Request', thiefId, 'arrival']]);
    expect(await outcome(wholeRequest(session))).toBe('0');
  });
});

describe('a flood', () => {
  it('of streams is refused beyond the bound of the peer, over any number of connections', async () => {
    const callsMax = 20;
    const { url, thief, othersAreServed, newcomerIsServed, lines } = await listener({
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
    expect(lines()).toHaveLength(2);
    for (const call of ['Request', 'Unknown']) {
      expect(lines()).toContainEqual([call, thiefId, 'calls-per-peer']);
    }
    for (const session of sessions) session.destroy();
    const again = await sessionOf(url, thief);
    await eventually('room again', boundMs, async () =>
      expect(await outcome(wholeRequest(again))).toBe('0'),
    );
    await Promise.all(ends);
  });

  it('of requests that are never whole holds no more than the bound of the peer', async () => {
    const arrivingBytesMax = 2_000_000;
    const { url, thief, othersAreServed, lines } = await listener({
      perPeer: { arrivingBytesMax },
    });
    const session = await sessionOf(url, thief);
    const ends = Array.from({ length: 40 }, () => {
      const stream = openCall(session);
      stream.write(partOfMessage(4_000_000, 200_000));
      return outcome(stream);
    });
    const first = await Promise.race(ends);
    expect(first).toBe('8');
    await othersAreServed();
    expect(lines()).toEqual([['Request', thiefId, 'arriving-bytes']]);
    session.destroy();
    await Promise.all(ends);
  });

  it('of calls that are cancelled as they are made ends its connection, and memory is as before', async () => {
    const { url, thief, othersAreServed, served, lines } = await listener();
    await othersAreServed();
    const beforeMb = megabytesInUse();
    const block = headerBlock(callHeaders(requestPath));
    const cancelled = Buffer.from([0, 0, 0, constants.NGHTTP2_CANCEL]);
    let calls = 0;
    for (let connection = 0; connection < 5; connection += 1) {
      const socket = await provenSocket(url, thief);
      const end = closed(socket);
      socket.write(opening);
      for (let id = 1; id < 100_000 && isOpen(socket); id += 2) {
        socket.write(frame(frameType.headers, endHeaders, id, block));
        socket.write(frame(frameType.reset, 0, id, cancelled));
        calls += 1;
        if (calls % 200 === 0) await othersAreServed();
      }
      expect(await end).toBe('closed');
    }
    expect(calls).toBeLessThan(20_000);
    expect(served).not.toContain(thiefId);
    expect(megabytesInUse() - beforeMb).toBeLessThan(50);
    expect(lines()).toEqual([['Connect', thiefId, 'cancelled-calls']]);
  });

  it('of resets of calls that are over ends its connection', async () => {
    const { url, thief, othersAreServed, served } = await listener();
    const session = await sessionOf(url, thief);
    const end = closed(session);
    let streams = 0;
    while (isOpen(session) && streams < 20_000) {
      for (let n = 0; n < 200 && isOpen(session) && !session.closed; n += 1) {
        const stream = openCall(session);
        setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
        streams += 1;
      }
      await othersAreServed();
    }
    expect(await end).toBe('closed');
    expect(served).not.toContain(thiefId);
  });

  it('of refusals that nobody reads cuts the connection', async () => {
    const { url, thief, othersAreServed, lines } = await listener({ perPeer: { callsMax: 1 } });
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
    expect(lines()).toEqual([
      ['Request', thiefId, 'calls-per-peer'],
      ['Connect', thiefId, expect.stringMatching(/^(unread-refusals|http2)$/)],
    ]);
  });

  it('of connections is refused beyond the bound of the peer', async () => {
    const connectionsMax = 5;
    const { url, thief, othersAreServed, newcomerIsServed, refused, lines } = await listener({
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
    expect(lines()).toEqual([['Connect', thiefId, 'connections-per-peer']]);
    await othersAreServed();
    await newcomerIsServed();
    for (const socket of sockets) socket.destroy();
    await eventually('room again', boundMs, async () => {
      const session = await sessionOf(url, thief);
      expect(await outcome(wholeRequest(session))).toBe('0');
    });
  });

  it('of requests that are larger than any is refused by their first bytes', async () => {
    const { url, thief, othersAreServed, served, lines } = await listener();
    const session = await sessionOf(url, thief);
    const flood = Array.from({ length: 20 }, () => {
      const stream = openCall(session);
      // The length comes in pieces.
      stream.write(partOfMessage(5_000_000, 0).subarray(0, 3));
      stream.write(partOfMessage(5_000_000, 0).subarray(3));
      return outcome(stream);
    });
    expect(new Set(await Promise.all(flood))).toEqual(new Set(['8']));
    await othersAreServed();
    expect(served).not.toContain(thiefId);
    expect(lines()).toEqual([['Request', thiefId, 'message-size']]);
  });

  it('of requests that break two bounds at once harms nobody', async () => {
    const { url, thief, othersAreServed, lines } = await listener({
      perPeer: { arrivingBytesMax: 2_000 },
    });
    const session = await sessionOf(url, thief);
    const flood = Array.from({ length: 20 }, () => {
      const stream = openCall(session);
      stream.write(partOfMessage(5_000_000, 5_000));
      return outcome(stream);
    });
    expect(new Set(await Promise.all(flood))).toEqual(new Set(['8']));
    await othersAreServed();
    expect(lines()).toEqual([['Request', thiefId, 'arriving-bytes']]);
  });

  it('of connections beyond the bound of the listener is dropped', async () => {
    const { url, othersAreServed, lines } = await listener({ connectionsMax: 5 });
    await othersAreServed();
    const strangers: Socket[] = [];
    for (let n = 0; n < 20; n += 1) strangers.push((await strange(url)).resume());
    await eventually('the refusals', boundMs, () =>
      expect(strangers.filter(isOpen)).toHaveLength(4),
    );
    await othersAreServed();
    expect(lines()).toEqual([['Connect', undefined, 'connections']]);
  });

  it('of calls beyond the bound of the listener is refused', async () => {
    const { url, thief, held, lines } = await listener({ callsMax: 2 });
    const session = await sessionOf(url, thief);
    held.hold();
    const flood = Array.from({ length: 20 }, () => outcome(wholeRequest(session)));
    const settled: string[] = [];
    for (const end of flood) void end.then((status) => settled.push(status));
    await eventually('the refusals', boundMs, () => expect(settled).toHaveLength(18));
    held.release();
    await Promise.all(flood);
    expect(new Set(settled.slice(0, 18))).toEqual(new Set(['8']));
    expect(lines()).toEqual([['Request', thiefId, 'calls-in-flight']]);
  });
});
