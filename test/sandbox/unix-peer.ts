// A server on a unix socket of its own for tests of clients: hands each connection to a script, and can be stopped
// and started again under the same path. Invariant: after `close` neither socket nor file is left.

import { mkdtempSync, rmSync } from 'node:fs';
import type { Server, Socket } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface UnixPeer {
  readonly path: string;
  /** Connections accepted so far. */
  readonly accepted: number;
  start(): Promise<void>;
  /** Ends every connection and refuses further ones. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

export async function startUnixPeer(onConnection: (socket: Socket) => void): Promise<UnixPeer> {
  const folder = mkdtempSync(join(tmpdir(), 'vwpeer-'));
  const path = join(folder, 'peer.sock');
  const sockets = new Set<Socket>();
  let server: Server | undefined;
  let accepted = 0;
  const stop = async (): Promise<void> => {
    const stopping = server;
    server = undefined;
    for (const socket of sockets) socket.destroy();
    if (stopping !== undefined) await new Promise((resolve) => stopping.close(resolve));
  };
  const start = (): Promise<void> => {
    const starting = createServer((socket) => {
      accepted += 1;
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => sockets.delete(socket));
      onConnection(socket);
    });
    server = starting;
    return new Promise((resolve) => starting.listen(path, resolve));
  };
  await start();
  return {
    path,
    get accepted() {
      return accepted;
    },
    start,
    stop,
    async close() {
      await stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
