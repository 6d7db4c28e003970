// Protects the rule that a stranger's message never ends a process on the bus, nor slows it: a real component is sent
// mutated calls, frames, bodies and header blocks, and goes on answering others all the while.

import { create, toBinary } from '@bufbuild/protobuf';
import { connect, headers as natsHeaders, type NatsConnection } from '@nats-io/transport-node';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { decodeError, encodeCall, encodeFrame } from '../../../protocols/messages/call-envelope.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Dialer } from '../../../protocols/ports/rpc.ts';
import {
  asLibraryHeaders,
  decodeHeaderBlock,
  encodeHeaderBlock,
} from '../../../transports/nats/header-block.ts';
import type { NatsBus } from '../../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../../transports/nats/nats-listener.ts';
import { startNatsServer, type NatsServer } from '../../../transports/nats/nats-server.ts';
import { beatMs, clock, openBus } from '../../contract/rpc-bindings.ts';
import { Probe, testServices } from '../../contract/rpc-services.ts';

const url = 'nats://dom/node/component';
const prefix = 'nsm.dom.node.component';

let server: NatsServer;
let near: NatsBus;
let far: NatsBus;
let dialer: Dialer;
let stranger: NatsConnection;
let instance = '';

beforeAll(async () => {
  server = await startNatsServer();
  [near, far] = await Promise.all([openBus(server.url, 'near'), openBus(server.url, 'far')]);
  dialer = createNatsDialer(near, { beatMs });
  await createNatsListener(far, { beatMs, callsMax: 200 }).listen(
    url,
    testServices(clock, new Probe()),
  );
  stranger = await connect({ servers: server.url });
  // The instance that calls must name is told to anybody who asks.
  const line = encodeCall({ id: 'x', instance: undefined, startBy: 0, deadline: 0, window: 0 });
  const subject = `${prefix}.networkservice=2ENetworkService.Request`;
  const asked = natsHeaders();
  asked.set('vwire-call', line);
  const answer = await stranger.request(subject, new Uint8Array(), {
    timeout: 5000,
    headers: asked,
  });
  instance = answer.headers?.get('vwire-frame').split(' ')[2] ?? '';
});

afterAll(async () => {
  await dialer.close();
  await Promise.all([near.close(), far.close(), stranger.close()]);
  await server.stop();
});

const echo = async (): Promise<void> => {
  const answer = await dialer
    .dial(url)
    .client(NetworkService)
    .request(create(NetworkServiceRequestSchema, { connection: { id: 'still here' } }), {
      timeoutMs: 10_000,
    });
  expect(answer.id).toBe('still here');
};

it('goes on serving others whatever a stranger sends', async () => {
  const body = toBinary(
    NetworkServiceRequestSchema,
    create(NetworkServiceRequestSchema, { connection: { id: 'c', networkService: 'echo' } }),
  );
  const soon = () => clock.nowMs() + 60_000;
  const valid = (id: number): string =>
    encodeCall({ id: `f${id}`, instance, startBy: soon(), deadline: soon(), window: 64 });
  const message = fc.record({
    suffix: fc.constantFrom(
      'networkservice=2ENetworkService.Request',
      'networkservice=2ENetworkService.Close',
      'connection=2EMonitorConnection.MonitorConnections',
      'ipam=2EIPAM.ManagePrefixes',
      'nothing.here',
      '$call.f1',
      '$call.f2',
      '$call',
    ),
    id: fc.nat(50),
    kind: fc.constantFrom('data', 'end', 'beat', 'credit', 'cancel', 'answer', 'resync', 'refuse'),
    count: fc.oneof(fc.nat(5), fc.maxSafeNat()),
    operation: fc.constantFrom('', 'a b 1 1', 'a b 1', '= = 9 9', 'x y 99999999999999999999 1'),
    at: fc.nat(200),
    noise: fc.uint8Array({ maxLength: 6 }),
    mutateHeaders: fc.boolean(),
    reply: fc.constantFrom('', '_INBOX.stranger', `${prefix}.nothing.here`),
  });
  const samples = fc.sample(message, { numRuns: 10_000, seed: 1 });
  for (const [index, sample] of samples.entries()) {
    const fields: Record<string, string> = {
      'vwire-call': valid(sample.id),
      'vwire-frame': encodeFrame({
        kind: sample.kind as 'data',
        count: sample.count,
        instance,
        sentAt: 1,
      }),
      'x-user': 'value',
    };
    if (sample.operation !== '') fields['vwire-operation'] = sample.operation;
    const block = encodeHeaderBlock(fields);
    const preamble = 'NATS/1.0\r\n'.length;
    const sent = sample.mutateHeaders ? splice(block, preamble + sample.at, sample.noise) : block;
    stranger.publish(
      `${prefix}.${sample.suffix}`,
      sample.mutateHeaders ? body : splice(body, sample.at, sample.noise),
      { headers: asLibraryHeaders(sent), ...(sample.reply === '' ? {} : { reply: sample.reply }) },
    );
    if (index % 500 === 0) {
      await stranger.flush();
      await echo();
    }
  }
  await stranger.flush();
  await echo();
});

