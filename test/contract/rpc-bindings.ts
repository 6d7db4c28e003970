// The three bindings as the RPC contract suite opens them: real sockets, a real nats-server, real identities, real child
// processes.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createFdPassing } from '../../transports/fd-passing/fd-passing.ts';
import type { GrpcOptions } from '../../transports/grpc/grpc.ts';
import { createGrpc } from '../../transports/grpc/grpc.ts';
import { createMemoryNetwork } from '../../transports/memory/memory-network.ts';
import { createSimulatedNetwork } from '../../transports/memory/simulated-network.ts';
import { BusSeals } from '../../transports/nats/bus-seals.ts';
import { connectNats } from '../../transports/nats/nats-bus.ts';
import { createNatsDialer } from '../../transports/nats/nats-dialer.ts';
import { createNatsListener } from '../../transports/nats/nats-listener.ts';
import { startNatsServer } from '../../transports/nats/nats-server.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { TestIdentities } from '../sandbox/identities.ts';

export const clock = systemClock;

/** Short, so that a test which waits for a missed beat is quick. */
export const beatMs = 200;

/** A binding that is open for one test. */
export interface OpenBinding {
  readonly dialer: Dialer;
  readonly listener: Listener;
  /** To listen on; the listener says where it is reached. */
  readonly url: string;
  /** A URL of the same binding where nobody listens. */
  readonly emptyUrl: string;
  /** Starts a child process that serves the test services; undefined where there is no other process. */
  readonly startPeer?: () => Promise<PeerProcess>;
  close(): Promise<void>;
}

export interface PeerProcess {
  readonly url: string;
  /** kill -9, resolved once the process is gone. */
  kill(): Promise<void>;
}

export interface Binding {
  readonly name: string;
  /** Bytes of one message; undefined where messages are handed over. */
  readonly messageBytesMax: number | undefined;
  open(): Promise<OpenBinding>;
}

export const memoryBinding: Binding = {
  name: 'memory',
  messageBytesMax: undefined,
  open: () => {
    const { dialer, listener } = createMemoryNetwork({ clock });
    return Promise.resolve({
      dialer,
      listener,
      url: 'memory:peer',
      emptyUrl: 'memory:nobody',
      close: () => dialer.close(),
    });
  },
};

/** The network of simulated meshes with nothing wrong on its links, between two processes of two machines. */
export const simulatedBinding: Binding = {
  name: 'the simulated network',
  messageBytesMax: undefined,
  open: () => {
    const links = { carry: () => [1], cutSinceMs: () => undefined };
    const network = createSimulatedNetwork({ clock, random: systemRandom, links });
    const near = network.attach({ name: 'near', place: 'near', clock });
    const far = network.attach({ name: 'far', place: 'far', clock });
    return Promise.resolve({
      dialer: near.dialer,
      listener: far.listener,
      url: 'memory:peer',
      emptyUrl: 'memory:nobody',
      close: () => near.dialer.close(),
    });
  },
};

export const natsBinding: Binding = {
  name: 'nats',
  messageBytesMax: 1024 * 1024,
  open: async () => {
    const server = await startNatsServer();
    const [near, far] = await Promise.all([
      openBus(server.url, 'near'),
      openBus(server.url, 'far'),
    ]);
    const dialer = createNatsDialer(near, { beatMs });
    return {
      dialer,
      listener: createNatsListener(far, { beatMs }),
      url: 'nats://dom.example/node%201/forwarder*',
      emptyUrl: 'nats://dom.example/node%201/nobody',
      startPeer: () => startPeer('nats', server.url),
      close: async () => {
        await dialer.close();
        await Promise.all([near.close(), far.close()]);
        await server.stop();
      },
    };
  },
};

/** Caller and callee have an identity each, and prove it to each other on a bus that proves nothing. */
export const sealedNatsBinding: Binding = {
  name: 'nats with identities',
  messageBytesMax: 1024 * 1024,
  open: async () => {
    const server = await startNatsServer();
    const identities = new TestIdentities();
    const [near, far] = await Promise.all([
      openBus(server.url, 'near'),
      openBus(server.url, 'far'),
    ]);
    const seals = sealsOf(identities);
    const [caller, callee] = await Promise.all([seals('caller'), seals('callee')]);
    const dialer = createNatsDialer(near, { beatMs, seals: caller });
    return {
      dialer,
      listener: createNatsListener(far, { beatMs, seals: callee }),
      url: 'nats://dom.example/node%201/forwarder*',
      emptyUrl: 'nats://dom.example/node%201/nobody',
      startPeer: async () => startPeer('nats', server.url, await identities.socketOf('peer')),
      close: async () => {
        await dialer.close();
        await Promise.all([near.close(), far.close()]);
        caller.close();
        callee.close();
        await identities.close();
        await server.stop();
      },
    };
  },
};

