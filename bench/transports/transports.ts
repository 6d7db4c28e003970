// Round trips per second of each binding beside the raw limit of what carries it, in the same run and with the same
// message: bare NATS request/reply, bare grpc-js with bytes through, and a bare async function for memory. Caller and
// callee share this process (two connections), so a figure is what one core can do at both ends together.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { connect } from '@nats-io/transport-node';
import { type Connection, ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import { serve } from '../../protocols/ports/rpc.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { createMemoryNetwork } from '../../transports/memory/memory-network.ts';
import { connectNats } from '../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { startNatsServer } from '../../transports/nats/nats-server.ts';
import { systemClock as clock } from '../../transports/process/system-clock.ts';
import { openSecuredNats } from './secured-nats.ts';
import { type Figure, judge, median, type RunSuite } from '../figure.ts';

const roundMs = 1_000;
/** Rounds of each row; the rows take turns, so that a busy moment of the machine hits all of them. */
const rounds = 3;

/** A request as a client sends it: two segments with tokens, one mechanism, labels. */
const request = create(NetworkServiceRequestSchema, {
  connection: {
    id: '6f1c9f4e-6d3e-4d3c-9a51-0d6a3e6f7a10',
    networkService: 'icmp-responder',
    labels: { app: 'client', zone: 'a' },
    mechanism: { cls: 'LOCAL', type: 'KERNEL', parameters: { name: 'nsm-1' } },
    path: {
      index: 1,
      pathSegments: [0, 1].map((segment) => ({
        name: `segment-${segment}`,
        id: `6f1c9f4e-6d3e-4d3c-9a51-0d6a3e6f7a1${segment}`,
        token: 't'.repeat(400),
      })),
    },
  },
});
const bytes = Buffer.from(toBinary(NetworkServiceRequestSchema, request));

interface Contender {
  readonly name: string;
  /** The row that this one is measured against. */
  readonly limit?: string;
  call(): Promise<unknown>;
  close(): Promise<void>;
}

const open = (): readonly Promise<Contender>[] => [
  rawMemory(),
  ours('memory:', 'bare async function', () =>
    Promise.resolve({ ...createMemoryNetwork({ clock }), url: 'memory:peer' }),
  ),
  rawNats(),
  typedNats(),
  ours('nats:', 'bare NATS request/reply', async () => {
    const server = await startNatsServer();
    const open = (name: string) => connectNats({ url: server.url, name, clock, log: silentLog });
    const [near, far] = await Promise.all([open('near'), open('far')]);
    return {
      dialer: createNatsDialer(near),
      listener: createNatsListener(far),
      url: 'nats://dom/node/peer',
      close: async () => {
        await Promise.all([near.close(), far.close()]);
        await server.stop();
      },
    };
  }),
  ours('nats: with TLS, seals and tokens', 'nats:', openSecuredNats),
  rawGrpc(),
  ours('unix: (gRPC)', 'bare grpc-js, unix socket', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vwire-bench-'));
    return {
      ...createGrpc({ clock, insecure: true }),
      url: `unix://${folder}/peer.sock`,
      close: () => rm(folder, { recursive: true, force: true }),
    };
  }),
  ours('tcp: (gRPC)', 'bare grpc-js, unix socket', () =>
    Promise.resolve({ ...createGrpc({ clock, insecure: true }), url: 'tcp://127.0.0.1:0' }),
  ),
];

interface Opened {
  readonly dialer: Dialer;
  readonly listener: Listener;
  readonly url: string;
  readonly close?: () => Promise<void>;
}

async function ours(name: string, limit: string, open: () => Promise<Opened>): Promise<Contender> {
  const { dialer, listener, url, close } = await open();
  const service = serve(NetworkService, {
    request: (message) => Promise.resolve(message.connection as Connection),
    close: () => Promise.resolve(create(EmptySchema)),
  });
  const listening = await listener.listen(url, [service]);
  const client = dialer.dial(listening.url).client(NetworkService);
  return {
    name,
    limit,
    call: () => client.request(request, { timeoutMs: 10_000 }),
    close: async () => {
      await listening.close(0);
      await dialer.close();
      await close?.();
    },
  };
}

function rawMemory(): Promise<Contender> {
  const handle = async (): Promise<unknown> => await Promise.resolve(request.connection);
  return Promise.resolve({
    name: 'bare async function',
    call: handle,
    close: () => Promise.resolve(),
  });
}

