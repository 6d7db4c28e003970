// A TLS server whose unix sockets carry descriptors: it listens by a plain server, wraps what comes in, and hands it on.

import type { Server as NetServer } from 'node:net';
import { createServer } from 'node:net';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { FdPassing, PassingStream } from './passing-credentials.ts';

const wrapped = new WeakSet<object>();

export function passingServer(fdPassing: FdPassing, tlsServer: TlsServer): NetServer {
  // Paused: what Node reads by itself comes without its descriptors.
  return createServer({ pauseOnConnect: true }, (socket) => {
    const stream = fdPassing.wrap(socket);
    if (stream !== undefined) wrapped.add(stream);
    tlsServer.emit('connection', stream ?? socket);
  });
}

interface OverStream {
  readonly _handle?: { readonly _parentWrap?: { readonly stream?: PassingStream } } | null;
}

/**
 * What the connection beneath TLS carries, now that the peer is known. How Node keeps that stream is not documented.
 */
export function admitBeneath(socket: TLSSocket): PeerDescriptors | undefined {
  const stream = (socket as unknown as OverStream)._handle?._parentWrap?.stream;
  if (stream === undefined || !wrapped.has(stream)) return undefined;
  stream.admit();
  return stream.descriptors;
}
