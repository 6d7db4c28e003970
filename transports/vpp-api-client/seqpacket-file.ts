// Asks a server on a SOCK_SEQPACKET unix socket for the one file that it hands out, by SCM_RIGHTS of unix(7): Node opens
// no such socket. Nothing here waits in the kernel. Structures as in the 64-bit Linux ABI.

import koffi from 'koffi';
import { closeSync } from 'node:fs';
import { getSystemErrorName } from 'node:util';
import { NsmError } from '../../protocols/errors.ts';

const library = koffi.load(null);
const socket = library.func('int socket(int, int, int)') as (...numbers: number[]) => number;
const connectTo = library.func('int connect(int, const void *, uint32_t)') as (
  socket: number,
  address: Uint8Array,
  length: number,
) => number;
const recvmsg = library.func('intptr_t recvmsg(int, void *, int)') as (
  socket: number,
  header: Uint8Array,
  flags: number,
) => number;

const familyUnix = 1;
const seqpacket = 5;
const nonBlocking = 0o4000;
const closeOnExec = 0o2000000;
const dontWait = 0x40;
/** MSG_CMSG_CLOEXEC: a process that is started meanwhile must not inherit what arrives. */
const received = 0x4000_0000;
const socketLevel = 1;
const rights = 1;
const errorAgain = 11;
const errorInterrupted = 4;
/** Of sun_path, without its end. */
const pathBytesMax = 107;
const controlHeaderBytes = 16;
const descriptorBytes = 4;

/** What the header points at must not be collected. A variable that no function uses does not keep it. */
const pinned: Buffer[] = [];

/** Shared by all calls, none of which gives the thread away. */
const controlIn = Buffer.alloc(controlHeaderBytes + 2 * descriptorBytes);
const headerIn = messageHeader(Buffer.alloc(1), controlIn);

function messageHeader(data: Buffer, control: Buffer): Buffer {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(koffi.address(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(koffi.address(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi.address(control), 32);
  pinned.push(data, vector, control);
  return header;
}

/** The connected socket, the caller's to close. Errors: UNAVAILABLE, INVALID_ARGUMENT (too long a path). */
export function connectSeqpacket(path: string): number {
  const bytes = Buffer.from(path);
  if (bytes.length > pathBytesMax) {
    throw new NsmError('INVALID_ARGUMENT', 'the path of a socket is too long', {
      rule: 'socket',
      expected: `at most ${pathBytesMax} bytes`,
      found: path,
    });
  }
  const descriptor = socket(familyUnix, seqpacket | nonBlocking | closeOnExec, 0);
  if (descriptor < 0) throw callError('socket', path);
  const address = Buffer.alloc(2 + pathBytesMax + 1);
  address.writeUInt16LE(familyUnix, 0);
  bytes.copy(address, 2);
  if (connectTo(descriptor, address, address.length) === 0) return descriptor;
  const error = callError('connect', path);
  closeSync(descriptor);
  throw error;
}

/** The file, the caller's to close; undefined where it has not come yet. Errors: UNAVAILABLE. */
export function receiveFile(descriptor: number, path: string): number | undefined {
  headerIn.writeBigUInt64LE(BigInt(controlIn.length), 40);
  const count = Number(recvmsg(descriptor, headerIn, dontWait | received));
  if (count < 0) {
    if ([errorAgain, errorInterrupted].includes(koffi.errno())) return undefined;
    throw callError('recvmsg', path);
  }
  const isFile =
    headerIn.readBigUInt64LE(40) >= BigInt(controlHeaderBytes + descriptorBytes) &&
    controlIn.readInt32LE(8) === socketLevel &&
    controlIn.readInt32LE(12) === rights;
  // A file alone, without a byte beside it, is what VPP sends.
  if (isFile) return controlIn.readInt32LE(controlHeaderBytes);
  throw new NsmError('UNAVAILABLE', 'a server gave no file', {
    hop: path,
    rule: 'recvmsg',
    expected: 'a descriptor',
    found: `${count} bytes, then the end`,
  });
}

function callError(call: string, path: string): NsmError {
  return new NsmError('UNAVAILABLE', 'a server cannot be reached', {
    hop: path,
    rule: call,
    found: getSystemErrorName(-koffi.errno()),
  });
}
