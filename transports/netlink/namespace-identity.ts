// Who a network namespace is, beyond its inode: the kernel's cookie, which no other namespace of the boot gets.

import { closeSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { asNsmError } from '../../protocols/errors.ts';
import type { Namespaces } from '../../protocols/ports/namespaces.ts';
import { checked, closeOnExec, libc, socketFamily } from './libc.ts';
import { inNamespace } from './namespace-switch.ts';
import { findNamespace, openNamespace } from './namespace-url.ts';

/** SOL_SOCKET and SO_NETNS_COOKIE (Linux 5.14) of asm-generic/socket.h. */
const socketLevel = 1;
const namespaceCookie = 71;
/** SOCK_DGRAM. */
const datagrams = 2;

/** `bootId`: cookies count anew in each boot. */
export function createNamespaces(bootId: string): Namespaces {
  return {
    identityOf(url) {
      try {
        return `${bootId} ${cookieOf(url)}`;
      } catch (error) {
        if (asNsmError(error).code === 'NOT_FOUND') throw error;
        // Not to be entered, or of a kernel that has no cookies.
        return undefined;
      }
    },
  };
}

function cookieOf(url: string): bigint {
  const descriptor = openNamespace(pathUrl(findNamespace(url)) ?? url);
  try {
    return inNamespace(descriptor, readCookie);
  } finally {
    closeSync(descriptor);
  }
}

/** Where it was found before; a look at every process of a machine takes milliseconds. */
function pathUrl(path: string | undefined): string | undefined {
  return path === undefined ? undefined : pathToFileURL(path).href;
}

function readCookie(): bigint {
  const kind = datagrams | closeOnExec;
  const socket = checked(libc.socket(socketFamily.unix, kind, 0), 'open a socket');
  try {
    const cookie = new BigUint64Array(1);
    const length = new Uint32Array([cookie.byteLength]);
    const answer = libc.getsockopt(socket, socketLevel, namespaceCookie, cookie, length);
    checked(answer, 'read the cookie of a network namespace');
    return cookie[0] ?? 0n;
  } finally {
    libc.close(socket);
  }
}
