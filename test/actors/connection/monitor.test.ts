// Protects the monitor of one hop: an initial transfer even when empty, every change in order per connection, joined
// where they pile up, to exactly those who select it; a subscriber that does not keep up is ended and delays nobody.

import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import { createMonitor } from '../../../actors/connection/monitor.ts';
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventSchema,
  ConnectionEventType,
  ConnectionSchema,
  MonitorScopeSelectorSchema,
  type PathSegment,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import { settle } from '../../sandbox/manual-clock.ts';

const { UPDATE, DELETE, INITIAL_STATE_TRANSFER } = ConnectionEventType;

let current: Connection[] = [];
/** Segment ids that the table was asked for. */
let looked: (string | undefined)[] = [];
const monitor = createMonitor((segmentId) => {
  looked.push(segmentId);
  return current.filter(
    ({ path }) => segmentId === undefined || path?.pathSegments.some(({ id }) => id === segmentId),
  );
});
const aborts: AbortController[] = [];

afterEach(async () => {
  for (const abort of aborts.splice(0)) abort.abort();
  await settle();
  [current, looked] = [[], []];
  expect(monitor.subscribers, 'subscribers left behind').toBe(0);
});

const connection = (id: string, networkService = 'service', payload = ''): Connection =>
  create(ConnectionSchema, {
    id,
    networkService,
    payload,
    path: {
      index: 1,
      pathSegments: [
        { name: 'nsc', id: `client-${id}` },
        { name: 'hop', id },
      ],
    },
  });

type Selector = {
  networkServices?: string[];
  pathSegments?: Partial<Pick<PathSegment, 'id' | 'name'>>[];
};

function subscribe(selector: Selector = {}) {
  const abort = new AbortController();
  aborts.push(abort);
  return monitor
    .subscribe(create(MonitorScopeSelectorSchema, selector), abort.signal)
    [Symbol.asyncIterator]();
}

/** Reads all that comes; an error ends up among what was read. */
async function read(selector: Selector = {}) {
  const events: ConnectionEvent[] = [];
  const errors: unknown[] = [];
  const stream = subscribe(selector);
  const loop = async (): Promise<void> => {
    for (let next = await stream.next(); next.done !== true; next = await stream.next()) {
      events.push(next.value);
    }
  };
  void loop().catch((error: unknown) => errors.push(error));
  await settle();
  return { events, errors };
}

const told = (events: readonly ConnectionEvent[]) =>
  events.map(({ type, connections }) => [type, Object.keys(connections)]);

describe('a subscriber', () => {
  it('is told what there is, also that there is nothing', async () => {
    expect(told((await read()).events)).toEqual([[INITIAL_STATE_TRANSFER, []]]);
    current = [connection('a'), connection('b', 'other')];
    expect(told((await read()).events)).toEqual([[INITIAL_STATE_TRANSFER, ['a', 'b']]]);
    expect(told((await read({ networkServices: ['other'] })).events)).toEqual([
      [INITIAL_STATE_TRANSFER, ['b']],
    ]);
  });

  it('misses nothing between the initial transfer and what follows', async () => {
    const stream = subscribe();
    const first = stream.next();
    monitor.publish(UPDATE, connection('a'));
    await first;
    monitor.publish(UPDATE, connection('b'));
    expect(told([(await stream.next()).value])).toEqual([[UPDATE, ['a', 'b']]]);
    await stream.return?.();
  });

  it('hears only of what it selects, and is found by a segment’s id', async () => {
    current = [connection('a'), connection('b')];
    const byId = await read({ pathSegments: [{ id: 'client-a' }] });
    const byName = await read({ pathSegments: [{ name: 'nsc' }] });
    const byService = await read({ networkServices: ['other'] });
    expect(looked).toEqual(['client-a', undefined, undefined]);
    monitor.publish(UPDATE, connection('a'));
    monitor.publish(UPDATE, connection('b'));
    await settle();
    expect(told(byId.events)).toEqual([
      [INITIAL_STATE_TRANSFER, ['a']],
      [UPDATE, ['a']],
    ]);
    expect(told(byName.events.slice(1))).toEqual([[UPDATE, ['a', 'b']]]);
    expect(byService.events.length).toBe(1);
  });

  it('that selects an id and a name that do not belong together hears nothing', async () => {
    const { events } = await read({ pathSegments: [{ id: 'client-a', name: 'hop' }] });
    monitor.publish(UPDATE, connection('a'));
    await settle();
    expect(told(events)).toEqual([[INITIAL_STATE_TRANSFER, []]]);
  });
});

