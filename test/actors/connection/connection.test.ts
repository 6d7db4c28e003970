// One connection at one hop, with a real actor system, a hand-driven clock and a hop that records what it is asked.
// Protects: one operation at a time in order of arrival, Close by what was stored, expiry by itself, a failed refresh
// that leaves what works, and the events that monitors see.

import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import { createConnections } from '../../../actors/connection/connections.ts';
import { createConnectionTable } from '../../../actors/connection/connection-table.ts';
import type { Hop } from '../../../actors/connection/hop.ts';
import { emptyTokens } from '../../../actors/connection/tokens.ts';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import { NsmError } from '../../../protocols/errors.ts';
import {
  type Connection,
  ConnectionEventType,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
  State,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';

const wallClock = { epochMs: () => Date.now() };
const lifetimeMs = 600_000;
const running: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const stop of running.splice(0)) await stop();
});

interface Step {
  readonly kind: 'request' | 'close';
  readonly id: string;
  readonly refresh: boolean;
}

async function hopUnderTest(behave: Partial<Hop> = {}) {
  const steps: Step[] = [];
  const hop: Hop = {
    async request(request) {
      steps.push({
        kind: 'request',
        id: request.connection.id,
        refresh: request.previous !== undefined,
      });
      return (await behave.request?.(request)) ?? { connection: request.connection, memory: {} };
    },
    async close(connection, memory, call) {
      steps.push({ kind: 'close', id: connection.id, refresh: false });
      await behave.close?.(connection, memory, call);
    },
  };
  const clock = systemClock;
  const system = createActorSystem({ name: 'hop', clock, random: systemRandom, log: silentLog });
  const table = createConnectionTable({
    clock,
    bootId: 'boot',
    lifetimeMsMax: lifetimeMs,
    log: silentLog,
  });
  const connections = createConnections({
    name: 'hop',
    system,
    clock,
    wallClock,
    random: systemRandom,
    log: silentLog,
    hop,
    table,
    tokens: emptyTokens(wallClock, lifetimeMs),
    ownCallTimeoutMs: 1_000,
  });
  const network = createMemoryNetwork({ clock });
  const listening = await network.listener.listen('memory:hop', connections.services);
  running.push(async () => {
    await listening.close(0);
    await network.dialer.close();
    await system.stop(2_000);
  });
  const channel = network.dialer.dial('memory:hop');
  return {
    steps,
    table,
    system,
    directory: connections.directory,
    client: channel.client(NetworkService),
    monitor: channel.client(MonitorConnection),
  };
}

function asked(id: string, expiresInMs = lifetimeMs): Connection {
  return create(ConnectionSchema, {
    id,
    networkService: 'service',
    path: {
      index: 0,
      pathSegments: [
        { name: 'client', id, expires: timestampFromEpochMs(Date.now() + expiresInMs) },
      ],
    },
  });
}

const request = (connection: Connection) =>
  create(NetworkServiceRequestSchema, { connection, mechanismPreferences: [] });

