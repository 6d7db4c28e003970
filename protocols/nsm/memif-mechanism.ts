// The MEMIF mechanism: shared memory between a workload and its forwarder, agreed on over a unix socket.
// Whoever serves the Request makes the socket and is the master, whoever asks connects to it. Parameters: `inodeURL`
// names the network namespace of an abstract socket (`socketfile`, beginning with `@`), or the socket's file itself.
// Invariant: a socket's name cannot say more to a data plane than a name: it holds no comma, space or control character.

import { NsmError } from '../errors.ts';
import type { Mechanism } from './gen/connection_pb.ts';
import {
  makeMechanism,
  mechanismClass,
  mechanismType,
  parameter,
  parameterKey,
} from './mechanism.ts';
import { parseUrl } from './urls.ts';

/** sun_path of linux/un.h holds 108 bytes; the first one of an abstract name is 0, which `@` stands for. */
const abstractNameBytesMax = 108;

export type MemifSocket =
  | {
      readonly kind: 'abstract';
      /** Begins with `@`; at most 108 bytes. */
      readonly name: string;
      /** `file://` or `inode://<dev>/<ino>` URL of the network namespace that it is in. */
      readonly netns: string;
    }
  /** `file://` or `inode://<dev>/<ino>` URL of the socket's file. */
  | { readonly kind: 'file'; readonly url: string };

/** What one side knows of a MEMIF mechanism; what is undefined is left for somebody else to fill in. */
export interface MemifOffer {
  /** Of the network namespace, or of the socket's file. */
  readonly inodeUrl?: string;
  readonly socketFile?: string;
}

/** A preference or answer. */
export function memifMechanism(known: MemifOffer): Mechanism {
  return makeMechanism(mechanismClass.local, mechanismType.memif, {
    [parameterKey.inodeUrl]: known.inodeUrl,
    [parameterKey.socketFile]: known.socketFile,
  });
}

/** Name of the socket that the server of a connection makes, as the reference names it. */
export function memifSocketFile(connectionId: string): string {
  return `@/tmp/memif/${connectionId}/memif.socket`;
}

/** The socket to make or to connect to. Throws INVALID_ARGUMENT where a parameter is missing or wrong. */
export function readMemif(mechanism: Mechanism): MemifSocket {
  const url = parameter(mechanism, parameterKey.inodeUrl) ?? '';
  const scheme = url === '' ? undefined : parseUrl(url).scheme;
  if (scheme !== 'file' && scheme !== 'inode') {
    throw refuse(
      'the MEMIF mechanism does not say where its socket is',
      parameterKey.inodeUrl,
      'file:///path or inode://<dev>/<ino> of a network namespace or of a socket',
      url,
    );
  }
  const name = parameter(mechanism, parameterKey.socketFile) ?? '';
  if (name === '') return { kind: 'file', url };
  checkAbstractName(name);
  return { kind: 'abstract', name, netns: url };
}

/** A comma ends a name and begins an option where VPP reads one. */
function checkAbstractName(name: string): void {
  if (name.length <= abstractNameBytesMax && /^@[!-+\--~]+$/.test(name)) return;
  throw refuse(
    'the MEMIF mechanism names no abstract socket',
    parameterKey.socketFile,
    `"@" and 1 to ${abstractNameBytesMax - 1} bytes of printable ASCII without space and comma`,
    name,
  );
}

function refuse(message: string, key: string, expected: string, found: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', message, {
    rule: `mechanism.parameters.${key}`,
    expected,
    found: found === '' ? 'nothing' : JSON.stringify(found.slice(0, 200)),
  });
}
