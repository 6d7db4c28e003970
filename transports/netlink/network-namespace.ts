// Making a network namespace without a child process, for the demo and the tests.
// The thread leaves for the new namespace, takes a descriptor of it and returns. The namespace lives as long as
// the descriptor is open, its bind mount is there, or a process is inside.

import { closeSync, openSync, unlinkSync, writeFileSync } from 'node:fs';

import { changeLinkByName } from '../../protocols/netlink/link.ts';
import { netlinkRoute } from '../../protocols/netlink/constants.ts';
import { callError, checked, lastErrno, libc, networkNamespace } from './libc.ts';
import { inNamespace } from './namespace-switch.ts';
import { namespaceInodeUrl } from './namespace-url.ts';
import { exchange, openNetlinkSocket } from './netlink-socket.ts';

/** MS_BIND and MNT_DETACH of sys/mount.h. */
const bindMount = 4096;
const detach = 2;
const ownNamespace = '/proc/thread-self/ns/net';

export interface NetworkNamespace {
  /** `file://` URL under which every process on this machine that may see it finds it. */
  readonly url: string;
  /** `inode://<dev>/<ino>`. */
  readonly inodeUrl: string;
  readonly path: string;
  readonly descriptor: number;
  /** Closes the descriptor; a bind mount stays, and the namespace with it. */
  letGo(): void;
  /** Lets go of it. The kernel removes it, with its links, when nobody else holds it. */
  close(): void;
}

/**
 * A new namespace with its loopback up. With `path` it is bind-mounted there (the file must not exist), so that
 * it can be shared and outlives this process; without, it is reached through this process's descriptor.
 * Blocks for some milliseconds. PERMISSION_DENIED without CAP_SYS_ADMIN.
 */
export function createNetworkNamespace(path?: string): NetworkNamespace {
  const descriptor = openNew();
  const visible = `/proc/${process.pid}/fd/${descriptor}`;
  try {
    bringLoopbackUp(descriptor);
    if (path !== undefined) bindTo(visible, path);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  let isOpen = true;
  return {
    url: `file://${path ?? visible}`,
    inodeUrl: namespaceInodeUrl(visible),
    path: path ?? visible,
    descriptor,
    letGo() {
      if (isOpen) closeSync(descriptor);
      isOpen = false;
    },
    close() {
      if (!isOpen) return;
      isOpen = false;
      closeSync(descriptor);
      if (path !== undefined) unbind(path);
    },
  };
}

function openNew(): number {
  const home = openSync(ownNamespace, 'r');
  try {
    checked(libc.unshare(networkNamespace), 'make a network namespace');
    try {
      return openSync(ownNamespace, 'r');
    } finally {
      if (libc.setns(home, networkNamespace) < 0) process.abort();
    }
  } finally {
    closeSync(home);
  }
}

function bringLoopbackUp(descriptor: number): void {
  const socket = inNamespace(descriptor, () => openNetlinkSocket(netlinkRoute));
  const { errno } = exchange(socket, changeLinkByName('lo', { isUp: true }).bytes);
  libc.close(socket);
  if (errno !== 0) throw callError('bring up the loopback of a new namespace', errno);
}

function bindTo(source: string, path: string): void {
  writeFileSync(path, '', { flag: 'wx' });
  if (libc.mount(source, path, 'none', bindMount, null) === 0) return;
  const number = lastErrno();
  unlinkSync(path);
  throw callError(`bind the namespace to ${path}`, number);
}

/** Takes away the bind mount that `createNetworkNamespace` made; whoever is inside keeps the namespace. */
export function unbind(path: string): void {
  libc.umount2(path, detach);
  unlinkSync(path);
}
