// recvmsg and sendmsg on a connected unix socket, with descriptors (SCM_RIGHTS of unix(7)) beside the bytes. Never waits.
// Structures as in the 64-bit Linux ABI: msghdr of 56 bytes, iovec of 16, cmsghdr of 16 before its data.

import koffi from 'koffi';
import { getSystemErrorName } from 'node:util';
import type { Descriptor } from '../../protocols/ports/descriptors.ts';

const library = koffi.load(null);
const recvmsg = library.func('intptr_t recvmsg(int, void *, int)') as SystemCall;
const sendmsg = library.func('intptr_t sendmsg(int, const void *, int)') as SystemCall;

type SystemCall = (socket: number, header: Uint8Array, flags: number) => number;

const dontWait = 0x40;
const noSignal = 0x4000;
/** MSG_CMSG_CLOEXEC: a process that is started meanwhile must not inherit what arrives. */
const closeOnExec = 0x4000_0000;
/** MSG_CTRUNC: the kernel had to throw descriptors away. */
const truncated = 0x8;

const socketLevel = 1;
const rights = 1;
const controlHeaderBytes = 16;
/** SCM_MAX_FD: as many as one message may carry. */
const descriptorsPerMessageMax = 253;

const errorAgain = 11;
const errorInterrupted = 4;

/** What the headers below point at must not be collected. */
const pinned: Buffer[] = [];

/** Shared by all calls: none of them gives the thread away between filling and reading them. */
const bytesIn = Buffer.alloc(65_536);
const controlIn = Buffer.alloc(controlHeaderBytes + alignedLength(4 * descriptorsPerMessageMax));
const headerIn = messageHeader(bytesIn, controlIn);
const byteOut = Buffer.alloc(1);
const controlOut = Buffer.alloc(controlHeaderBytes + alignedLength(4));
const headerOut = messageHeader(byteOut, controlOut);
controlOut.writeBigUInt64LE(BigInt(controlHeaderBytes + 4), 0);
controlOut.writeInt32LE(socketLevel, 8);
controlOut.writeInt32LE(rights, 12);

export interface SocketMessage {
  /** A copy. Empty at the end of the stream. */
  readonly bytes: Buffer;
  readonly descriptors: readonly Descriptor[];
  /** Descriptors were lost: this process may open no more, or the peer sent more than one message can carry. */
  readonly isTruncated: boolean;
}

/** Undefined where nothing is there now. Throws what the connection ended with. */
export function receiveMessage(socket: number): SocketMessage | undefined {
  headerIn.writeBigUInt64LE(BigInt(controlIn.length), 40);
  const count = Number(recvmsg(socket, headerIn, dontWait | closeOnExec));
  if (count < 0) {
    if (isTemporary(koffi.errno())) return undefined;
    throw callError('recvmsg');
  }
  const controlLength = Number(headerIn.readBigUInt64LE(40));
  return {
    bytes: Buffer.from(bytesIn.subarray(0, count)),
    descriptors: descriptorsOf(controlIn.subarray(0, controlLength)),
    isTruncated: (headerIn.readInt32LE(48) & truncated) !== 0,
  };
}

/** Sends one byte of the stream with one descriptor; false where there is no room now. Throws why it cannot. */
export function sendByteWith(socket: number, byte: number, descriptor: Descriptor): boolean {
  byteOut[0] = byte;
  controlOut.writeInt32LE(descriptor, controlHeaderBytes);
  if (Number(sendmsg(socket, headerOut, dontWait | noSignal)) === 1) return true;
  if (isTemporary(koffi.errno())) return false;
  throw callError('sendmsg');
}

function messageHeader(bytes: Buffer, control: Buffer): Buffer {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(koffi.address(bytes), 0);
  vector.writeBigUInt64LE(BigInt(bytes.length), 8);
  const header = Buffer.alloc(56);
  header.writeBigUInt64LE(koffi.address(vector), 16);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(koffi.address(control), 32);
  header.writeBigUInt64LE(BigInt(control.length), 40);
  pinned.push(vector, bytes, control);
  return header;
}

function descriptorsOf(control: Buffer): Descriptor[] {
  const found: Descriptor[] = [];
  for (let at = 0; at + controlHeaderBytes <= control.length; ) {
    const length = Number(control.readBigUInt64LE(at));
    if (length < controlHeaderBytes) break;
    const end = Math.min(at + length, control.length);
    if (control.readInt32LE(at + 8) === socketLevel && control.readInt32LE(at + 12) === rights) {
      for (let each = at + controlHeaderBytes; each + 4 <= end; each += 4) {
        found.push(control.readInt32LE(each));
      }
    }
    at += alignedLength(length);
  }
  return found;
}

function alignedLength(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

function isTemporary(number: number): boolean {
  return number === errorAgain || number === errorInterrupted;
}

function callError(call: string): Error {
  return new Error(`${call}: ${getSystemErrorName(-koffi.errno())}`);
}