async function rawNats(): Promise<Contender> {
  const server = await startNatsServer();
  const options = { servers: server.url, noAsyncTraces: true };
  const [near, far] = await Promise.all([connect(options), connect(options)]);
  far.subscribe('echo', { callback: (_, message) => void message.respond(message.data) });
  await far.flush();
  return {
    name: 'bare NATS request/reply',
    call: () => near.request('echo', bytes, { timeout: 10_000 }),
    close: async () => {
      await Promise.all([near.close(), far.close()]);
      await server.stop();
    },
  };
}

/** What the codec alone takes of the limit: the same request and answer, encoded and decoded at both ends. */
async function typedNats(): Promise<Contender> {
  const server = await startNatsServer();
  const options = { servers: server.url, noAsyncTraces: true };
  const [near, far] = await Promise.all([connect(options), connect(options)]);
  far.subscribe('echo', {
    callback: (_, message) => {
      const { connection } = fromBinary(NetworkServiceRequestSchema, message.data);
      message.respond(toBinary(ConnectionSchema, connection as Connection));
    },
  });
  await far.flush();
  return {
    name: 'the same with protobuf',
    limit: 'bare NATS request/reply',
    call: async () => {
      const body = toBinary(NetworkServiceRequestSchema, request);
      const answer = await near.request('echo', body, { timeout: 10_000 });
      return fromBinary(ConnectionSchema, answer.data);
    },
    close: async () => {
      await Promise.all([near.close(), far.close()]);
      await server.stop();
    },
  };
}

async function rawGrpc(): Promise<Contender> {
  const folder = await mkdtemp(join(tmpdir(), 'vwire-bench-'));
  const server = new Server();
  const through = (buffer: Buffer): Buffer => buffer;
  server.register<Buffer, Buffer>(
    '/raw/Echo',
    ((call: { request: Buffer }, callback: (error: null, answer: Buffer) => void) =>
      callback(null, call.request)) as never,
    through,
    through,
    'unary',
  );
  const target = `unix:${folder}/raw.sock`;
  await new Promise<void>((resolve, reject) => {
    const done = (error: Error | null): void => (error === null ? resolve() : reject(error));
    server.bindAsync(target, ServerCredentials.createInsecure(), done);
  });
  const client = new Client(target, credentials.createInsecure());
  return {
    name: 'bare grpc-js, unix socket',
    call: () =>
      new Promise((resolve, reject) => {
        const options = { deadline: Date.now() + 10_000 };
        client.makeUnaryRequest('/raw/Echo', through, through, bytes, options, (error, answer) =>
          error === null ? resolve(answer) : reject(error),
        );
      }),
    close: async () => {
      client.close();
      server.forceShutdown();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Round trips per second with this many callers, each waiting for its answer. */
async function measure(contender: Contender, callers: number): Promise<number> {
  const startedAt = performance.now();
  let calls = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - startedAt < roundMs) {
      await contender.call();
      calls += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (1000 * calls) / (performance.now() - startedAt);
}

const callersMany = 100;

interface Rounds {
  readonly alone: number[];
  readonly many: number[];
}

export const run: RunSuite = async (progress) => {
  const ready = await Promise.all(open());
  const results = new Map<string, Rounds>();
  for (const { name } of ready) results.set(name, { alone: [], many: [] });
  // The first round warms up and is not counted.
  for (let round = 0; round <= rounds; round += 1) {
    progress(`round ${round} of ${rounds}`);
    for (const contender of ready) {
      const alone = await measure(contender, 1);
      const many = await measure(contender, callersMany);
      if (round === 0) continue;
      results.get(contender.name)?.alone.push(alone);
      results.get(contender.name)?.many.push(many);
    }
  }
  for (const contender of ready) await contender.close();
  return ready.flatMap(({ name, limit }) =>
    limit === undefined ? [] : figuresOf(name, limit, results),
  );
};

function figuresOf(
  name: string,
  limitName: string,
  results: ReadonlyMap<string, Rounds>,
): readonly Figure[] {
  const of = (who: string, load: keyof Rounds): number => median(results.get(who)?.[load] ?? []);
  const figure = (load: keyof Rounds, callers: string): Figure =>
    judge({
      suite: 'transports',
      name: `${name}, ${callers}`,
      value: of(name, load),
      unit: 'per s',
      limitName,
      limitValue: of(limitName, load),
    });
  return [figure('alone', '1 caller'), figure('many', `${callersMany} callers`)];
}
