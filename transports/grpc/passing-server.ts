// A TLS server whose unix sockets carry descriptors: it listens by a plain server, wraps what comes in, and hands it on.

import type { Server as NetServer } from 'node:net';
import { createServer } from 'node:net';
import type { Duplex } from 'node:stream';
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

type Wrap = Duplex & { readonly stream?: Duplex };
interface OverStream {
  readonly _handle?: { readonly _parentWrap?: Wrap } | null;
}

/** What the TLS server was given. How Node keeps it is not documented. */
export function beneath(socket: TLSSocket): Duplex | undefined {
  const wrap = (socket as unknown as OverStream)._handle?._parentWrap;
  return wrap?.stream ?? wrap;
}

/** What the connection beneath TLS carries, now that the peer is known. */
export function admitBeneath(socket: TLSSocket): PeerDescriptors | undefined {
  const stream = beneath(socket);
  if (stream === undefined || !wrapped.has(stream)) return undefined;
  const passing = stream as PassingStream;
  passing.admit();
  return passing.descriptors;
}
