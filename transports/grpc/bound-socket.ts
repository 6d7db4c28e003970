// The listening socket of a gRPC server. A unix socket is made as the reference makes it: parent folders created, a
// stale socket removed, mode 0777 (the identity of a peer is proven by TLS, not by the file's mode).

import { chmod, lstat, mkdir, unlink } from 'node:fs/promises';
import type { AddressInfo, ListenOptions, Server } from 'node:net';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import type { GrpcAddress } from './grpc-address.ts';
import { publishedHost, tcpUrl } from './grpc-address.ts';

/** How long a peer that listens on a socket of the same path has to take a connection. */
const staleProbeMs = 1000;

/** The URL under which peers reach it. Errors: UNAVAILABLE, ALREADY_EXISTS. */
export async function bindSocket(server: Server, address: GrpcAddress): Promise<string> {
  if (address.kind === 'unix') {
    await prepareSocket(address.path);
    await listen(server, { path: address.path }, address.path);
    await chmod(address.path, 0o777);
    return `unix://${address.path}`;
  }
  const { host, port } = address;
  if (host !== '') return tcpUrl(host, await listen(server, { host, port }, tcpUrl(host, port)));
  // Without a host Node listens on every address, of IPv4 alone on a machine without IPv6.
  return tcpUrl(publishedHost(), await listen(server, { port }, `tcp://:${port}`));
}

function listen(server: Server, options: ListenOptions, url: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error): void => {
      reject(
        new NsmError('UNAVAILABLE', 'cannot listen', {
          rule: 'bind',
          expected: `a free address ${url}`,
          found: error.message,
          cause: error,
        }),
      );
    };
    server.once('error', onError);
    server.listen(options, () => {
      server.off('error', onError);
      const bound = server.address() as AddressInfo | string;
      resolve(typeof bound === 'string' ? 0 : bound.port);
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
