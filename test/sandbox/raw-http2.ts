// A peer that is proven by its SVID and then says whatever bytes of HTTP/2 a test wants, or none.

import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect, type TLSSocket } from 'node:tls';
import type { Identity, IdentitySnapshot } from '../../protocols/ports/identity.ts';
import { tlsMaterial } from '../../protocols/spiffe/tls-material.ts';

/** A TLS connection to a unix socket or a loopback port whose handshake is done. */
export async function provenSocket(url: string, identity: Identity): Promise<TLSSocket> {
  const { cert, key } = tlsMaterial(identity.current() as IdentitySnapshot);
  const socket = connect({
    ...placeOf(url),
    cert,
    key,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

/** Where that URL is, as `net.connect` wants it. */
export function placeOf(url: string): { path: string } | { host: string; port: number } {
  const path = /^unix:\/\/(.*)$/.exec(url)?.[1];
  if (path !== undefined) return { path };
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

export async function provenSession(url: string, identity: Identity): Promise<ClientHttp2Session> {
  const socket = await provenSocket(url, identity);
  const session = connectHttp2('https://peer', {
    createConnection: () => socket,
    maxSendHeaderBlockLength: 16 * 1024 * 1024,
  });
  session.on('error', () => {});
  await once(session, 'connect');
  return session;
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** Frame types and flags of RFC 9113, section 6. */
export const frameType = { data: 0, headers: 1, reset: 3, settings: 4, goAway: 7 } as const;
export const endHeaders = 4;

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export const opening = Buffer.concat([preface, frame(frameType.settings, 0, 0, Buffer.alloc(0))]);

/** A header block without compression (RFC 7541, 6.2.2), for values of less than 127 bytes. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(headers).flatMap(([name, value]) => [
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
  return Buffer.concat(parts);
}

export const callHeaders = (path: string) => ({
  ':method': 'POST',
  ':scheme': 'https',
  ':path': path,
  ':authority': 'peer',
  'content-type': 'application/grpc',
  te: 'trailers',
});

/** A gRPC message of that many bytes, of which only the first `sent` are there. */
export function partOfMessage(bytes: number, sent: number): Buffer {
  const part = Buffer.alloc(5 + sent);
  part.writeUInt32BE(bytes, 1);
  return part;
}
