// Protects the OpenFlow client where a real switch rarely goes: other versions, echo, messages in pieces, errors that
// belong to one of many requests, a switch that goes in the middle of a commit, and nonsense on the wire.

import type { Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { addFlow, allFlows, fromPort, output } from '../../../protocols/ovs/flow-builders.ts';
import type { MessageBody, OpenFlowMessage } from '../../../protocols/ovs/openflow-messages.ts';
import { decodeMessage, encodeMessage } from '../../../protocols/ovs/openflow-messages.ts';
import { createFrameSplitter } from '../../../protocols/ovs/openflow-frames.ts';
import type { StreamHost } from '../../../protocols/ports/byte-stream.ts';
import type { OpenFlow, OpenFlowEvent } from '../../../protocols/ports/ovs.ts';
import type { OpenFlowClientOptions } from '../../../transports/openflow/openflow-client.ts';
import { createOpenFlowClient } from '../../../transports/openflow/openflow-client.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import { eventually } from '../../sandbox/eventually.ts';
import type { UnixPeer } from '../../sandbox/unix-peer.ts';
import { startUnixPeer } from '../../sandbox/unix-peer.ts';

const budget = { timeoutMs: 5000 };
const features = { datapathId: 1n, buffers: 0, tables: 254, auxiliaryId: 0, capabilities: 0 };

type Respond = (message: OpenFlowMessage, send: (body: MessageBody, xid?: number) => void) => void;

interface FakeSwitch {
  readonly peer: UnixPeer;
  readonly received: OpenFlowMessage[];
  socket: Socket | undefined;
}

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const part of open.splice(0).reverse()) await part.close();
});

async function startSwitch(
  respond: Respond,
  versions: readonly number[] = [4],
): Promise<FakeSwitch> {
  const received: OpenFlowMessage[] = [];
  const peer = await startUnixPeer((socket) => {
    fake.socket = socket;
    const splitter = createFrameSplitter();
    socket.write(encodeMessage({ kind: 'hello', xid: 0, versions }));
    socket.on('data', (chunk) => {
      for (const frame of splitter.push(Uint8Array.from(chunk))) {
        const message = decodeMessage(frame);
        received.push(message);
        const send = (body: MessageBody, xid = message.xid): void =>
          void socket.write(encodeMessage({ ...body, xid }));
        if (message.kind === 'featuresRequest') send({ kind: 'featuresReply', features });
        else respond(message, send);
      }
    });
  });
  const fake: FakeSwitch = { peer, received, socket: undefined };
  open.push(peer);
  return fake;
}

function connect({ peer }: FakeSwitch, limits: OpenFlowClientOptions['limits'] = {}): OpenFlow {
  const client = createOpenFlowClient({ socketPath: peer.path, host: unixHost, limits });
  open.push(client);
  return client;
}

const barriers: Respond = (message, send) => {
  if (message.kind === 'barrierRequest') send({ kind: 'barrierReply' });
};

const flow = (cookie: bigint) =>
  addFlow({ cookie, priority: 1, match: [fromPort(1)], actions: [output(2)] });

test('the handshake offers 1.3 alone and asks for events, and an echo is answered', async () => {
  const fake = await startSwitch(barriers);
  const client = connect(fake);
  expect(await client.features(budget)).toEqual(features);
  expect(fake.received.map(({ kind }) => kind)).toEqual([
    'hello',
    'setConfig',
    'setAsync',
    'featuresRequest',
  ]);
  expect(fake.received[0]).toMatchObject({ versions: [4] });
  const data = Uint8Array.of(1, 2, 3);
  fake.socket?.write(encodeMessage({ kind: 'echoRequest', xid: 99, data }));
  await eventually('the echo comes back', 5000, () =>
    expect(fake.received).toContainEqual({ kind: 'echoReply', xid: 99, data }),
  );
});

test('a switch of other versions is named when a call gives up', async () => {
  const client = connect(await startSwitch(barriers, [1, 6]));
  await expect(client.barrier({ timeoutMs: 200 })).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
    details: { rule: 'connection', found: expect.stringContaining('does not speak OpenFlow 1.3') },
  });
});

test('errors reach the request that caused them, of many at once', async () => {
  const fake = await startSwitch((message, send) => {
    barriers(message, send);
    if (message.kind !== 'flowMod' || message.mod.cookie % 3n !== 0n) return;
    const error = { type: 5, code: 1, experimenter: 0 };
    send({ kind: 'error', error, data: new Uint8Array(0) });
  });
  const client = connect(fake);
  const results = await Promise.allSettled(
    Array.from({ length: 30 }, (_, index) => client.program([flow(BigInt(index))], budget)),
  );
  for (const [index, result] of results.entries()) {
    if (index % 3 !== 0) expect(result.status).toBe('fulfilled');
    else {
      expect(result).toMatchObject({
        reason: {
          code: 'RESOURCE_EXHAUSTED',
          details: {
            rule: 'FLOW_MOD_FAILED/TABLE_FULL',
            found: expect.stringContaining(`cookie 0x${index.toString(16)}`),
          },
        },
      });
    }
  }
});

test('all parts of a change go in one write, since the switch takes a turn for what it finds waiting', async () => {
  const fake = await startSwitch(barriers);
  const writes: number[] = [];
  const host: StreamHost = {
    ...unixHost,
    openStream(path, events) {
      const stream = unixHost.openStream(path, events);
      const send = (bytes: Uint8Array): void => {
        writes.push(bytes.length);
        stream.send(bytes);
      };
      return { send, queuedBytes: 0, destroy: () => stream.destroy() };
    },
  };
  const client = createOpenFlowClient({ socketPath: fake.peer.path, host });
  open.push(client);
  await client.features(budget);
  writes.length = 0;
  await client.program([flow(1n), flow(2n), flow(3n)], budget);
  expect(writes).toHaveLength(1);
  const kinds = fake.received.map(({ kind }) => kind).slice(-4);
  expect(kinds).toEqual(['flowMod', 'flowMod', 'flowMod', 'barrierRequest']);
});

