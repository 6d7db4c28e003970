// A socket for echo requests in a given network namespace: raw where that is allowed, else the kernel's ping socket.
// Opening switches the calling thread into the namespace and back within one synchronous call; only `waitReadable`
// blocks, and it does so on a thread of the pool.

import { closeSync, constants, openSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import koffi from 'koffi';

import { NsmError } from '../../protocols/errors.ts';
import { errnoCode, errnoName } from '../../protocols/netlink/errno.ts';
import type { IpAddress } from '../../protocols/netlink/ip-address.ts';

const library = koffi.load(null);
const call = {
  socket: library.func('int socket(int, int, int)'),
  bind: library.func('int bind(int, const void *, uint32_t)'),
  connect: library.func('int connect(int, const void *, uint32_t)'),
  setsockopt: library.func('int setsockopt(int, int, int, const void *, uint32_t)'),
  send: library.func('intptr_t send(int, const void *, size_t, int)'),
  recv: library.func('intptr_t recv(int, void *, size_t, int)'),
  setns: library.func('int setns(int, int)'),
  close: library.func('int close(int)'),
  poll: library.func('int poll(void *, unsigned long, int)'),
};
/** SOCK_DGRAM, SOCK_RAW, with SOCK_CLOEXEC. */
const datagram = 2 | 0o2000000;
const raw = 3 | 0o2000000;
/** IPPROTO_ICMP, IPPROTO_ICMPV6. */
const protocols = { 4: 1, 6: 58 } as const;
const networkNamespace = 0x40000000;
/** MSG_DONTWAIT. */
const dontWait = 0x40;
/** POLLIN. */
const readable = 1;
const refusals: readonly number[] = [1, 13];
/** SOL_SOCKET and SO_BINDTODEVICE. */
const socketLevel = 1;
const bindToDevice = 25;
/** SOL_RAW and ICMP_FILTER, IPPROTO_ICMPV6 and ICMPV6_FILTER: a set bit keeps a type away. */
const filters = {
  4: { level: 255, option: 1, blocked: new Uint32Array([~1]) },
  6: {
    level: 58,
    option: 1,
    blocked: new Uint32Array([~0, ~0, ~0, ~0, ~(1 << (129 - 128)), ~0, ~0, ~0]),
  },
} as const;

export interface IcmpSocket {
  /** Raw sockets of IPv4 deliver the IP header too; ping sockets choose the identifier themselves. */
  readonly isRaw: boolean;
  /** 0, or the error number. */
  send(packet: Uint8Array): number;
  /** Undefined where nothing waits. */
  receive(): Uint8Array | undefined;
  /** Resolves when something may be there, at the latest after `timeoutMs`. */
  waitReadable(timeoutMs: number): Promise<void>;
  close(): void;
}

export function openIcmpSocket(options: {
  /** `file://` URL; absent: where the process is. */
  readonly namespace: string | undefined;
  readonly source: IpAddress | undefined;
  readonly destination: IpAddress;
  /** The only interface to send through; absent: whichever leads there. */
  readonly interfaceName?: string;
}): IcmpSocket {
  const version = options.destination.bytes.length === 4 ? 4 : 6;
  const { descriptor, isRaw } = inNamespace(options.namespace, () => openAny(version));
  try {
    if (options.interfaceName !== undefined) {
      const name = new TextEncoder().encode(options.interfaceName);
      const result = call.setsockopt(descriptor, socketLevel, bindToDevice, name, name.length);
      check(result, `bind the ping socket to ${options.interfaceName}`);
    }
    if (isRaw) hearRepliesAlone(descriptor, version);
    if (options.source !== undefined) {
      const address = socketAddress(options.source);
      check(call.bind(descriptor, address, address.length), 'bind the ping socket to its source');
    }
    const address = socketAddress(options.destination);
    check(call.connect(descriptor, address, address.length), 'find a way to the destination');
  } catch (error) {
    call.close(descriptor);
    throw error;
  }
  const buffer = new Uint8Array(65536);
  const entry = new Int32Array([descriptor, readable]);
  return {
    isRaw,
    send: (packet) =>
      call.send(descriptor, packet, packet.length, dontWait) < 0 ? koffi.errno() : 0,
    receive() {
      const count = Number(call.recv(descriptor, buffer, buffer.length, dontWait));
      return count < 0 ? undefined : buffer.slice(0, count);
    },
    waitReadable: (timeoutMs) =>
      new Promise((resolve) => {
        const bytes = new Uint8Array(entry.buffer);
        call.poll.async(bytes, 1, Math.ceil(timeoutMs), () => resolve());
      }),
    close: () => {
      call.close(descriptor);
    },
  };
}

/** Everything else that the other end sends would only have to be thrown away. */
function hearRepliesAlone(descriptor: number, version: 4 | 6): void {
  const { level, option, blocked } = filters[version];
  const bytes = new Uint8Array(blocked.buffer);
  check(call.setsockopt(descriptor, level, option, bytes, bytes.length), 'filter echo replies');
}

function openAny(version: 4 | 6): { descriptor: number; isRaw: boolean } {
  const family = version === 4 ? 2 : 10;
  const first = call.socket(family, raw, protocols[version]) as number;
  if (first >= 0) return { descriptor: first, isRaw: true };
  if (!refusals.includes(koffi.errno())) check(first, 'open a ping socket');
  const second = call.socket(family, datagram, protocols[version]) as number;
  check(second, 'open a ping socket');
  return { descriptor: second, isRaw: false };
}

/** Runs `action`, which awaits nothing, with this thread in the namespace. */
export function inNamespace<Result>(url: string | undefined, action: () => Result): Result {
  if (url === undefined) return action();
  const home = openSync('/proc/thread-self/ns/net', 'r');
  try {
    const target = openNamespaceFile(url);
    try {
      check(call.setns(target, networkNamespace), `enter ${url}`);
    } finally {
      closeSync(target);
    }
    try {
      return action();
    } finally {
      // A thread left in the wrong namespace would do everything else there.
      if (call.setns(home, networkNamespace) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

function openNamespaceFile(url: string): number {
  try {
    return openSync(fileURLToPath(url), constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new NsmError('NOT_FOUND', `network namespace ${url} is not there`, {
      rule: 'namespace URL',
      expected: 'file:///path of a live network namespace',
      found: cause instanceof Error ? cause.message : String(cause),
      cause,
    });
  }
}

function check(result: number, what: string): void {
  if (result >= 0) return;
  const number = koffi.errno();
  const found = errnoName(number);
  const remedy = refusals.includes(number)
    ? { remedy: 'grant CAP_NET_RAW, or widen net.ipv4.ping_group_range' }
    : {};
  throw new NsmError(errnoCode(number), `could not ${what}: ${found}`, {
    rule: what,
    found,
    ...remedy,
  });
}

/** sockaddr_in (16 bytes) or sockaddr_in6 (28 bytes); the family in host order, the rest zero. */
function socketAddress(address: IpAddress): Uint8Array {
  const isIpv4 = address.bytes.length === 4;
  const bytes = new Uint8Array(isIpv4 ? 16 : 28);
  bytes.set(new Uint8Array(new Uint16Array([isIpv4 ? 2 : 10]).buffer));
  bytes.set(address.bytes, isIpv4 ? 4 : 8);
  return bytes;
}
