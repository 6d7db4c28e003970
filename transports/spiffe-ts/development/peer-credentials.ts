// Who is at the other end of a unix socket: the kernel's word (SO_PEERCRED), taken when the peer connected.

import type { Socket } from 'node:net';
import koffi from 'koffi';
import { NsmError } from '../../../protocols/errors.ts';

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SOL_SOCKET and SO_PEERCRED of asm-generic/socket.h, which x86 and ARM use. */
const socketLevel = 1;
const peerCredentialsOption = 17;
/** struct ucred: three 32-bit integers. */
const credentialsBytes = 12;

interface Calls {
  getsockopt(
    descriptor: number,
    level: number,
    name: number,
    value: Uint8Array,
    length: Uint8Array,
  ): number;
}

let calls: Calls | undefined;

/** Errors: UNAVAILABLE where the peer is gone or the system does not tell. */
export function peerCredentialsOf(socket: Socket): PeerCredentials {
  calls ??= loadCalls();
  const value = Buffer.alloc(credentialsBytes);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(credentialsBytes);
  const descriptor = descriptorOf(socket);
  const isKnown =
    descriptor >= 0 &&
    calls.getsockopt(descriptor, socketLevel, peerCredentialsOption, value, length) === 0;
  const pid = value.readInt32LE(0);
  if (!isKnown || pid <= 0) {
    throw new NsmError('UNAVAILABLE', 'the peer of a unix socket is not known', {
      rule: 'peer-credentials',
      expected: 'its process, user and group from SO_PEERCRED',
      found: 'nothing',
    });
  }
  return { pid, uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** Node offers no public way to a socket's descriptor; the handle has had this field in every version. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  return handle?.fd ?? -1;
}

function loadCalls(): Calls {
  const getsockopt = koffi.load(null).func('int getsockopt(int, int, int, void *, void *)');
  return { getsockopt } as unknown as Calls;
}
