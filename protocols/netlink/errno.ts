// Linux error numbers that netlink and namespace calls answer with (asm-generic/errno.h), and what they mean in
// our own codes.

import type { ErrorCode } from '../errors.ts';

const table: Readonly<Record<number, readonly [name: string, code: ErrorCode]>> = {
  1: ['EPERM', 'PERMISSION_DENIED'],
  2: ['ENOENT', 'NOT_FOUND'],
  3: ['ESRCH', 'NOT_FOUND'],
  4: ['EINTR', 'UNAVAILABLE'],
  5: ['EIO', 'UNAVAILABLE'],
  6: ['ENXIO', 'NOT_FOUND'],
  9: ['EBADF', 'INTERNAL'],
  11: ['EAGAIN', 'UNAVAILABLE'],
  12: ['ENOMEM', 'RESOURCE_EXHAUSTED'],
  13: ['EACCES', 'PERMISSION_DENIED'],
  16: ['EBUSY', 'ABORTED'],
  17: ['EEXIST', 'ALREADY_EXISTS'],
  19: ['ENODEV', 'NOT_FOUND'],
  20: ['ENOTDIR', 'NOT_FOUND'],
  22: ['EINVAL', 'INVALID_ARGUMENT'],
  23: ['ENFILE', 'RESOURCE_EXHAUSTED'],
  24: ['EMFILE', 'RESOURCE_EXHAUSTED'],
  28: ['ENOSPC', 'RESOURCE_EXHAUSTED'],
  34: ['ERANGE', 'OUT_OF_RANGE'],
  40: ['ELOOP', 'NOT_FOUND'],
  90: ['EMSGSIZE', 'RESOURCE_EXHAUSTED'],
  92: ['ENOPROTOOPT', 'UNIMPLEMENTED'],
  93: ['EPROTONOSUPPORT', 'UNIMPLEMENTED'],
  95: ['EOPNOTSUPP', 'UNIMPLEMENTED'],
  97: ['EAFNOSUPPORT', 'UNIMPLEMENTED'],
  98: ['EADDRINUSE', 'ALREADY_EXISTS'],
  99: ['EADDRNOTAVAIL', 'NOT_FOUND'],
  100: ['ENETDOWN', 'FAILED_PRECONDITION'],
  101: ['ENETUNREACH', 'NOT_FOUND'],
  105: ['ENOBUFS', 'RESOURCE_EXHAUSTED'],
  107: ['ENOTCONN', 'FAILED_PRECONDITION'],
  110: ['ETIMEDOUT', 'DEADLINE_EXCEEDED'],
  113: ['EHOSTUNREACH', 'NOT_FOUND'],
};

/** The numbers that code decides on. */
export const errno = {
  notPermitted: 1,
  noEntry: 2,
  noSuchRoute: 3,
  accessDenied: 13,
  busy: 16,
  exists: 17,
  noDevice: 19,
  invalid: 22,
  notSupported: 95,
  familyNotSupported: 97,
  addressInUse: 98,
  addressNotAvailable: 99,
  networkDown: 100,
  networkUnreachable: 101,
  timedOut: 110,
  hostUnreachable: 113,
} as const;

export function errnoName(number: number): string {
  return table[number]?.[0] ?? `errno ${number}`;
}

export function errnoCode(number: number): ErrorCode {
  return table[number]?.[1] ?? 'UNKNOWN';
}