it('is not held up by a message of nothing but headers', async () => {
  const lines = Array.from({ length: 100_000 }, (_, at) => `${at.toString(36)}:`).join('\r\n');
  const block = Buffer.from(`NATS/1.0\r\n${lines}\r\n\r\n`);
  for (let at = 0; at < 20; at += 1) {
    stranger.publish(`${prefix}.nothing.here`, new Uint8Array(), {
      headers: asLibraryHeaders(block),
      reply: '_INBOX.stranger',
    });
  }
  await stranger.flush();
  await echo();
});

it('reads any header block within its bounds, and its own exactly', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/);
  const value = fc.stringMatching(/^(?:[!-~](?:[ -~]{0,30}[!-~])?)?$/);
  const fields = fc.dictionary(name, value, { maxKeys: 20, noNullPrototype: true });
  fc.assert(
    fc.property(fields, fc.nat(400), fc.uint8Array({ maxLength: 5 }), (sent, at, noise) => {
      const block = encodeHeaderBlock(sent);
      expect({ ...decodeHeaderBlock(block).headers }).toEqual({ ...sent });
      const read = decodeHeaderBlock(splice(block, at, noise));
      expect(Object.keys(read.headers).length).toBeLessThan(80);
    }),
    { numRuns: 20_000 },
  );
  expect(() => decodeHeaderBlock(new Uint8Array(1_000_000))).toThrow(/too large/);
});

function splice(bytes: Uint8Array, at: number, noise: Uint8Array): Uint8Array {
  const cut = Math.min(at, bytes.length);
  return Uint8Array.from([
    ...bytes.subarray(0, cut),
    ...noise,
    ...bytes.subarray(cut + noise.length),
  ]);
}

it('tells a caller of a newer version which one is read here, and serves it in that one', async () => {
  const subject = `${prefix}.networkservice=2ENetworkService.Request`;
  const soon = clock.nowMs() + 60_000;
  const ask = async (named: string, version: string) => {
    const line = encodeCall({
      id: `v-${named}`,
      instance: named,
      startBy: soon,
      deadline: soon,
      window: 64,
    });
    const asked = natsHeaders();
    asked.set('vwire-call', line + version);
    const { headers } = await stranger.request(subject, new Uint8Array(), {
      timeout: 5000,
      headers: asked,
    });
    const refusal = decodeError(headers?.get('vwire-error'));
    return { kind: headers?.get('vwire-frame').split(' ')[0], refusal };
  };
  expect(await ask('unknown', ' v2')).toMatchObject({ kind: 'resync' });
  expect(await ask(instance, ' v2')).toMatchObject({
    kind: 'refuse',
    refusal: { code: 'FAILED_PRECONDITION', details: { found: 'version 2' } },
  });
  await echo();
});
