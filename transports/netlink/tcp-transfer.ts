// A TCP transfer between two network namespaces, from this process: does the wire carry streams, and not only pings.
// A switch that hands on frames with unfinished checksums passes every ping and no stream.
// Invariants: both sockets are made inside their namespaces in one synchronous step; the call ends within its time, and
// nothing of it is left.

import { closeSync } from 'node:fs';
import { createServer, type Server, Socket } from 'node:net';
import { once } from 'node:events';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { NsmError } from '../../protocols/errors.ts';
import { checked, closeOnExec, libc, socketFamily } from './libc.ts';
import { inNamespace } from './namespace-switch.ts';
import { openNamespace } from './namespace-url.ts';

export interface TransferOptions {
  /** URL of the namespace that sends. */
  readonly from: string;
  /** URL of the namespace that receives, and its address there. */
  readonly to: string;
  readonly address: string;
  /** Absent: one that is free there. */
  readonly port?: number;
  readonly bytes: number;
  readonly timeoutMs: number;
}

const stream = 1;
/** SOCK_NONBLOCK is O_NONBLOCK. */
const nonBlocking = 0o4000;
const tcp = 6;
const chunkBytes = 64 * 1024;

/** Bytes that arrived; fewer than were sent where the time was over. Errors: NOT_FOUND, PERMISSION_DENIED. */
export async function transferOverTcp(options: TransferOptions): Promise<number> {
  const { from, to, address, port = 0, bytes, timeoutMs } = options;
  const server = createServer();
  within(to, () => server.listen(port));
  let received = 0;
  const all = new Promise<void>((resolve) => {
    server.on('connection', (peer) => {
      peer.on('data', (chunk: Uint8Array) => {
        received += chunk.length;
        if (received >= bytes) resolve();
      });
      peer.on('error', () => {});
    });
  });
  const client = within(from, () => openClient(address));
  client.on('error', () => {});
  try {
    const signal = AbortSignal.timeout(timeoutMs);
    await Promise.race([once(signal, 'abort'), sendAll(client, server, { address, bytes, all })]);
    return received;
  } finally {
    client.destroy();
    server.close();
  }
}

async function sendAll(
  client: Socket,
  server: Server,
  transfer: { readonly address: string; readonly bytes: number; readonly all: Promise<void> },
): Promise<void> {
  const { address, bytes, all } = transfer;
  if (!server.listening) await once(server, 'listening');
  const place = server.address();
  if (place === null || typeof place === 'string') throw noPort();
  client.connect(place.port, address);
  const chunk = new Uint8Array(chunkBytes);
  for (let sent = 0; sent < bytes; sent += chunkBytes) {
    client.write(sent + chunkBytes <= bytes ? chunk : chunk.subarray(0, bytes - sent));
  }
  await all;
}

/** Of a socket of this thread's namespace, whose number Node would only ask for later. */
function openClient(address: string): Socket {
  const family = parseIp(address).bytes.length === 4 ? socketFamily.inet : socketFamily.inet6;
  const fd = checked(
    libc.socket(family, stream | nonBlocking | closeOnExec, tcp),
    'open a TCP socket',
  );
  return new Socket({ fd, readable: true, writable: true });
}

function within<Result>(namespace: string, action: () => Result): Result {
  const descriptor = openNamespace(namespace);
  try {
    return inNamespace(descriptor, action);
  } finally {
    closeSync(descriptor);
  }
}

const noPort = (): NsmError => new NsmError('UNAVAILABLE', 'a TCP server has no port');
