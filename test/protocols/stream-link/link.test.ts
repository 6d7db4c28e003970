// Protects the connection under the clients of Open vSwitch and VPP: calls wait for it, go out once and in order, end by their deadline, and
// are bounded; a silent, failing or hasty peer is left and tried again at growing intervals. Time is a manual clock.

import { describe, expect, test } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import type { CallOutcome, SessionStream } from '../../../protocols/stream-link/link.ts';
import { defaultLinkLimits, Link } from '../../../protocols/stream-link/link.ts';
import type { StreamEvents } from '../../../protocols/ports/byte-stream.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

interface Peer {
  readonly events: StreamEvents;
  isDestroyed: boolean;
  queuedBytes: number;
}

function setUp(limits: Partial<typeof defaultLinkLimits> = {}) {
  const clock = createManualClock();
  const peers: Peer[] = [];
  const streams: SessionStream[] = [];
  const log: string[] = [];
  const link = new Link({
    name: 'the peer',
    socketPath: '/nowhere',
    limits: { ...defaultLinkLimits, ...limits },
    host: {
      clock,
      random: { integer: () => 0 },
      openStream: (_, events) => {
        const peer: Peer = { events, isDestroyed: false, queuedBytes: 0 };
        peers.push(peer);
        return {
          send: () => {},
          get queuedBytes() {
            return peer.queuedBytes;
          },
          destroy: () => {
            peer.isDestroyed = true;
          },
        };
      },
      listenForAbort: (signal, listener) => signal.addEventListener('abort', listener),
    },
    startSession: (stream) => {
      streams.push(stream);
      return {
        receive: (bytes) => {
          if (bytes[0] === 0xff) throw new NsmError('INVALID_ARGUMENT', 'nonsense');
        },
        probe: () => log.push('probe'),
        ended: () => log.push('ended'),
      };
    },
  });
  const call = (name: string, timeoutMs = 1000, signal?: AbortSignal) => {
    const started: { outcome?: CallOutcome<string> } = {};
    const result = link.call<string>({
      what: name,
      budget: { timeoutMs, ...(signal === undefined ? {} : { signal }) },
      start: (outcome) => {
        log.push(name);
        started.outcome = outcome;
      },
      abandon: () => log.push(`abandon ${name}`),
      isRead: name.startsWith('read'),
    });
    // Looked at later; until then its failure is no surprise.
    result.catch(() => {});
    return { result, started };
  };
  const connect = (): void => {
    peers.at(-1)?.events.onOpen();
    streams.at(-1)?.ready();
  };
  return { clock, peers, streams, log, link, call, connect };
}

