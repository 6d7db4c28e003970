// Descriptors beside the calls of unix sockets (SCM_RIGHTS, the reference's grpcfd), for whoever runs TLS and HTTP/2
// over them: they travel beneath TLS, with bytes of the stream that are sent anyway.

import type { Socket } from 'node:net';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { PassingSocket } from './passing-socket.ts';
import { passingSocket } from './passing-socket.ts';
import type { DescriptorBounds } from './socket-descriptors.ts';
import { descriptorBoundsDefault, SocketDescriptors } from './socket-descriptors.ts';

export interface FdPassing {
  /**
   * A connected unix socket that nothing has been read from yet, and that belongs to the result from then on.
   * Undefined where it cannot carry descriptors.
   */
  wrap(socket: Socket): PassingSocket | undefined;
}

export interface FdPassingOptions extends Partial<DescriptorBounds> {
  readonly clock: Clock;
  readonly log: Log;
}

export function createFdPassing(options: FdPassingOptions): FdPassing {
  const { log } = options;
  const setup = { ...descriptorBoundsDefault, ...options, total: { count: 0 } };
  return {
    wrap: (socket) => passingSocket(socket, { descriptors: new SocketDescriptors(setup), log }),
  };
}
