// The serving side of gRPC, byte-compatible with the reference: paths from the descriptors, metadata as it is, and
// grpc.health.v1.Health beside the services. A unix socket is made as the reference makes it: parent folders created,
// a stale socket removed, mode 0777 (the identity of a peer is proven by TLS, not by the file's mode).

import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { NsmError } from '../../protocols/errors.ts';
import type { OperationGuard } from '../../protocols/messages/operation-guard.ts';
import { createOperationGuard } from '../../protocols/messages/operation-guard.ts';
import {
  CallsInFlight,
  listenerStopped,
  servedMethods,
} from '../../protocols/messages/served-call.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Listener, Listening, ServedService } from '../../protocols/ports/rpc.ts';
import type { GrpcAddress, PlaintextOptions } from './grpc-address.ts';
import { createPlaintextPolicy, parseGrpcUrl, publishedHost, tcpUrl } from './grpc-address.ts';
import { messageBytesMaxDefault } from './grpc-bytes.ts';
import { registerHealth } from './grpc-health.ts';
import type { GrpcHost, GrpcServedCall } from './grpc-served-calls.ts';
import { registerMethod } from './grpc-served-calls.ts';

export interface GrpcListenerOptions extends PlaintextOptions {
  readonly clock: Clock;
  readonly log?: Log;
  /** Calls and streams in flight per listener; beyond it a call is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax?: number;
  readonly messageBytesMax?: number;
  /** How often a connection is probed, so that a peer that vanished is noticed. */
  readonly keepaliveMs?: number;
  /** The guard of one listener; by default each has its own with default bounds. */
  readonly createGuard?: () => OperationGuard;
}

/** How long a peer that listens on a socket of the same path has to take a connection. */
const staleProbeMs = 1000;
/** How long refusals have to leave before connections are cut. */
const lastWordsMs = 200;

export function createGrpcListener(options: GrpcListenerOptions): Listener {
  const policy = createPlaintextPolicy(options);
  return {
    listen: async (url: string, services: readonly ServedService[]): Promise<Listening> => {
      const address = parseGrpcUrl(url);
      policy(address);
      const host = createHost(url, options);
      const server = createServer(host, services, options);
      const bound = await bind(server, address);
      options.log?.warn('listened without TLS', { url: bound });
      return { url: bound, close: (graceMs) => close(server, host, options.clock, graceMs) };
    },
  };
}

function createHost(url: string, options: GrpcListenerOptions): GrpcHost {
  return {
    url,
    clock: options.clock,
    guard: options.createGuard?.() ?? createOperationGuard({ clock: options.clock }),
    inFlight: new CallsInFlight<GrpcServedCall>(options.callsMax ?? 10_000),
    messageBytesMax: options.messageBytesMax ?? messageBytesMaxDefault,
  };
}

function createServer(
  host: GrpcHost,
  services: readonly ServedService[],
  options: GrpcListenerOptions,
): Server {
  const server = new Server({
    'grpc.max_receive_message_length': host.messageBytesMax,
    'grpc.max_send_message_length': host.messageBytesMax,
    'grpc.keepalive_time_ms': options.keepaliveMs ?? 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
  for (const served of servedMethods(services).values()) registerMethod(server, host, served);
  registerHealth(server, host, new Set(services.map(({ descriptor }) => descriptor.typeName)));
  return server;
}

async function bind(server: Server, address: GrpcAddress): Promise<string> {
  if (address.kind === 'unix') {
    await prepareSocket(address.path);
    await bindTarget(server, `unix:${address.path}`);
    await chmod(address.path, 0o777);
    return `unix://${address.path}`;
  }
  const { host, port } = address;
  if (host !== '') return tcpUrl(host, await bindTarget(server, tcpUrl(host, port).slice(6)));
  const bound = await bindTarget(server, `[::]:${port}`).catch(() =>
    // A machine without IPv6.
    bindTarget(server, `0.0.0.0:${port}`),
  );
  return tcpUrl(publishedHost(), bound);
}

function bindTarget(server: Server, target: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else {
        reject(
          new NsmError('UNAVAILABLE', 'cannot listen', {
            rule: 'bind',
            expected: `a free address ${target}`,
            found: error.message,
            cause: error,
          }),
        );
      }
    });
  });
}

async function prepareSocket(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) throw taken(path, 'a file that is no socket');
  if (await isServed(path)) throw taken(path, 'a socket that another process serves');
  await unlink(path);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (served: boolean): void => {
      socket.destroy();
      resolve(served);
    };
    socket.setTimeout(staleProbeMs, () => settle(true));
    socket.on('connect', () => settle(true));
    socket.on('error', () => settle(false));
  });
}

function taken(path: string, found: string): NsmError {
  return new NsmError('ALREADY_EXISTS', 'the path of the socket is taken', {
    rule: 'socket-path',
    expected: `${path} to be free, or a socket that nobody serves`,
    found,
    remedy: 'end the other process or choose another path',
  });
}

async function close(server: Server, host: GrpcHost, clock: Clock, graceMs: number): Promise<void> {
  const shutDown = new Promise<void>((resolve) => {
    const timer = clock.after(graceMs + lastWordsMs, () => server.forceShutdown());
    server.tryShutdown(() => {
      timer.cancel();
      resolve();
    });
  });
  await host.inFlight.drain(clock, graceMs, listenerStopped(host.url));
  await shutDown;
  // Connections that outlive a clean shutdown (a peer that never reads) are not kept.
  server.forceShutdown();
}
