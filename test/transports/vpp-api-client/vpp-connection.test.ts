// Protects the client against a VPP that is slow, killed in the middle of calls, restarted, silent, floods with events or
// talks nonsense: calls end, the client says what it lost and connects again, and nothing is left open.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import type { Vpp, VppEvent, VppSubscriptionEvent } from '../../../protocols/ports/vpp.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import type { VppClientOptions } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import type { ModuleJson } from '../../protocols/vpp/api-notation.ts';
import { forwarderModules } from '../../protocols/vpp/forwarder-api.ts';
import { fixtureFolder } from '../../protocols/vpp/known-apis.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { FakeVpp, FakeVppOptions } from './fake-vpp.ts';
import { startFakeVpp } from './fake-vpp.ts';

const budget = { timeoutMs: 5000 };
const constructs = JSON.parse(
  readFileSync(join(fixtureFolder, 'constructs.api.json'), 'utf8'),
) as ModuleJson;
const modules = [...forwarderModules(), constructs];
const messageCount = modules.flatMap(({ messages }) => messages as unknown[]).length;
const quick = { retryAfterMs: 2, retryAfterMsMax: 10 };

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

async function start(options: Omit<FakeVppOptions, 'modules'> = {}): Promise<FakeVpp> {
  const fake = await startFakeVpp({ modules, ...options });
  open.push(fake);
  return fake;
}

function connect({ peer }: FakeVpp, limits: VppClientOptions['limits'] = {}): Vpp {
  const client = createVppClient({
    socketPath: peer.path,
    host: unixHost,
    limits: { ...quick, ...limits },
  });
  open.push(client);
  return client;
}

/** Leaves requests of these names without an answer. */
const swallowing =
  (...names: readonly string[]): NonNullable<FakeVppOptions['respond']> =>
  ({ name }) =>
    names.includes(name);

const wantInterfaces = {
  event: 'sw_interface_event',
  request: 'want_interface_events',
  start: { enable_disable: 1, pid: 42 },
  stop: { enable_disable: 0, pid: 42 },
} as const;

type InterfaceEvent = VppSubscriptionEvent<'sw_interface_event'>;

describe('a VPP that goes', () => {
  test('killed in the middle of calls: what changes fails, what reads is asked again, and both are told', async () => {
    const fake = await start({ respond: swallowing('delete_subif') });
    const client = connect(fake);
    const events: VppEvent[] = [];
    client.watch((event) => events.push(event));
    const change = client.request('delete_subif', { sw_if_index: 1 }, budget);
    const look = client.dump('sw_interface_dump', {}, budget);
    const failed = expect(change).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { rule: 'answer', found: expect.stringContaining('it may have happened') },
    });
    await eventually('the change arrives', 5000, () =>
      expect(fake.received).toContain('delete_subif'),
    );
    const again = client.read('control_ping', {}, budget);
    fake.pid = 2000;
    fake.hangUp();
    await failed;
    expect(await look).toEqual([]);
    expect((await again).vpe_pid).toBeGreaterThan(0);
    expect(events).toMatchObject([
      { kind: 'connected', pid: 1000, messageCount },
      { kind: 'lost', error: { code: 'UNAVAILABLE' } },
      { kind: 'connected', pid: 2000 },
    ]);
    expect(fake.received.filter((name) => name === 'delete_subif')).toHaveLength(1);
  });

  test('is told when the client leaves, which it might not notice', async () => {
    const fake = await start();
    const client = connect(fake);
    await client.read('show_version', {}, budget);
    await client.close();
    await eventually('the news', 5000, () => expect(fake.received.at(-1)).toBe('sockclnt_delete'));
    expect(fake.requests.at(-1)?.fields).toEqual({ index: 0x8000_0001 });
  });

  test('not there yet: calls wait, and say why when their time is over', async () => {
    const fake = await start();
    await fake.peer.stop();
    const client = connect(fake);
    await expect(client.read('control_ping', {}, { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { rule: 'connection', found: expect.stringContaining('ENOENT') },
    });
    const waiting = client.read('control_ping', {}, budget);
    await fake.peer.start();
    expect((await waiting).vpe_pid).toBe(1000);
  });

  test('ids are those of each connection, and definitions are read once for the same messages', async () => {
    const fake = await start();
    const client = connect(fake);
    await client.request('delete_subif', { sw_if_index: 1 }, budget);
    fake.hangUp();
    await client.read('show_version', {}, budget);
    await client.request('delete_subif', { sw_if_index: 2 }, budget);
    expect(fake.peer.accepted).toBe(2);
    expect(fake.received.filter((name) => name === 'get_api_json')).toHaveLength(1);
  });

  test('comes back with other messages: its definitions are read again', async () => {
    let isUpgraded = false;
    const fake = await start({
      keys: (all) => (isUpgraded ? all.filter((key) => !key.startsWith('memif')) : all),
    });
    const client = connect(fake);
    await client.request('memif_delete', { sw_if_index: 1 }, budget);
    isUpgraded = true;
    fake.hangUp();
    await client.read('show_version', {}, budget);
    expect(fake.received.filter((name) => name === 'get_api_json')).toHaveLength(2);
    await expect(client.request('memif_delete', { sw_if_index: 1 }, budget)).rejects.toMatchObject({
      code: 'UNIMPLEMENTED',
    });
  });
});