describe('changes that pile up', () => {
  it('go out together, in order for each connection and never two of one in one event', async () => {
    const { events } = await read();
    for (const [type, id, payload] of [
      [UPDATE, 'a', '1'],
      [UPDATE, 'b', '1'],
      [UPDATE, 'a', '2'],
      [DELETE, 'a', '2'],
      [DELETE, 'b', '1'],
      [UPDATE, 'a', '3'],
    ] as const) {
      monitor.publish(type, connection(id, 'service', payload));
    }
    await settle();
    expect(told(events.slice(1))).toEqual([
      [UPDATE, ['a', 'b']],
      [UPDATE, ['a']],
      [DELETE, ['a', 'b']],
      [UPDATE, ['a']],
    ]);
    expect(events.slice(1).map(({ connections }) => connections['a']?.payload)).toEqual([
      '1',
      '2',
      '2',
      '3',
    ]);
  });

  it('go out in events that fit a message, the state at the beginning too', async () => {
    current = Array.from({ length: 300 }, (_, at) => withToken(`s-${at}`, 4000));
    const { events } = await read();
    for (let at = 0; at < 300; at += 1) monitor.publish(UPDATE, withToken(`c-${at}`, 4000));
    await settle(20);
    const sizes = events.map((event) => toBinary(ConnectionEventSchema, event).length);
    expect(Math.max(...sizes)).toBeLessThan(512 * 1024);
    const told = events.flatMap(({ connections }) => Object.keys(connections));
    expect(new Set(told).size).toBe(600);
    const initial = events.filter(({ type }) => type === INITIAL_STATE_TRANSFER);
    expect(initial.flatMap(({ connections }) => Object.keys(connections)).length).toBe(300);
  });
});

function withToken(id: string, length: number): Connection {
  const made = connection(id);
  const pathSegments = made.path?.pathSegments.map((each) => ({
    ...each,
    token: 't'.repeat(length),
  }));
  return made.path === undefined
    ? made
    : { ...made, path: { ...made.path, pathSegments: pathSegments ?? [] } };
}

describe('a subscriber that does not read', () => {
  it('is ended with a clear error after what it was still owed, and others go on', async () => {
    const slow = subscribe();
    await slow.next();
    const quick = await read();
    for (let at = 0; at < 10_000; at += 1) {
      monitor.publish(UPDATE, connection('a', 'service', String(at)));
      if (at % 1_000 === 0) await settle(1);
    }
    await settle();
    expect(quick.errors).toEqual([]);
    expect(quick.events.at(-1)?.connections['a']?.payload).toBe('9999');
    let owed = 0;
    const drain = async (): Promise<void> => {
      for (;;) {
        const next = await slow.next();
        if (next.done === true) return;
        owed += 1;
      }
    };
    await expect(drain()).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: { rule: 'monitor-queue' },
    });
    expect(owed).toBe(8192);
    expect(monitor.subscribers).toBe(1);
  });
});

describe('the hop before', () => {
  it('is not told once more what it got as an answer, but of everything else', async () => {
    const byName = await read({ pathSegments: [{ name: 'nsc' }] });
    const byId = await read({ pathSegments: [{ name: 'nsc', id: 'client-a' }] });
    const all = await read();
    monitor.publish(UPDATE, connection('a'), true);
    await settle();
    expect(told(byName.events.slice(1))).toEqual([]);
    expect(told(byId.events.slice(1))).toEqual([[UPDATE, ['a']]]);
    expect(told(all.events.slice(1))).toEqual([[UPDATE, ['a']]]);
    monitor.publish(UPDATE, connection('a'));
    await settle();
    expect(told(byName.events.slice(1))).toEqual([[UPDATE, ['a']]]);
  });
});