describe('a connection', () => {
  it('answers in the view of its caller and keeps its id over refreshes', async () => {
    const { client, steps } = await hopUnderTest();
    const first = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    expect(first.id).toBe('c-0');
    expect(first.path?.index).toBe(0);
    expect(first.path?.pathSegments.map(({ name }) => name)).toEqual(['client', 'hop']);
    const second = await client.request(request(first), { timeoutMs: 2_000 });
    expect(second.path?.pathSegments[1]?.id).toBe(first.path?.pathSegments[1]?.id);
    expect(steps.map(({ refresh }) => refresh)).toEqual([false, true]);
  });

  it('is closed by what it stored, and a Close of the unknown answers OK', async () => {
    const { client, steps, table, directory } = await hopUnderTest();
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    await client.close(answer, { timeoutMs: 2_000 });
    await client.close(answer, { timeoutMs: 2_000 });
    expect(steps.map(({ kind }) => kind)).toEqual(['request', 'close']);
    expect(table.size).toBe(0);
    expect(directory.size).toBe(0);
  });

  it('runs one operation at a time, a Close behind a Request waiting for it', async () => {
    let finish: (() => void) | undefined;
    const order: string[] = [];
    const { client } = await hopUnderTest({
      request: async ({ connection, previous }) => {
        if (previous !== undefined) {
          order.push('refresh begins');
          await new Promise<void>((resolve) => (finish = resolve));
          order.push('refresh ends');
        }
        return { connection, memory: {} };
      },
      close: async () => {
        order.push('close');
      },
    });
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    const refresh = client.request(request(answer), { timeoutMs: 2_000 });
    const close = client.close(answer, { timeoutMs: 2_000 });
    await expect.poll(() => finish).toBeDefined();
    finish?.();
    await Promise.all([refresh, close]);
    expect(order).toEqual(['refresh begins', 'refresh ends', 'close']);
  });

  it('closes itself at the expiry of the previous token', async () => {
    const { client, steps, table } = await hopUnderTest();
    await client.request(request(asked('c-0', 60)), { timeoutMs: 2_000 });
    await expect.poll(() => steps.map(({ kind }) => kind)).toEqual(['request', 'close']);
    await expect.poll(() => table.size).toBe(0);
  });

  it('keeps what works when a refresh fails, and says DOWN', async () => {
    let refuse = false;
    const { client, table } = await hopUnderTest({
      request: async ({ connection }) => {
        if (refuse) throw new NsmError('UNAVAILABLE', 'the next hop is away');
        return { connection, memory: {} };
      },
    });
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    refuse = true;
    await expect(client.request(request(answer), { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { hop: 'hop' },
    });
    expect([...table.all()].map(({ connection }) => connection.state)).toEqual([State.DOWN]);
  });

  it('keeps what works when a reselect fails, and says nothing', async () => {
    let refuse = false;
    const { client, table } = await hopUnderTest({
      request: async ({ connection }) => {
        if (refuse) throw new NsmError('NOT_FOUND', 'no other Endpoint');
        return { connection, memory: { nextName: 'nse' } };
      },
    });
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    const before = [...table.all()];
    refuse = true;
    const reselect = request({ ...answer, state: State.RESELECT_REQUESTED });
    await expect(client.request(reselect, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect([...table.all()]).toEqual(before);
    expect(before.map(({ connection }) => connection.state)).toEqual([State.UP]);
  });

  it('lets a refresh that its caller gives up make way for what comes behind it', async () => {
    const { client, table } = await hopUnderTest({
      request: ({ connection, previous, reselect, call }) => {
        if (previous === undefined || reselect) return Promise.resolve({ connection, memory: {} });
        return new Promise((_, reject) => {
          const isOver = (): void => reject(new NsmError('CANCELLED', 'given up'));
          call.signal.addEventListener('abort', isOver);
        });
      },
    });
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    const giveUp = new AbortController();
    const options = { timeoutMs: 15_000, signal: giveUp.signal };
    const refreshing = client.request(request(answer), options);
    refreshing.catch(() => {});
    const reselect = request({ ...answer, state: State.RESELECT_REQUESTED });
    const moving = client.request(reselect, { timeoutMs: 15_000 });
    giveUp.abort();
    await expect(refreshing).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await moving).id).toBe('c-0');
    expect([...table.all()].map(({ connection }) => connection.state)).toEqual([State.UP]);
  });

  it('leaves nothing of a first Request that fails', async () => {
    const { client, table, directory } = await hopUnderTest({
      request: () => Promise.reject(new NsmError('NOT_FOUND', 'no Endpoint')),
    });
    await expect(client.request(request(asked('c-0')), { timeoutMs: 2_000 })).rejects.toMatchObject(
      { code: 'NOT_FOUND' },
    );
    await expect.poll(() => directory.size).toBe(0);
    expect(table.size).toBe(0);
  });

  it('undoes a first Request whose caller has gone while it was built', async () => {
    const giveUp = new AbortController();
    const { client, steps, table } = await hopUnderTest({
      request: async ({ connection }) => {
        giveUp.abort();
        return { connection, memory: {} };
      },
    });
    await expect(
      client.request(request(asked('c-0')), { timeoutMs: 2_000, signal: giveUp.signal }),
    ).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect.poll(() => steps.map(({ kind }) => kind)).toEqual(['request', 'close']);
    expect(table.size).toBe(0);
  });

  it('takes the closing over where the next hop cannot be reached, until it has heard', async () => {
    let away = true;
    const { client, steps, table, directory } = await hopUnderTest({
      close: async () => {
        if (away) throw new NsmError('UNAVAILABLE', 'the next hop is away');
      },
    });
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    await client.close(answer, { timeoutMs: 2_000 });
    expect([...table.all()].map(({ established }) => established)).toEqual([false]);
    away = false;
    await expect.poll(() => table.size).toBe(0);
    expect(directory.size).toBe(0);
    expect(steps.filter(({ kind }) => kind === 'close').length).toBeGreaterThan(1);
  });

  it('tells a monitor the state on subscription, each change, and the end', async () => {
    const { client, monitor } = await hopUnderTest();
    const stop = new AbortController();
    const events: { type: ConnectionEventType; connections: number }[] = [];
    const reading = (async () => {
      const selector = create(MonitorScopeSelectorSchema);
      for await (const event of monitor.monitorConnections(selector, { signal: stop.signal })) {
        events.push({ type: event.type, connections: Object.keys(event.connections).length });
      }
    })().catch(() => {});
    await expect.poll(() => events.length).toBe(1);
    const answer = await client.request(request(asked('c-0')), { timeoutMs: 2_000 });
    await expect.poll(() => events.length).toBe(2);
    await client.close(answer, { timeoutMs: 2_000 });
    await expect.poll(() => events.length).toBe(3);
    stop.abort();
    await reading;
    expect(events).toEqual([
      { type: ConnectionEventType.INITIAL_STATE_TRANSFER, connections: 0 },
      { type: ConnectionEventType.UPDATE, connections: 1 },
      { type: ConnectionEventType.DELETE, connections: 1 },
    ]);
  });

  it('refuses a caller that says no expiry', async () => {
    const { client } = await hopUnderTest();
    const connection = create(ConnectionSchema, {
      id: 'c-0',
      path: { index: 0, pathSegments: [{ name: 'client', id: 'c-0' }] },
    });
    await expect(client.request(request(connection), { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: 'update-token' },
    });
  });
});
