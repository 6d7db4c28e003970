// One netlink socket and the exchange of one request, dump or transaction on it. Runs in a worker.
// The kernel answers before `send` returns, so reading never waits; an answer that is not there is an error.
// Invariant: answers are matched by sequence number; whatever a dump left behind is skipped.

import { NsmError } from '../../protocols/errors.ts';
import type { NetlinkMessage } from '../../protocols/netlink/codec.ts';
import {
  isLittleEndian,
  parseAttributes,
  parseMessages,
  readText,
  readU32,
  sequenceOffset,
  viewOf,
} from '../../protocols/netlink/codec.ts';
import { errorFlag, flag, messageType } from '../../protocols/netlink/constants.ts';
import { errno } from '../../protocols/netlink/errno.ts';
import { callError, checked, closeOnExec, dontWait, lastErrno, libc } from './libc.ts';
import { socketFamily } from './libc.ts';

const socketRaw = 3;
/** SOL_NETLINK and NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK of linux/netlink.h. */
const socketLevel = 270;
const socketOptions = [10, 11, 12];
/** EIO stands for an answer that the kernel owed us. */
const noAnswer = 5;
const receiveBuffer = new Uint8Array(256 * 1024);
/** A dump that is interrupted by changes is repeated so often. */
const dumpAttemptsMax = 5;

/** What came back for one request. */
export interface Exchange {
  /** 0 for success. */
  readonly errno: number;
  /** The kernel's own words, where it gave some. */
  readonly words: string;
  readonly messages: readonly NetlinkMessage[];
}

/** Opens a socket in the namespace that the calling thread is in. */
export function openNetlinkSocket(protocol: number, groups = 0): number {
  const socket = checked(
    libc.socket(socketFamily.netlink, socketRaw | closeOnExec, protocol),
    'open a netlink socket',
  );
  const one = new Uint8Array(new Int32Array([1]).buffer);
  for (const option of socketOptions) libc.setsockopt(socket, socketLevel, option, one, 4);
  // sockaddr_nl: family u16, pad, port id u32 (0: the kernel chooses), groups u32.
  const address = new Uint8Array(12);
  viewOf(address).setUint16(0, socketFamily.netlink, isLittleEndian);
  viewOf(address).setUint32(8, groups, isLittleEndian);
  checked(libc.bind(socket, address, address.length), 'bind a netlink socket');
  return socket;
}

/** The port under which the kernel knows the socket. */
export function portOf(socket: number): number {
  const address = new Uint8Array(12);
  const length = new Uint8Array(new Uint32Array([address.length]).buffer);
  checked(libc.getsockname(socket, address, length), 'read the port of a netlink socket');
  return viewOf(address).getUint32(4, isLittleEndian);
}

let sequence = 0;

/** Sends one request and reads its whole answer. `bytes` is changed: it gets its sequence number. */
export function exchange(socket: number, bytes: Uint8Array): Exchange {
  const flags = viewOf(bytes).getUint16(6, isLittleEndian);
  const isDump = (flags & flag.dump) === flag.dump;
  for (let attempt = 1; ; attempt++) {
    const answers = transact(socket, [bytes]);
    const answer = answers[0] as Exchange;
    const isTorn =
      isDump && answer.messages.some(({ flags: found }) => (found & flag.dumpInterrupted) !== 0);
    if (!isTorn || attempt === dumpAttemptsMax) return answer;
  }
}

