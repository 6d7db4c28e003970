// A TLS server whose unix sockets carry descriptors: it listens by a plain server, wraps what comes in, and hands it on.

import type { Server as NetServer } from 'node:net';
import { createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';
import type { FdPassing, PassingStream } from './passing-credentials.ts';

/** By the stream that TLS runs over. */
const descriptorsOf = new WeakMap<Duplex, PeerDescriptors>();

export function passingServer(fdPassing: FdPassing, tlsServer: TlsServer): NetServer {
  // Paused: what Node reads by itself comes without its descriptors.
  return createServer({ pauseOnConnect: true }, (socket) => {
    const stream: PassingStream | undefined = fdPassing.wrap(socket);
    if (stream !== undefined) descriptorsOf.set(stream, stream.descriptors);
    tlsServer.emit('connection', stream ?? socket);
  });
}

interface OverStream {
  readonly _handle?: { readonly _parentWrap?: { readonly stream?: Duplex } } | null;
}

/** What the connection beneath TLS carries. How Node keeps that stream is not documented. */
export function descriptorsBeneath(socket: TLSSocket): PeerDescriptors | undefined {
  const beneath = (socket as unknown as OverStream)._handle?._parentWrap?.stream;
  return beneath && descriptorsOf.get(beneath);
}
