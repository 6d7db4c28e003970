// The listening end of a Workload API: a unix socket, or a TCP port on loopback, whose connections are handed out.
// Invariants: a socket file that somebody serves is never taken over; one that nobody serves is replaced.

import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { connect, createServer } from 'node:net';
import { dirname } from 'node:path';
import { NsmError } from '../../../protocols/errors.ts';
import { parseEndpoint } from '../endpoint-address.ts';

export interface SocketListener {
  /** A port given as 0 is filled in. */
  readonly url: string;
  /** Stops accepting and ends every connection. */
  close(): Promise<void>;
}

/** Connections held at once; a workload needs one. */
const connectionsMax = 1024;
/** How long a probe of a socket file waits before the file counts as served. */
const probeMs = 1_000;

/** `mode`: permissions of a unix socket's file. Errors: INVALID_ARGUMENT, ALREADY_EXISTS, UNAVAILABLE. */
export async function listenOn(
  url: string,
  mode: number,
  onConnection: (socket: Socket) => void,
): Promise<SocketListener> {
  const endpoint = parseEndpoint(url);
  if (endpoint.kind === 'tcp' && !isLoopback(endpoint.host)) {
    throw new NsmError('INVALID_ARGUMENT', 'a development Workload API stays on this machine', {
      rule: 'loopback',
      expected: 'a unix socket, 127.0.0.0/8 or ::1',
      found: endpoint.host,
    });
  }
  if (endpoint.kind === 'unix') await makeRoom(endpoint.path);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    onConnection(socket);
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const details = { rule: 'bind', expected: `a free address ${url}`, found: error.message };
      reject(new NsmError('UNAVAILABLE', 'cannot listen', { ...details, cause: error }));
    });
    if (endpoint.kind === 'unix') server.listen(endpoint.path, resolve);
    else server.listen(endpoint.port, endpoint.host, resolve);
  });
  if (endpoint.kind === 'unix') await chmod(endpoint.path, mode);
  const address = server.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  return {
    url: port === undefined ? url : url.replace(/:\d+$/, `:${port}`),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

const isLoopback = (host: string): boolean => host.startsWith('127.') || host === '::1';

async function makeRoom(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket() || (await isServed(path))) {
    throw new NsmError('ALREADY_EXISTS', 'the path of the socket is taken', {
      rule: 'socket-path',
      expected: `${path} to be free, or a socket that nobody serves`,
      found: found.isSocket() ? 'a socket that another process serves' : 'a file that is no socket',
    });
  }
  await unlink(path);
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const settle = (served: boolean): void => {
      socket.destroy();
      resolve(served);
    };
    socket.setTimeout(probeMs, () => settle(true));
    socket.on('connect', () => settle(true));
    socket.on('error', () => settle(false));
  });
}