/** Sends several messages at once and collects the answer to each, in order. */
export function transact(socket: number, requests: readonly Uint8Array[]): Exchange[] {
  const first = sequence + 1;
  for (const bytes of requests) {
    sequence = (sequence + 1) % 0x7fffffff;
    viewOf(bytes).setUint32(sequenceOffset, sequence, isLittleEndian);
  }
  const packet = requests.length === 1 ? (requests[0] as Uint8Array) : joined(requests);
  const sent = libc.send(socket, packet, packet.length, 0);
  if (sent < 0) throw callError('send a netlink request', lastErrno());
  const collector = createCollector(first, requests);
  while (!collector.isComplete()) {
    const count = libc.recv(socket, receiveBuffer, receiveBuffer.length, dontWait);
    if (count < 0) {
      const number = lastErrno();
      if (number === 4) continue;
      if (number !== 11) throw callError('read a netlink answer', number);
      break;
    }
    // Copied, because the buffer is used again.
    for (const message of parseMessages(receiveBuffer.slice(0, count))) collector.take(message);
  }
  return collector.finish();
}

function joined(requests: readonly Uint8Array[]): Uint8Array {
  const padded = requests.map((bytes) => (bytes.length + 3) & ~3);
  const packet = new Uint8Array(padded.reduce((sum, length) => sum + length, 0));
  let offset = 0;
  for (const [index, bytes] of requests.entries()) {
    packet.set(bytes, offset);
    offset += padded[index] ?? 0;
  }
  return packet;
}

interface Collector {
  take(message: NetlinkMessage): void;
  isComplete(): boolean;
  finish(): Exchange[];
}

function createCollector(first: number, requests: readonly Uint8Array[]): Collector {
  const messages: NetlinkMessage[][] = requests.map(() => []);
  const results = new Map<number, { errno: number; words: string }>();
  // Marks of a transaction carry no acknowledgement flag and get no answer of their own.
  const isOwed = requests.map((bytes) => {
    const flags = viewOf(bytes).getUint16(6, isLittleEndian);
    return requests.length === 1 || (flags & flag.ack) !== 0;
  });
  let owed = isOwed.filter(Boolean).length;
  const complete = (index: number, result: { errno: number; words: string }) => {
    if (results.has(index)) return;
    results.set(index, result);
    if (isOwed[index] === true) owed--;
    // An error on a mark means that the whole transaction was refused.
    else if (result.errno !== 0) owed = 0;
  };
  return {
    take(message) {
      const index = message.sequence - first;
      if (index < 0 || index >= requests.length) return;
      if (message.type === messageType.error) {
        complete(index, readError(message));
      } else if (message.type === messageType.done) {
        complete(index, { errno: negated(message.payload), words: '' });
      } else {
        messages[index]?.push(message);
        if ((message.flags & flag.multi) === 0) complete(index, { errno: 0, words: '' });
      }
    },
    isComplete: () => owed <= 0,
    finish: () => {
      const refused = [...results.values()].find((result) => result.errno !== 0);
      return requests.map((_, index) => {
        const missing = isOwed[index] === true ? (refused ?? lost) : { errno: 0, words: '' };
        return { ...(results.get(index) ?? missing), messages: messages[index] ?? [] };
      });
    },
  };
}

const lost = { errno: noAnswer, words: 'the kernel gave no answer' };

function negated(payload: Uint8Array): number {
  return -((readU32(payload) ?? 0) | 0);
}

/** nlmsgerr: error i32, the request's header, then (flag) attributes with words and offset. */
function readError(message: NetlinkMessage): { errno: number; words: string } {
  const number = negated(message.payload);
  if (number === 0 || (message.flags & errorFlag.acknowledgementTlvs) === 0) {
    return { errno: number, words: '' };
  }
  const isCapped = (message.flags & errorFlag.capped) !== 0;
  const echoed = isCapped ? 16 : Math.max(16, readU32(message.payload, 4) ?? 16);
  try {
    const attributes = parseAttributes(message.payload, 4 + ((echoed + 3) & ~3));
    return { errno: number, words: readText(attributes.get(1)) ?? '' };
  } catch (error) {
    if (error instanceof NsmError) return { errno: number, words: '' };
    throw error;
  }
}

/** Whether an error means that the namespace or the right to it is missing. */
export function isPermission(number: number): boolean {
  return number === errno.notPermitted || number === errno.accessDenied;
}
