// Protects the OVSDB client where a real server rarely goes: echo both ways, a server that knows only plain monitors,
// requests sent in order, a server that goes and comes back, answers with errors, and nonsense on the wire.

import type { Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { createJsonSplitter } from '../../../protocols/ovs/json-frames.ts';
import type { JsonObject } from '../../../protocols/ovs/json-frames.ts';
import { comment, select } from '../../../protocols/ovs/ovsdb-operations.ts';
import type { Ovsdb, OvsdbEvent } from '../../../protocols/ports/ovs.ts';
import type { OvsdbClientOptions } from '../../../transports/ovsdb/ovsdb-client.ts';
import { createOvsdbClient } from '../../../transports/ovsdb/ovsdb-client.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { UnixPeer } from '../../sandbox/unix-peer.ts';
import { startUnixPeer } from '../../sandbox/unix-peer.ts';

const budget = { timeoutMs: 5000 };
const schema = {
  name: 'Open_vSwitch',
  version: '1.0.0',
  tables: { Port: { columns: { name: { type: 'string' } } } },
};

interface FakeServer {
  readonly peer: UnixPeer;
  /** Requests and answers received, across connections. */
  readonly received: JsonObject[];
  socket: Socket | undefined;
}

type Respond = (message: JsonObject, send: (answer: unknown) => void) => void;

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

async function startServer(respond: Respond): Promise<FakeServer> {
  const received: JsonObject[] = [];
  const peer = await startUnixPeer((socket) => {
    server.socket = socket;
    const splitter = createJsonSplitter();
    const send = (answer: unknown): void => void socket.write(JSON.stringify(answer));
    socket.on('data', (chunk) => {
      for (const message of splitter.push(chunk)) {
        received.push(message);
        if (message['method'] === 'get_schema') {
          send({ id: message['id'], result: schema, error: null });
        } else respond(message, send);
      }
    });
  });
  const server: FakeServer = { peer, received, socket: undefined };
  open.push(peer);
  return server;
}

function connect({ peer }: FakeServer, limits: OvsdbClientOptions['limits'] = {}): Ovsdb {
  const client = createOvsdbClient({ socketPath: peer.path, host: unixHost, limits });
  open.push(client);
  return client;
}

const answerAll: Respond = ({ id, params }, send) => {
  const operations = (params as unknown[] | undefined)?.slice(1) ?? [];
  send({ id, result: operations.map(() => ({})), error: null });
};

const ports = [{ table: 'Port', columns: ['name'], where: [['name', '!=', 'hidden']] as const }];

test('an echo is answered, in the middle of requests that go out in order', async () => {
  const server = await startServer(answerAll);
  const client = connect(server);
  await client.schema(budget);
  server.socket?.write('{"method":"echo","params":["x",{"y":1}],"id":"echo"}');
  const texts = Array.from({ length: 50 }, (_, index) => `${index}`);
  await Promise.all(texts.map((text) => client.transact([comment(text)], budget)));
  const sent = server.received.filter(({ method }) => method === 'transact');
  expect(sent.map(({ params }) => (params as JsonObject[])[1]?.['comment'])).toEqual(texts);
  await eventually('the echo comes back', 5000, () =>
    expect(server.received).toContainEqual({ id: 'echo', result: ['x', { y: 1 }], error: null }),
  );
  server.socket?.write('{"method":"steal","params":[],"id":9}');
  await eventually('a refusal', 5000, () =>
    expect(server.received).toContainEqual(
      expect.objectContaining({ id: 9, error: { error: 'unknown method', details: 'steal' } }),
    ),
  );
});

test('a silent server is probed, and left where it does not answer', async () => {
  const server = await startServer(() => {});
  connect(server, { probeAfterMs: 30, probeTimeoutMs: 30 });
  await eventually('a second connection', 5000, () =>
    expect(server.peer.accepted).toBeGreaterThan(1),
  );
  expect(server.received).toContainEqual(expect.objectContaining({ method: 'echo' }));
});

test('a server that knows only plain monitors is asked for one, and its rows are filtered', async () => {
  const server = await startServer((message, send) => {
    const { id, method } = message;
    if (method === 'monitor_cond') send({ id, result: null, error: 'unknown method' });
    if (method !== 'monitor') return;
    const row = (name: string) => ({ new: { name } });
    send({ id, result: { Port: { a: row('seen'), b: row('hidden') } }, error: null });
    const [, name] = message['params'] as unknown[];
    const changes = {
      a: { old: { name: 'seen' } },
      b: { old: { name: 'hidden' }, ...row('shown') },
    };
    send({ id: null, method: 'update', params: [name, { Port: changes }] });
  });
  const events: OvsdbEvent[] = [];
  connect(server).monitor(ports, (event) => events.push(event));
  await eventually('both events', 5000, () => expect(events).toHaveLength(2));
  expect(events).toMatchObject([
    { kind: 'reset', rows: [{ uuid: 'a', row: { name: 'seen' } }] },
    {
      kind: 'changed',
      changes: [
        { kind: 'deleted', uuid: 'a' },
        { kind: 'inserted', uuid: 'b', row: { name: 'shown' } },
      ],
    },
  ]);
});

test('after a server came back the state is told anew, and waiting calls go out after the monitors', async () => {
  const names = ['first', 'second'];
  const server = await startServer((message, send) => {
    const { id, method } = message;
    if (method !== 'monitor_cond') return answerAll(message, send);
    const name = names.shift() ?? '';
    return send({ id, result: { Port: { a: { initial: { name } } } }, error: null });
  });
  const client = connect(server);
  const events: OvsdbEvent[] = [];
  const stop = client.monitor(ports, (event) => events.push(event));
  await eventually('the first state', 5000, () => expect(events).toHaveLength(1));
  await server.peer.stop();
  await eventually('the loss', 5000, () => expect(events).toHaveLength(2));
  server.received.length = 0;
  const waiting = client.transact([comment('waits')], budget);
  await server.peer.start();
  await waiting;
  expect(server.received.map(({ method }) => method)).toEqual([
    'get_schema',
    'monitor_cond',
    'transact',
  ]);
  expect(events).toMatchObject([
    { kind: 'reset', rows: [{ row: { name: 'first' } }] },
    { kind: 'lost', error: { code: 'UNAVAILABLE' } },
    { kind: 'reset', rows: [{ row: { name: 'second' } }] },
  ]);
  stop();
  await client.transact([comment('after')], budget);
  expect(server.received.map(({ method }) => method)).toContain('monitor_cancel');
});

test('errors reach the call that they belong to, and the connection goes on', async () => {
  const server = await startServer((message, send) => {
    const [, operation] = message['params'] as JsonObject[];
    if (operation?.['op'] === 'select') send({ id: message['id'], result: 5, error: null });
    else if (operation?.['comment'] === 'refuse') {
      send({ id: message['id'], result: null, error: { error: 'not allowed', details: 'No.' } });
    } else answerAll(message, send);
  });
  const client = connect(server);
  await expect(client.transact([comment('refuse')], budget)).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
    details: { rule: 'transact', found: 'No.' },
  });
  await expect(client.transact([select('Port', [])], budget)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { expected: 'a list of results', found: '5' },
  });
  await client.transact([comment('fine')], budget);
  expect(server.peer.accepted).toBe(1);
});