describe('a VPP that is slow or strange', () => {
  test('slow: calls end by their deadline or when they are cancelled, and a late answer harms nobody', async () => {
    const late: (() => void)[] = [];
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'add_node_next') return false;
        late.push(() => answer('add_node_next_reply', { next_index: 9 }));
        return true;
      },
    });
    const client = connect(fake);
    const arc = { node_name: 'a', next_name: 'b' };
    await client.read('control_ping', {}, budget);
    await expect(client.request('add_node_next', arc, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: 'sent, so it may have happened' },
    });
    const abandoned = new AbortController();
    const cancelled = client.request('add_node_next', arc, { ...budget, signal: abandoned.signal });
    await eventually('it arrives', 5000, () => expect(late).toHaveLength(2));
    abandoned.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
    late.forEach((answer) => answer());
    const third = client.request('add_node_next', arc, budget);
    await eventually('it arrives', 5000, () => expect(late).toHaveLength(3));
    late[2]?.();
    expect((await third).next_index).toBe(9);
    expect(fake.peer.accepted).toBe(1);
  });

  test('silent: it is probed, and left where it does not answer', async () => {
    let isSilent = false;
    const fake = await start({ respond: () => isSilent });
    const client = connect(fake, { probeAfterMs: 20, probeTimeoutMs: 20 });
    await client.read('show_version', {}, budget);
    const pings = () => fake.received.filter((name) => name === 'control_ping').length;
    const before = pings();
    await eventually('a probe that is answered', 5000, () =>
      expect(pings()).toBeGreaterThan(before + 1),
    );
    expect(fake.peer.accepted).toBe(1);
    isSilent = true;
    await eventually('another connection', 5000, () =>
      expect(fake.peer.accepted).toBeGreaterThan(1),
    );
  });

  test('too much to do is refused at once', async () => {
    const fake = await start({ respond: swallowing('delete_subif') });
    const client = connect(fake, { callsMax: 2 });
    const calls = [1, 2, 3].map((index) =>
      client.request('delete_subif', { sw_if_index: index }, { timeoutMs: 50 }),
    );
    const codes = (await Promise.allSettled(calls)).map((result) =>
      result.status === 'rejected' ? (result.reason as { code: string }).code : 'done',
    );
    expect(codes).toEqual(['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'RESOURCE_EXHAUSTED']);
  });

  test.each([
    [
      'a frame beyond the bound',
      Uint8Array.from([...new Uint8Array(8), 0xff, 0, 0, 0, ...new Uint8Array(4)]),
    ],
    ['a frame without a message', new Uint8Array(16)],
  ])('%s ends the connection, and the next one works', async (_, bytes) => {
    const fake = await start();
    const client = connect(fake);
    const lost: string[] = [];
    client.watch((event) => event.kind === 'lost' && lost.push(event.error.details.rule ?? ''));
    await client.read('show_version', {}, budget);
    fake.write(bytes);
    await eventually('the loss', 5000, () => expect(lost).toEqual(['frame length']));
    await client.read('show_version', {}, budget);
    expect(fake.peer.accepted).toBe(2);
  });

  test('something else at the socket is named when a call gives up', async () => {
    const fake = await start();
    const client = connect(fake, { frameBytesMax: 100 });
    await eventually('a second try', 5000, () => expect(fake.peer.accepted).toBeGreaterThan(1));
    await expect(client.read('control_ping', {}, { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: expect.stringContaining('a frame from VPP is beyond a bound') },
    });
  });

  test('definitions of no sense, from VPP itself, are told by the place', async () => {
    const fake = await start({
      respond: ({ name, answer }) => {
        if (name !== 'get_api_json') return false;
        answer('get_api_json_reply', { json: '[{"types":[]}]' });
        return true;
      },
    });
    const client = connect(fake);
    await eventually('a second try', 5000, () => expect(fake.peer.accepted).toBeGreaterThan(1));
    await expect(client.read('control_ping', {}, { timeoutMs: 20 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      details: { found: expect.stringContaining('break their format') },
    });
  });
});

describe('events', () => {
  test('come after the subscription, which is made anew on each connection', async () => {
    const fake = await start();
    const client = connect(fake);
    const seen: InterfaceEvent[] = [];
    const stop = client.subscribe(wantInterfaces, (event) => seen.push(event));
    await eventually('subscribed', 5000, () => expect(seen).toHaveLength(1));
    fake.emit('sw_interface_event', { pid: 42, sw_if_index: 3, flags: 3 });
    await eventually('an event', 5000, () => expect(seen).toHaveLength(2));
    fake.hangUp();
    await eventually('subscribed again', 5000, () => expect(seen).toHaveLength(4));
    expect(seen).toMatchObject([
      { kind: 'subscribed' },
      {
        kind: 'event',
        name: 'sw_interface_event',
        fields: { sw_if_index: 3, flags: 3, deleted: false },
      },
      { kind: 'lost', error: { code: 'UNAVAILABLE' } },
      { kind: 'subscribed' },
    ]);
    stop();
    fake.emit('sw_interface_event', { pid: 42, sw_if_index: 4 });
    await client.read('control_ping', {}, budget);
    expect(seen).toHaveLength(4);
    const asked = fake.requests.filter(({ name }) => name === 'want_interface_events');
    expect(asked.map(({ fields }) => fields['enable_disable'])).toEqual([1, 1, 0]);
  });

  test('a second listener shares the subscription, which ends with the last', async () => {
    const fake = await start();
    const client = connect(fake);
    const counts = [0, 0];
    const stops = counts.map((_, index) =>
      client.subscribe(wantInterfaces, ({ kind }) => {
        if (kind === 'event') counts[index] = (counts[index] ?? 0) + 1;
      }),
    );
    await client.read('control_ping', {}, budget);
    fake.emit('sw_interface_event', {});
    await eventually('both hear', 5000, () => expect(counts).toEqual([1, 1]));
    stops[0]?.();
    stops[0]?.();
    await client.read('control_ping', {}, budget);
    const asked = () => fake.received.filter((name) => name === 'want_interface_events').length;
    expect(asked()).toBe(1);
    stops[1]?.();
    await client.read('control_ping', {}, budget);
    expect(asked()).toBe(2);
  });

  test('one that VPP refuses, and one that it does not know, are told', async () => {
    const fake = await start({
      keys: (all) => all.filter((key) => !key.startsWith('wireguard_peer_event')),
      respond: ({ name, answer }) => {
        if (name !== 'want_interface_events') return false;
        answer('want_interface_events_reply', { retval: -31 });
        return true;
      },
    });
    const client = connect(fake);
    const seen: VppSubscriptionEvent<string>[] = [];
    client.subscribe(wantInterfaces, (event) => seen.push(event));
    client.subscribe(
      {
        event: 'wireguard_peer_event',
        request: 'want_wireguard_peer_events',
        start: { enable_disable: 1, pid: 1 },
        stop: { enable_disable: 0, pid: 1 },
      },
      (event) => seen.push(event),
    );
    await eventually('both', 5000, () => expect(seen).toHaveLength(2));
    expect(seen).toMatchObject([
      { kind: 'lost', error: { code: 'UNIMPLEMENTED' } },
      { kind: 'lost', error: { details: { rule: 'INVALID_REGISTRATION (-31)' } } },
    ]);
  });

  test('a request that asks for other events is told so', async () => {
    const seen: VppSubscriptionEvent<string>[] = [];
    const wrong = { ...wantInterfaces, event: 'wireguard_peer_event' };
    connect(await start()).subscribe(wrong, (event) => seen.push(event));
    await eventually('an error', 5000, () => expect(seen).toHaveLength(1));
    expect(seen).toMatchObject([
      { error: { code: 'INVALID_ARGUMENT', details: { expected: 'sw_interface_event' } } },
    ]);
  });

  test('too many are refused', async () => {
    const client = connect(await start(), { subscriptionsMax: 1 });
    client.subscribe(wantInterfaces, () => {});
    client.subscribe(wantInterfaces, () => {});
    const other = { ...wantInterfaces, start: { enable_disable: 1, pid: 43 } };
    expect(() => client.subscribe(other, () => {})).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
    );
  });

  test('a flood of 50,000 is heard in order, with a call in the middle of it', async () => {
    const fake = await start();
    const client = connect(fake);
    let heard = 0;
    let isInOrder = true;
    client.subscribe(wantInterfaces, (event) => {
      if (event.kind !== 'event') return;
      isInOrder &&= event.fields.sw_if_index === heard;
      heard += 1;
    });
    await client.read('control_ping', {}, budget);
    for (let index = 0; index < 50_000; index += 1) {
      fake.emit('sw_interface_event', { sw_if_index: index });
      if (index === 25_000) void client.read('control_ping', {}, budget);
    }
    await client.read('show_version', {}, { timeoutMs: 20_000 });
    await eventually('all of them', 20_000, () => expect(heard).toBe(50_000));
    expect(isInOrder).toBe(true);
  });
});

test('nothing is left: no descriptor of 50 clients that came and went, and every call has ended', async () => {
  const fake = await start();
  await eventually('a first client', 5000, async () => {
    const client = connect(fake);
    await client.read('control_ping', {}, budget);
    await client.close();
  });
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let turn = 0; turn < 50; turn += 1) {
    const client = connect(fake);
    client.subscribe(wantInterfaces, () => {});
    await client.read('control_ping', {}, budget);
    const unanswered = client
      .dump('sw_interface_dump', {}, budget)
      .catch((error: unknown) => error);
    await client.close();
    expect(await unanswered).toMatchObject({ code: 'UNAVAILABLE' });
    await expect(client.read('control_ping', {}, budget)).rejects.toMatchObject({
      details: { found: 'closed' },
    });
  }
  await eventually('descriptors are closed', 5000, () => expect(descriptors()).toBe(before));
});