export function sealsOf(identities: TestIdentities) {
  return async (name: string): Promise<BusSeals> => {
    const identity = await identities.source(name);
    return new BusSeals({ identity, wallClock: systemWallClock, log: silentLog });
  };
}

export function openBus(url: string, name: string, log = silentLog) {
  return connectNats({ url, name, clock, log });
}

export const grpcUnixBinding: Binding = {
  name: 'gRPC over a unix socket',
  messageBytesMax: 4 * 1024 * 1024,
  open: async () => {
    const folder = await mkdtemp(join(tmpdir(), 'vwire-rpc-'));
    const grpc = createGrpc({ clock, insecure: true });
    return {
      ...grpc,
      url: `unix://${folder}/a/nsm.sock`,
      emptyUrl: `unix://${folder}/nobody.sock`,
      startPeer: () => startPeer('grpc', `unix://${folder}/peer.sock`),
      close: async () => {
        await grpc.dialer.close();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
};

export const grpcTcpBinding: Binding = {
  name: 'gRPC over TCP',
  messageBytesMax: 4 * 1024 * 1024,
  open: () => {
    const grpc = createGrpc({ clock, insecure: true });
    return Promise.resolve({
      ...grpc,
      url: 'tcp://127.0.0.1:0',
      emptyUrl: 'tcp://127.0.0.1:1',
      startPeer: () => startPeer('grpc', 'tcp://127.0.0.1:0'),
      close: () => grpc.dialer.close(),
    });
  },
};

export const mutualTlsUnixBinding: Binding = {
  name: 'gRPC with mutual TLS over a unix socket',
  messageBytesMax: 4 * 1024 * 1024,
  open: () => openInFolder(),
};

export const mutualTlsTcpBinding: Binding = {
  name: 'gRPC with mutual TLS over TCP',
  messageBytesMax: 4 * 1024 * 1024,
  open: async () => ({
    ...(await openMutualTls('tcp://127.0.0.1:0')),
    url: 'tcp://127.0.0.1:0',
    emptyUrl: 'tcp://127.0.0.1:1',
  }),
};

/** The same over sockets that carry descriptors, which reads them another way. */
export const passingUnixBinding: Binding = {
  name: 'gRPC with mutual TLS over a unix socket with descriptors',
  messageBytesMax: 4 * 1024 * 1024,
  open: () => openInFolder({ fdPassing: createFdPassing({ clock, log: silentLog }) }),
};

/** Mutual TLS over unix sockets in a folder of their own. */
async function openInFolder(options: Partial<GrpcOptions> = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'vwire-rpc-'));
  const opened = await openMutualTls(`unix://${folder}/peer.sock`, options);
  return {
    ...opened,
    url: `unix://${folder}/a/nsm.sock`,
    emptyUrl: `unix://${folder}/nobody.sock`,
    close: async () => {
      await opened.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Caller and callee have an identity each, as in two processes. */
async function openMutualTls(peerUrl: string, options: Partial<GrpcOptions> = {}) {
  const identities = new TestIdentities();
  const tls = async (name: string) => ({
    clock,
    tls: { identity: await identities.source(name), wallClock: systemWallClock },
    ...options,
  });
  const { dialer } = createGrpc(await tls('caller'));
  return {
    dialer,
    listener: createGrpc(await tls('callee')).listener,
    startPeer: async () => startPeer('grpc', peerUrl, await identities.socketOf('peer')),
    close: async () => {
      await dialer.close();
      await identities.close();
    },
  };
}

const peerProgram = fileURLToPath(new URL('rpc-peer.ts', import.meta.url));

async function startPeer(
  binding: 'nats' | 'grpc',
  url: string,
  ...identity: readonly string[]
): Promise<PeerProcess> {
  const args = ['--import', 'tsx', peerProgram, binding, url, ...identity];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [listening] = (await Promise.race([
    once(lines, 'line'),
    gone.then(() => Promise.reject(new Error('the peer process ended before it listened'))),
  ])) as [string];
  return {
    url: listening,
    kill: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}