test('a monitor of what the database lacks is told so, and does not disturb others', async () => {
  const server = await startServer(answerAll);
  const client = connect(server);
  await client.schema(budget);
  const events: OvsdbEvent[] = [];
  client.monitor([{ table: 'Nope', columns: ['name'] }], (event) => events.push(event));
  expect(events).toMatchObject([
    { kind: 'lost', error: { code: 'NOT_FOUND', details: { found: 'Nope' } } },
  ]);
  await client.transact([comment('fine')], budget);
});

test('a server without the database is named when a call gives up', async () => {
  const peer = await startUnixPeer((socket) => {
    const splitter = createJsonSplitter();
    socket.on('data', (chunk) => {
      for (const { id } of splitter.push(chunk)) {
        const error = {
          error: 'unknown database',
          details: 'get_schema request specifies unknown database',
        };
        socket.write(JSON.stringify({ id, result: null, error }));
      }
    });
  });
  open.push(peer);
  const client = createOvsdbClient({ socketPath: peer.path, host: unixHost, database: 'Other' });
  open.push(client);
  await expect(client.transact([comment('x')], { timeoutMs: 200 })).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    details: { rule: 'connection', found: expect.stringContaining('unknown database') },
  });
});

test.each([
  ['no JSON', 'nonsense'],
  ['a message of no kind', '{}'],
  ['an endless message', `{"x":"${'y'.repeat(2000)}`],
])('%s ends the connection; calls in flight fail and later ones succeed', async (_, bytes) => {
  let isFirst = true;
  const server = await startServer((message, send) => {
    if (!isFirst) return answerAll(message, send);
    isFirst = false;
    server.socket?.write(bytes);
  });
  const client = connect(server, { messageBytesMax: 1000 });
  await expect(client.transact([comment('in flight')], budget)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    details: { found: expect.stringContaining('sent, so it may have happened') },
  });
  await client.transact([comment('later')], budget);
  expect(server.peer.accepted).toBe(2);
});

test('monitors are bounded, and nothing comes after a stop or a close', async () => {
  const server = await startServer(() => {});
  const client = connect(server, { monitorsMax: 1 });
  const events: OvsdbEvent[] = [];
  const stop = client.monitor(ports, (event) => events.push(event));
  expect(() => client.monitor(ports, () => {})).toThrow('too many monitors');
  stop();
  client.monitor(ports, (event) => events.push(event));
  const waiting = client.transact([comment('never answered')], budget);
  waiting.catch(() => {});
  await client.close();
  await expect(waiting).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(events).toEqual([]);
});
