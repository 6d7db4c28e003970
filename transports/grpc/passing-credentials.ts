// Lets a grpc-js client run over a unix socket that carries descriptors: its connector wraps the socket before TLS
// begins. grpc-js 1.14 asks credentials for such a connector; the method is not documented.

import { ChannelCredentials } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { PeerDescriptors } from '../../protocols/ports/descriptors.ts';

/** What this folder needs of whoever passes descriptors. */
export interface FdPassing {
  /**
   * A connected unix socket that nothing has been read from yet, and that belongs to the result from then on.
   * Undefined where it cannot carry descriptors.
   */
  wrap(socket: Socket): PassingStream | undefined;
}

export interface PassingStream extends Duplex {
  readonly descriptors: PeerDescriptors;
  /** It is known who the peer is: before, next to nothing is taken from it. */
  admit(): void;
  ref(): void;
  unref(): void;
}

type CreateConnector = ChannelCredentials['_createSecureConnector'];
type Connector = ReturnType<CreateConnector>;

export class PassingCredentials extends ChannelCredentials {
  readonly #under: ChannelCredentials;
  readonly #fdPassing: FdPassing;
  readonly #onConnected: (descriptors: PeerDescriptors) => void;

  constructor(
    under: ChannelCredentials,
    fdPassing: FdPassing,
    onConnected: (descriptors: PeerDescriptors) => void,
  ) {
    super();
    this.#under = under;
    this.#fdPassing = fdPassing;
    this.#onConnected = onConnected;
  }

  override _isSecure(): boolean {
    return this.#under._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...given: Parameters<CreateConnector>): Connector {
    const connector = this.#under._createSecureConnector(...given);
    return {
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
      connect: async (socket) => {
        const stream = this.#fdPassing.wrap(socket);
        if (stream === undefined) return connector.connect(socket);
        const connected = await connector.connect(stream as unknown as Socket);
        // Not before: nobody else is to have what is sent here.
        stream.admit();
        this.#onConnected(stream.descriptors);
        // grpc-js lets an idle connection not keep the process alive; TLS over a stream does not pass that on.
        connected.socket.ref = () => (stream.ref(), connected.socket);
        connected.socket.unref = () => (stream.unref(), connected.socket);
        return connected;
      },
    };
  }
}
