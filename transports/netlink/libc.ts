// The C library calls that Node does not offer: sockets of other families, namespaces, mounts, poll, eventfd.
// Every function here blocks the calling thread and is meant for a worker, but for calls known to be short.
// Invariant: a failed call becomes one NsmError with the error's name, the call and its object.

import koffi from 'koffi';

import type { ErrorDetails } from '../../protocols/errors.ts';
import { NsmError } from '../../protocols/errors.ts';
import { errnoCode, errnoName } from '../../protocols/netlink/errno.ts';

const library = koffi.load(null);

type Descriptor = number;

interface Calls {
  socket(family: number, type: number, protocol: number): Descriptor;
  bind(socket: Descriptor, address: Uint8Array, length: number): number;
  setsockopt(
    socket: Descriptor,
    level: number,
    name: number,
    value: Uint8Array,
    length: number,
  ): number;
  getsockopt(
    socket: Descriptor,
    level: number,
    name: number,
    value: BigUint64Array,
    length: Uint32Array,
  ): number;
  send(socket: Descriptor, bytes: Uint8Array, length: number, flags: number): number;
  recv(socket: Descriptor, bytes: Uint8Array, length: number, flags: number): number;
  getsockname(socket: Descriptor, address: Uint8Array, length: Uint8Array): number;
  connect(socket: Descriptor, address: Uint8Array, length: number): number;
  close(descriptor: Descriptor): number;
  setns(descriptor: Descriptor, kind: number): number;
  unshare(kinds: number): number;
  getuid(): number;
  poll(entries: Uint8Array, count: number, timeoutMs: number): number;
  eventfd(initial: number, flags: number): Descriptor;
  write(descriptor: Descriptor, bytes: Uint8Array, length: number): number;
  ioctl(descriptor: Descriptor, request: number): number;
  mount(source: string, target: string, type: string, flags: number, data: null): number;
  umount2(target: string, flags: number): number;
  /** Of bpf(2), which has no function of its own. */
  syscall(number: number, command: number, attributes: Uint8Array, length: number): number;
}

const prototypes: Record<keyof Calls, string> = {
  socket: 'int socket(int, int, int)',
  bind: 'int bind(int, const void *, uint32_t)',
  setsockopt: 'int setsockopt(int, int, int, const void *, uint32_t)',
  getsockopt: 'int getsockopt(int, int, int, void *, void *)',
  send: 'intptr_t send(int, const void *, size_t, int)',
  recv: 'intptr_t recv(int, void *, size_t, int)',
  getsockname: 'int getsockname(int, void *, void *)',
  connect: 'int connect(int, const void *, uint32_t)',
  close: 'int close(int)',
  setns: 'int setns(int, int)',
  unshare: 'int unshare(int)',
  getuid: 'uint32_t getuid()',
  poll: 'int poll(void *, unsigned long, int)',
  eventfd: 'int eventfd(unsigned int, int)',
  write: 'intptr_t write(int, const void *, size_t)',
  ioctl: 'int ioctl(int, unsigned long)',
  mount: 'int mount(const char *, const char *, const char *, unsigned long, void *)',
  umount2: 'int umount2(const char *, int)',
  syscall: 'long syscall(long, int, const void *, uint32_t)',
};

export const libc = Object.fromEntries(
  Object.entries(prototypes).map(([name, prototype]) => [name, library.func(prototype)]),
) as unknown as Calls;

/** CLONE_NEWNET. */
export const networkNamespace = 0x40000000;
export const socketFamily = { unix: 1, inet: 2, inet6: 10, netlink: 16 } as const;
/** SOCK_CLOEXEC and MSG_DONTWAIT (Linux, all architectures that Node runs on). */
export const closeOnExec = 0o2000000;
export const dontWait = 0x40;

/** The error number of this thread's last failed call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** What a failed call says to people. */
export function callError(what: string, number: number, details: ErrorDetails = {}): NsmError {
  const name = errnoName(number);
  return new NsmError(errnoCode(number), `could not ${what}: ${name}`, {
    rule: what,
    found: name,
    ...(name === 'EPERM' || name === 'EACCES' ? { remedy: privilegeRemedy } : {}),
    ...details,
  });
}

export const privilegeRemedy =
  'run as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN, or inside `unshare -Urnm`';

/** Passes a call's result through, or throws its error. */
export function checked(result: number, what: string): number {
  if (result < 0) throw callError(what, lastErrno());
  return result;
}
