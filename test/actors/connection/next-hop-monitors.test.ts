// Protects the streams to the next hops: one per URL however many connections go there, reopened with back-off while
// anybody needs it, closed when nobody does; a lost one is told once to each connection that goes through it.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createNextHopMonitors,
  type NextHopMessage,
  type NextHopMonitors,
} from '../../../actors/connection/next-hop-monitors.ts';
import {
  type ConnectionEvent,
  ConnectionEventSchema,
  ConnectionEventType,
  ConnectionSchema,
  MonitorConnection,
  type MonitorScopeSelector,
  State,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import { connectionReplaced } from '../../../protocols/messages/replaced-connection.ts';
import type { Random } from '../../../protocols/ports/random.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { type Listening, serve } from '../../../protocols/ports/rpc.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';

interface Stream {
  readonly selector: MonitorScopeSelector;
  readonly openedMs: number;
  isOpen: boolean;
  say(event: ConnectionEvent): void;
  /** As the transport ends a stream under which certificates are renewed. */
  replace(): void;
}

const log = silentLog;
/** Takes nothing off a pause. */
const full: Random = { uuid: () => '', integer: () => 0 };

let clock: ManualClock;
let network: ReturnType<typeof createMemoryNetwork>;
let monitors: NextHopMonitors;
let streams: Stream[];
let told: Record<string, string[]>;
let listening: Map<string, Listening>;

beforeEach(async () => {
  clock = createManualClock();
  network = createMemoryNetwork({ clock });
  monitors = createNextHopMonitors({
    name: 'own',
    dialer: network.dialer,
    clock,
    random: full,
    log,
  });
  [streams, told, listening] = [[], {}, new Map()];
  await listen('memory:next');
});

afterEach(async () => {
  monitors.close();
  await settle();
  expect(streams.filter(({ isOpen }) => isOpen)).toEqual([]);
  for (const url of listening.keys()) await cut(url);
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

async function listen(url: string): Promise<void> {
  const monitor = serve(MonitorConnection, {
    async *monitorConnections(selector, { signal }) {
      const waiting: ConnectionEvent[] = [create(ConnectionEventSchema)];
      let wake: () => void = () => {};
      const say = (event: ConnectionEvent): void => {
        waiting.push(event);
        wake();
      };
      let isReplaced = false;
      const replace = (): void => {
        isReplaced = true;
        wake();
      };
      const stream: Stream = { selector, openedMs: clock.nowMs(), isOpen: true, say, replace };
      streams.push(stream);
      signal.addEventListener('abort', () => wake());
      try {
        while (!signal.aborted) {
          if (isReplaced) throw connectionReplaced(url, 'an old one');
          yield* waiting.splice(0);
          await new Promise<void>((resolve) => (wake = resolve));
        }
      } finally {
        stream.isOpen = false;
      }
    },
  });
  listening.set(url, await network.listener.listen(url, [monitor]));
}

/** Ends the streams to that URL and leaves nobody there. */
async function cut(url: string): Promise<void> {
  const closing = listening.get(url)?.close(0);
  listening.delete(url);
  await clock.advance(0);
  await closing;
}

async function follow(id: string, url: string | undefined = 'memory:next'): Promise<void> {
  monitors.follow(id, url, (message) => (told[id] ??= []).push(textOf(message)));
  await settle();
}

const textOf = (message: NextHopMessage): string =>
  message.type === 'nextHopLost' ? 'lost' : `${message.event} ${message.entry.state}`;

function event(ownId: string, state: State, name = 'own'): ConnectionEvent {
  const entry = create(ConnectionSchema, {
    id: 'next-id',
    state,
    path: { index: 2, pathSegments: [{ name: 'nsc', id: 'x' }, { name, id: ownId }, { id: 'n' }] },
  });
  const { UPDATE: type } = ConnectionEventType;
  return create(ConnectionEventSchema, { type, connections: { 'next-id': entry } });
}

describe('the connections to one next hop', () => {
  it('share one stream that selects by the own name', async () => {
    for (const id of ['a', 'b', 'a']) await follow(id);
    expect(streams.length).toBe(1);
    expect(streams[0]?.selector.pathSegments).toMatchObject([{ name: 'own', id: '' }]);
  });

  it('each hear what is about them', async () => {
    for (const id of ['a', 'b']) await follow(id);
    streams[0]?.say(event('a', State.DOWN));
    streams[0]?.say(event('unknown', State.DOWN));
    streams[0]?.say(event('b', State.DOWN, 'another'));
    await settle();
    expect(told).toEqual({ a: [`${ConnectionEventType.UPDATE} ${State.DOWN}`] });
  });

  it('close it when the last one leaves', async () => {
    for (const id of ['a', 'b']) await follow(id);
    monitors.follow('a', undefined, () => {});
    await settle();
    expect(streams[0]?.isOpen).toBe(true);
    monitors.follow('b', undefined, () => {});
    await settle();
    expect(streams[0]?.isOpen).toBe(false);
    expect(told).toEqual({});
    expect(clock.pendingTimers).toBe(0);
  });

  it('move one by one to another URL', async () => {
    await listen('memory:other');
    for (const id of ['a', 'b']) await follow(id);
    await follow('a', 'memory:other');
    expect(streams.map(({ isOpen }) => isOpen)).toEqual([true, true]);
    streams[0]?.say(event('a', State.DOWN));
    streams[1]?.say(event('a', State.DOWN));
    await settle();
    expect(told['a']?.length).toBe(1);
    await follow('b', 'memory:other');
    expect(streams.map(({ isOpen }) => isOpen)).toEqual([false, true]);
  });
});

describe('what is said of a connection before it is followed', () => {
  const gone = (id: string): ConnectionEvent => ({
    ...event(id, State.UP),
    type: ConnectionEventType.DELETE,
  });

  it('is told once it is, where it was expected and has been lost', async () => {
    await follow('b');
    for (const id of ['a', 'c']) monitors.expect(id);
    streams[0]?.say(event('a', State.UP));
    streams[0]?.say(event('a', State.DOWN));
    streams[0]?.say(gone('c'));
    streams[0]?.say(event('stranger', State.DOWN));
    await settle();
    for (const id of ['a', 'c', 'stranger']) await follow(id);
    expect(told).toEqual({
      a: [`${ConnectionEventType.UPDATE} ${State.DOWN}`],
      c: [`${ConnectionEventType.DELETE} ${State.UP}`],
    });
  });

  it('is forgotten where it has come back, ended, or went elsewhere', async () => {
    await listen('memory:other');
    await follow('b');
    for (const id of ['a', 'c', 'd']) monitors.expect(id);
    for (const id of ['a', 'c', 'd']) streams[0]?.say(event(id, State.DOWN));
    streams[0]?.say(event('a', State.UP));
    await settle();
    monitors.follow('c', undefined, () => {});
    await follow('a');
    await follow('c');
    await follow('d', 'memory:other');
    expect(told).toEqual({});
  });
});

describe('a stream whose connection is replaced', () => {
  it('is opened again at once, and lost are only those that the new one does not tell', async () => {
    for (const id of ['a', 'b', 'c']) await follow(id);
    streams[0]?.replace();
    await settle();
    expect(streams).toHaveLength(2);
    expect(streams[1]?.openedMs).toBe(streams[0]?.openedMs);
    streams[1]?.say(event('a', State.UP));
    monitors.follow('c', undefined, () => {});
    await settle();
    await clock.advance(10_000);
    expect(told).toEqual({ a: [`${ConnectionEventType.UPDATE} ${State.UP}`], b: ['lost'] });
    expect(streams).toHaveLength(2);
  });

  it('loses nobody where both sides renew at the same time', async () => {
    await follow('a');
    for (const at of [0, 1, 2]) {
      streams[at]?.replace();
      await settle();
    }
    expect(streams).toHaveLength(4);
    streams[3]?.say(event('a', State.UP));
    await settle();
    await clock.advance(10_000);
    expect(told).toEqual({ a: [`${ConnectionEventType.UPDATE} ${State.UP}`] });
  });

  it('is lost, once, where it cannot be opened again', async () => {
    for (const id of ['a', 'b']) await follow(id);
    const closing = listening.get('memory:next');
    streams[0]?.replace();
    listening.delete('memory:next');
    const closed = closing?.close(0);
    await settle();
    await closed;
    await clock.advance(10_000);
    expect(told).toEqual({ a: ['lost'], b: ['lost'] });
  });
});

describe('a stream that is lost', () => {
  it('is told once to each connection, and opened again for them', async () => {
    for (const id of ['a', 'b']) await follow(id);
    await cut('memory:next');
    await clock.advance(30_000);
    expect(told).toEqual({ a: ['lost'], b: ['lost'] });
    await listen('memory:next');
    await clock.advance(2_000);
    expect(streams.map(({ isOpen }) => isOpen)).toEqual([false, true]);
    streams[1]?.say(event('b', State.UP));
    await settle();
    expect(told['b']?.length).toBe(2);
  });

  it('is told too where somebody else has a sign of it', async () => {
    await follow('a', 'memory:next');
    await follow('b', 'memory:next');
    monitors.lost('memory:other');
    expect(told).toEqual({});
    monitors.lost('memory:next');
    expect(told).toEqual({ a: ['lost'], b: ['lost'] });
  });

  it('is told again once it had come back in between', async () => {
    await follow('a');
    for (let turn = 0; turn < 2; turn += 1) {
      await cut('memory:next');
      await listen('memory:next');
      await clock.advance(2_000);
    }
    expect(told).toEqual({ a: ['lost', 'lost'] });
  });

  it('is tried ever more rarely, at least every 2 s', async () => {
    const dialed: number[] = [];
    monitors.close();
    const dialer: typeof network.dialer = {
      ...network.dialer,
      dial(url) {
        dialed.push(clock.nowMs());
        return network.dialer.dial(url);
      },
    };
    monitors = createNextHopMonitors({ name: 'own', dialer, clock, random: full, log });
    await follow('a', 'memory:nobody');
    await clock.advance(9_200);
    expect(dialed).toEqual([0, 100, 300, 700, 1_500, 3_100, 5_100, 7_100, 9_100]);
  });

  it('is opened again by different nodes at different times', async () => {
    monitors.close();
    const opened: number[] = [];
    const dialer: typeof network.dialer = {
      ...network.dialer,
      dial(url) {
        opened.push(clock.nowMs());
        return network.dialer.dial(url);
      },
    };
    for (const drawn of [0, 500, 999]) {
      const random: Random = { ...full, integer: () => drawn };
      const startedMs = clock.nowMs();
      opened.length = 0;
      monitors = createNextHopMonitors({ name: 'own', dialer, clock, random, log });
      await follow('a', 'memory:nobody');
      await clock.advance(100);
      monitors.close();
      expect((opened[1] ?? 0) - startedMs).toBeCloseTo(100 * (1 - drawn / 2000));
    }
  });

  it('is not opened for a connection that outlives the monitors', async () => {
    monitors.close();
    await follow('a');
    await clock.advance(10_000);
    expect(streams.length).toBe(0);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is not opened again for a connection that has left meanwhile', async () => {
    await follow('a');
    await cut('memory:next');
    monitors.follow('a', undefined, () => {});
    await listen('memory:next');
    await clock.advance(10_000);
    expect(streams.length).toBe(1);
  });
});