describe('calls', () => {
  test('wait for the connection and go out in order', async () => {
    const { log, call, connect, link, clock } = setUp();
    const first = call('first');
    call('second');
    expect(log).toEqual([]);
    connect();
    call('third');
    expect(log).toEqual(['first', 'second', 'third']);
    first.started.outcome?.resolve('done');
    expect(await first.result).toBe('done');
    link.close();
    expect(clock.pendingTimers).toBe(0);
  });

  test('end by their deadline, saying whether they were sent', async () => {
    const { clock, call, connect, peers, log, link } = setUp();
    peers[0]?.events.onClosed('connect ENOENT');
    const unsent = call('unsent', 15);
    await clock.advance(15);
    await expect(unsent.result).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { rule: 'connection', found: expect.stringContaining('connect ENOENT') },
    });
    connect();
    const sent = call('sent', 50);
    await clock.advance(50);
    await expect(sent.result).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { rule: 'answer', found: 'sent, so it may have happened' },
    });
    expect(log).toEqual(['sent', 'abandon sent']);
    link.close();
    expect(clock.pendingTimers).toBe(0);
  });

  test('are cancelled before and after they are sent', async () => {
    const { call, connect, log, link } = setUp();
    const already = call('already', 1000, AbortSignal.abort());
    await expect(already.result).rejects.toMatchObject({ code: 'CANCELLED' });
    const controller = new AbortController();
    const waiting = call('waiting', 1000, controller.signal);
    controller.abort();
    await expect(waiting.result).rejects.toMatchObject({
      code: 'CANCELLED',
      details: { rule: 'connection' },
    });
    connect();
    const late = new AbortController();
    const sent = call('sent', 1000, late.signal);
    late.abort();
    await expect(sent.result).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(log).toEqual(['sent', 'abandon sent']);
    link.close();
  });

  test('are bounded in number and by the bytes that wait', async () => {
    const { call, connect, peers, link } = setUp({ callsMax: 2, queuedBytesMax: 10 });
    connect();
    const first = call('first');
    call('second');
    await expect(call('third').result).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: { found: '2 calls, 0 bytes' },
    });
    first.started.outcome?.resolve('done');
    await first.result;
    if (peers[0] !== undefined) peers[0].queuedBytes = 11;
    await expect(call('fourth').result).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    link.close();
  });

  test('sent ones fail with a lost connection, waiting ones go out on the next, closing ends all', async () => {
    const { clock, call, connect, peers, log, link } = setUp();
    connect();
    const sent = call('sent');
    peers[0]?.events.onClosed('closed by the peer');
    await expect(sent.result).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { found: expect.stringContaining('it may have happened') },
    });
    const waiting = call('waiting');
    await clock.advance(20);
    connect();
    expect(log).toEqual(['sent', 'ended', 'waiting']);
    link.close();
    await expect(waiting.result).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(call('after').result).rejects.toMatchObject({ details: { found: 'closed' } });
    expect(clock.pendingTimers).toBe(0);
  });

  test('that only read are sent again on the next connection, and end by their deadline all the same', async () => {
    const { clock, call, connect, peers, log, link } = setUp();
    connect();
    const answered = call('read ports');
    const unanswered = call('read flows', 25);
    peers[0]?.events.onClosed('closed by the peer');
    await clock.advance(20);
    connect();
    expect(log).toEqual(['read ports', 'read flows', 'ended', 'read ports', 'read flows']);
    answered.started.outcome?.resolve('done');
    expect(await answered.result).toBe('done');
    await clock.advance(5);
    await expect(unanswered.result).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    link.close();
    expect(clock.pendingTimers).toBe(0);
  });
});

describe('the connection', () => {
  test('is tried again at intervals that grow to a bound', async () => {
    const { clock, peers, link } = setUp();
    const gaps: number[] = [];
    for (let turn = 0; turn < 8; turn += 1) {
      const count = peers.length;
      peers.at(-1)?.events.onClosed('refused');
      let waitedMs = 0;
      while (peers.length === count) {
        await clock.advance(5);
        waitedMs += 5;
      }
      gaps.push(waitedMs);
    }
    expect(gaps).toEqual([10, 20, 40, 80, 160, 250, 250, 250]);
    link.close();
  });

  test('a peer that ends every connection at once is not asked without pause', async () => {
    const { clock, peers, connect, link } = setUp();
    for (let turn = 0; turn < 6; turn += 1) {
      connect();
      peers.at(-1)?.events.onClosed('hasty');
      await clock.advance(250);
    }
    connect();
    await clock.advance(600);
    const count = peers.length;
    peers.at(-1)?.events.onClosed('after a while');
    await clock.advance(10);
    expect(peers).toHaveLength(count + 1);
    link.close();
  });

  test('is given up where the handshake takes too long, the peer falls silent, or talks nonsense', async () => {
    const { clock, peers, connect, log, link } = setUp();
    peers[0]?.events.onOpen();
    await clock.advance(defaultLinkLimits.connectTimeoutMs);
    expect(peers[0]?.isDestroyed).toBe(true);
    await clock.advance(500);
    connect();
    await clock.advance(3000);
    peers[1]?.events.onBytes(Uint8Array.of(1));
    await clock.advance(4000);
    expect(log).not.toContain('probe');
    await clock.advance(1000);
    expect(log).toContain('probe');
    peers[1]?.events.onBytes(Uint8Array.of(1));
    await clock.advance(5000);
    expect(peers[1]?.isDestroyed).toBe(false);
    await clock.advance(10_000);
    expect(peers[1]?.isDestroyed).toBe(true);
    await clock.advance(500);
    connect();
    peers.at(-1)?.events.onBytes(Uint8Array.of(0xff));
    expect(peers.at(-1)?.isDestroyed).toBe(true);
    link.close();
    expect(clock.pendingTimers).toBe(0);
  });
});
