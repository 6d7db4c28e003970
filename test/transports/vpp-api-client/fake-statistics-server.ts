// A server on a SOCK_SEQPACKET socket that gives each client one file and hangs up, as VPP's statistics segment does.
// Invariant: after `close` neither socket nor file is left.

import koffi from 'koffi';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const library = koffi.load(null);
const socket = library.func('int socket(int, int, int)') as (...numbers: number[]) => number;
const bind = library.func('int bind(int, const void *, uint32_t)') as BytesCall;
const listen = library.func('int listen(int, int)') as (socket: number, backlog: number) => number;
const accept = library.func('int accept4(int, void *, void *, int)') as (
  socket: number,
  address: null,
  length: null,
  flags: number,
) => number;
const sendmsg = library.func('intptr_t sendmsg(int, const void *, int)') as BytesCall;

type BytesCall = (socket: number, bytes: Uint8Array, number: number) => number;

const unixSeqpacket = [1, 5 | 0o4000 | 0o2000000, 0] as const;
const closeOnExec = 0o2000000;
const noSignal = 0x4000;

export interface FakeStatisticsServer {
  readonly path: string;
  accepted: number;
  /** Gives nothing until it is set back. */
  isSlow: boolean;
  /** Gives no file, and hangs up. */
  isEmpty: boolean;
  /** Puts bytes into the file, from its beginning. */
  write(bytes: Uint8Array): void;
  /** From now on clients get another file. */
  replace(bytes: Uint8Array): void;
  close(): Promise<void>;
}

export function startStatisticsServer(bytes: Uint8Array): FakeStatisticsServer {
  const folder = mkdtempSync(join(tmpdir(), 'vwstat-'));
  const path = join(folder, 'stats.sock');
  const files: number[] = [];
  const addFile = (content: Uint8Array): void => {
    const descriptor = openSync(join(folder, `file${files.length}`), 'w+');
    files.push(descriptor);
    writeSync(descriptor, content);
  };
  addFile(bytes);
  const listener = socket(...unixSeqpacket);
  const address = Buffer.alloc(110);
  address.writeUInt16LE(1, 0);
  address.write(path, 2);
  if (bind(listener, address, address.length) !== 0 || listen(listener, 8) !== 0) {
    throw new Error(`no listener at ${path}: errno ${koffi.errno()}`);
  }
  // Nothing tells that a client has come: Node watches no such socket.
  const timer = setInterval(() => {
    if (server.isSlow) return;
    const client = accept(listener, null, null, closeOnExec);
    if (client < 0) return;
    server.accepted += 1;
    if (!server.isEmpty) sendFile(client, files.at(-1) ?? 0);
    closeSync(client);
  }, 1);
  const server: FakeStatisticsServer = {
    path,
    accepted: 0,
    isSlow: false,
    isEmpty: false,
    write: (content) => void writeSync(files.at(-1) ?? 0, content, 0, content.length, 0),
    replace: addFile,
    close() {
      clearInterval(timer);
      closeSync(listener);
      for (const descriptor of files.splice(0)) closeSync(descriptor);
      rmSync(folder, { recursive: true, force: true });
      return Promise.resolve();
    },
  };
  return server;
}

/** A message of no bytes with one descriptor. */
function sendFile(client: number, file: number): void {
  const control = Buffer.alloc(24);
  control.writeBigUInt64LE(20n, 0);
  control.writeInt32LE(1, 8);
  control.writeInt32LE(1, 12);
  control.writeInt32LE(file, 16);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(koffi.address(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  // A client that has gone meanwhile is nobody's fault.
  sendmsg(client, header, noSignal);
}
