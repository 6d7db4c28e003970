// Protects the rule that a stranger's bytes never end a process that serves gRPC: a real listener is sent mutated
// messages, metadata and raw HTTP/2 noise, and goes on answering others all the while.

import { connect } from 'node:net';
import { create, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../../protocols/nsm/gen/networkservice_pb.ts';
import type { Listening } from '../../../protocols/ports/rpc.ts';
import { createGrpc } from '../../../transports/grpc/grpc.ts';
import { parseGrpcUrl } from '../../../transports/grpc/grpc-address.ts';
import { clock } from '../../contract/rpc-bindings.ts';
import { Probe, testServices } from '../../contract/rpc-services.ts';

const grpc = createGrpc({ clock, insecure: true });
let listening: Listening;
let client: Client;

beforeAll(async () => {
  listening = await grpc.listener.listen('tcp://127.0.0.1:0', testServices(clock, new Probe()));
  client = new Client(listening.url.slice('tcp://'.length), credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await grpc.dialer.close();
  await listening.close(0);
});

const echo = async (): Promise<void> => {
  const answer = await grpc.dialer
    .dial(listening.url)
    .client(NetworkService)
    .request(create(NetworkServiceRequestSchema, { connection: { id: 'still here' } }), {
      timeoutMs: 10_000,
    });
  expect(answer.id).toBe('still here');
};

it('goes on serving others whatever messages and metadata a stranger sends', async () => {
  const body = toBinary(
    NetworkServiceRequestSchema,
    create(NetworkServiceRequestSchema, { connection: { id: 'c', networkService: 'echo' } }),
  );
  const message = fc.record({
    path: fc.constantFrom(
      '/networkservice.NetworkService/Request',
      '/networkservice.NetworkService/Close',
      '/grpc.health.v1.Health/Check',
      '/nothing/Here',
    ),
    at: fc.nat(body.length),
    noise: fc.uint8Array({ maxLength: 6 }),
    operation: fc.constantFrom('', 'a b 1 1', 'a b', '= = 1 1', ' '),
    error: fc.constantFrom('', '%', '{"code":"X"}'),
  });
  const outcomes = new Map<number, number>();
  const samples = fc.sample(message, { numRuns: 3000, seed: 1 });
  for (let start = 0; start < samples.length; start += 100) {
    const batch = samples.slice(start, start + 100).map((sample) => {
      const metadata = new Metadata();
      if (sample.operation !== '') metadata.set('vwire-operation', sample.operation);
      if (sample.error !== '') metadata.set('vwire-error', sample.error);
      const bytes = [
        ...body.subarray(0, sample.at),
        ...sample.noise,
        ...body.subarray(sample.at + sample.noise.length),
      ];
      return status(sample.path, Buffer.from(bytes), metadata);
    });
    for (const code of await Promise.all(batch)) outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
    await echo();
  }
  // Every call was answered, none by its deadline; both good and bad ones were among them.
  expect(outcomes.get(4)).toBeUndefined();
  expect([...outcomes.keys()]).toEqual(expect.arrayContaining([0, 3, 12]));
});

it('goes on serving others whatever bytes a stranger writes to the socket', async () => {
  const { port } = parseGrpcUrl(listening.url) as { port: number };
  const preface = [...Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')];
  const settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
  const tails = fc.sample(fc.uint8Array({ maxLength: 200 }), { numRuns: 300, seed: 1 });
  for (const [index, tail] of tails.entries()) {
    const start = index % 3 === 0 ? [] : index % 3 === 1 ? preface : [...preface, ...settings];
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.end(Uint8Array.from([...start, ...tail]));
      });
      // Node's HTTP/2 leaves a session that it has ended with GOAWAY to its peer to close.
      socket.on('finish', () => socket.destroy());
      socket.on('error', () => {}).on('close', () => resolve());
    });
    if (index % 50 === 0) await echo();
  }
  await echo();
});

function status(path: string, body: Buffer, metadata: Metadata): Promise<number> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(
      path,
      (bytes: Buffer) => bytes,
      (bytes) => bytes,
      body,
      metadata,
      { deadline: Date.now() + 10_000 },
      (error) => resolve(error?.code ?? 0),
    );
  });
}