test('a part that the switch refuses keeps a bundle from being committed', async () => {
  const fake = await startSwitch((message, send) => {
    barriers(message, send);
    if (message.kind !== 'bundleAdd' || message.mod.cookie !== 2n) return;
    const error = { type: 0xffff, code: 2308, experimenter: 0x4f4e4600 };
    send({ kind: 'error', error, data: new Uint8Array(0) });
  });
  const client = connect(fake);
  await expect(client.commit([flow(1n), flow(2n), flow(3n)], budget)).rejects.toMatchObject({
    details: { rule: 'BUNDLE_FAILED/MSG_BAD_LEN', found: expect.stringContaining('2 of 3') },
  });
  await client.barrier(budget);
  const controls = fake.received.flatMap((message) =>
    message.kind === 'bundleControl' ? [message.control] : [],
  );
  expect(controls).toEqual(['openRequest', 'discardRequest']);
});

test('a bundle that the switch dropped for being idle is not committed under its number', async () => {
  let openXid = 0;
  const fake = await startSwitch((message, send) => {
    if (message.kind === 'bundleControl' && message.control === 'openRequest') {
      openXid = message.xid;
      send({ ...message, control: 'openReply' });
    }
    if (message.kind !== 'barrierRequest') return;
    const error = { type: 0xffff, code: 2314, experimenter: 0x4f4e4600 };
    send({ kind: 'error', error, data: new Uint8Array(0) }, openXid);
    send({ kind: 'barrierReply' });
  });
  const client = connect(fake);
  await expect(client.commit([flow(1n), flow(2n)], budget)).rejects.toMatchObject({
    code: 'ABORTED',
    details: { rule: 'BUNDLE_FAILED/TIMEOUT', found: 'the opening of a bundle' },
  });
});

test('a switch that goes in the middle of a commit leaves its outcome open, and the next call works', async () => {
  let isFirst = true;
  const fake = await startSwitch((message, send) => {
    barriers(message, send);
    if (message.kind !== 'bundleControl' || message.control !== 'commitRequest') return;
    if (isFirst) fake.socket?.destroy();
    else send({ ...message, control: 'commitReply' });
    isFirst = false;
  });
  const client = connect(fake);
  const events: OpenFlowEvent['kind'][] = [];
  client.watch(({ kind }) => events.push(kind));
  await expect(client.commit([flow(1n)], budget)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    details: { rule: 'answer' },
  });
  await client.commit([flow(1n)], budget);
  expect(events.filter((kind) => kind !== 'barrier')).toEqual(['connected', 'lost', 'connected']);
});

test('a commit given up before it is decided is discarded', async () => {
  const fake = await startSwitch(() => {});
  const client = connect(fake);
  await client.features(budget);
  await expect(client.commit([flow(1n)], { timeoutMs: 50 })).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
  });
  await eventually('a discard', 5000, () =>
    expect(fake.received.at(-1)).toMatchObject({
      kind: 'bundleControl',
      control: 'discardRequest',
    }),
  );
});

test('an answer in several messages is put together, within its bound', async () => {
  const entry = {
    table: 0,
    durationMs: 1,
    priority: 1,
    idleTimeoutSeconds: 0,
    hardTimeoutSeconds: 0,
    flags: 0,
    packets: 1n,
    bytes: 2n,
    match: [],
    instructions: [],
  };
  const fake = await startSwitch((message, send) => {
    if (message.kind !== 'multipartRequest') return;
    for (const cookie of [1n, 2n, 3n]) {
      const flows = [{ ...entry, cookie }];
      send({ kind: 'multipartReply', reply: { of: 'flow', flows }, more: cookie < 3n });
    }
  });
  const found = await connect(fake).flows(allFlows, budget);
  expect(found.map(({ cookie }) => cookie)).toEqual([1n, 2n, 3n]);
  await expect(connect(fake, { entriesMax: 2 }).flows(allFlows, budget)).rejects.toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
    details: { expected: 'at most 2' },
  });
  await expect(
    connect(fake, { modsMax: 1 }).commit([flow(1n), flow(2n)], budget),
  ).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { expected: 'at most 1', found: '2' },
  });
});

test.each([
  ['a length below the header', Uint8Array.of(4, 21, 0, 3, 0, 0, 0, 1)],
  ['another version', Uint8Array.of(6, 21, 0, 8, 0, 0, 0, 1)],
  ['a truncated structure', Uint8Array.of(4, 19, 0, 10, 0, 0, 0, 1, 0, 0)],
])('%s ends the connection; calls in flight fail and later ones succeed', async (_, bytes) => {
  let isFirst = true;
  const fake = await startSwitch((message, send) => {
    if (!isFirst) return barriers(message, send);
    if (message.kind !== 'barrierRequest') return;
    isFirst = false;
    fake.socket?.write(bytes);
  });
  const client = connect(fake);
  await expect(client.barrier(budget)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    details: { found: expect.stringContaining('breaks its format') },
  });
  await client.barrier(budget);
  expect(fake.peer.accepted).toBe(2);
});

test('a silent switch is probed, and left where it does not answer', async () => {
  const fake = await startSwitch(() => {});
  connect(fake, { probeAfterMs: 30, probeTimeoutMs: 30 });
  await eventually('a second connection', 5000, () =>
    expect(fake.peer.accepted).toBeGreaterThan(1),
  );
  expect(fake.received).toContainEqual(expect.objectContaining({ kind: 'echoRequest' }));
});
