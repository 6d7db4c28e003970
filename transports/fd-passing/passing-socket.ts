// A connected unix socket with its descriptors, as a Duplex that TLS and HTTP/2 run over. Node writes and closes the
// socket as ever; only reading is done here. Node's own reads would have the kernel throw descriptors away: libuv is
// given a buffer without room instead, so it tells that there is something to read and takes nothing.

import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { describeError } from '../../protocols/errors.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { SocketDescriptors } from './socket-descriptors.ts';
import { receiveMessage, sendByteWith } from './socket-messages.ts';

/** What Node keeps behind a socket over a pipe; the same since Node 12, but not documented. */
interface PipeHandle {
  readonly fd: number;
  onread: () => void;
  useUserBuffer(buffer: Uint8Array): void;
  readStart(): number;
  readStop(): number;
}

/** Messages read before others have their turn; libuv tells again of what is left. */
const messagesPerTurn = 16;

export interface PassingSocketSetup {
  readonly descriptors: SocketDescriptors;
  readonly log: Log;
}

/** Undefined where this Node has no such handle: then the socket is used as it is. */
export function passingSocket(
  socket: Socket,
  setup: PassingSocketSetup,
): PassingSocket | undefined {
  const handle = (socket as { _handle?: Partial<PipeHandle> | null })._handle;
  const isKnown =
    typeof handle?.useUserBuffer === 'function' &&
    typeof handle.readStart === 'function' &&
    typeof handle.fd === 'number' &&
    handle.fd >= 0;
  return isKnown ? new PassingSocket(socket, handle as PipeHandle, setup) : undefined;
}

export class PassingSocket extends Duplex {
  readonly descriptors: SocketDescriptors;
  readonly #socket: Socket;
  readonly #handle: PipeHandle;
  readonly #log: Log;
  #isReading = false;

  constructor(socket: Socket, handle: PipeHandle, { descriptors, log }: PassingSocketSetup) {
    // By itself it would end writing before TLS does, whose last write then fails as a fault of this side.
    super({ allowHalfOpen: true });
    this.descriptors = descriptors;
    this.#socket = socket;
    this.#handle = handle;
    this.#log = log;
    handle.readStop();
    handle.useUserBuffer(Buffer.alloc(0));
    handle.onread = () => this.#onReadable();
    socket.on('error', (error) => this.destroy(asReset(error)));
    socket.once('close', () => this.destroy());
    // Peers close both directions at once. Not in this turn: TLS still has to read the end, and to write its own.
    this.once('end', () => setImmediate(() => this.destroy()));
  }

  admit(): void {
    this.descriptors.admit();
  }

  /** Keeps the process alive while it is open, as a socket does. */
  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  override _read(): void {
    if (this.#isReading || this.#socket.destroyed) return;
    this.#isReading = true;
    this.#handle.readStart();
  }

  override _write(
    chunk: Buffer,
    encoding: BufferEncoding,
    callback: (error?: Error | null) => void,
  ): void {
    const rest = this.#sendDescriptors(chunk);
    if (rest.length === 0) {
      callback();
    } else if (this.descriptors.next === undefined || rest.length === 1) {
      this.#socket.write(rest, (error) => callback(error && asReset(error)));
    } else {
      // No room. Once a byte has gone the ordinary way, there is.
      this.#socket.write(rest.subarray(0, 1), (error) => {
        if (error) callback(asReset(error));
        else this._write(rest.subarray(1), encoding, callback);
      });
    }
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    callback: (error?: Error | null) => void,
  ): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#socket.end(() => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.descriptors.close();
    this.#socket.destroy();
    callback(error);
  }

  /** The rest of the chunk: each descriptor takes one byte of the stream with it. */
  #sendDescriptors(chunk: Buffer): Buffer {
    let at = 0;
    for (;;) {
      const { next } = this.descriptors;
      const byte = chunk[at];
      if (next === undefined || byte === undefined || this.#socket.destroyed) break;
      try {
        if (!sendByteWith(this.#handle.fd, byte, next)) break;
        at += 1;
      } catch (error) {
        // As a rule the peer has gone, which the next write tells.
        this.#log.warn('did not send a descriptor', { error: describeError(error) });
      }
      this.descriptors.sent();
    }
    return chunk.subarray(at);
  }

  #onReadable(): void {
    try {
      for (let count = 0; count < messagesPerTurn && this.#isReading; count += 1) {
        if (this.#socket.destroyed) return;
        const message = receiveMessage(this.#handle.fd);
        if (message === undefined) return;
        const { bytes, descriptors, isTruncated } = message;
        this.descriptors.receive(descriptors);
        if (isTruncated) this.#log.warn('the kernel dropped descriptors of a peer');
        if (bytes.length === 0) {
          this.#stop();
          this.push(null);
        } else if (!this.push(bytes)) this.#stop();
      }
    } catch (error) {
      this.destroy(asReset(error as Error));
    }
  }

  #stop(): void {
    this.#isReading = false;
    if (!this.#socket.destroyed) this.#handle.readStop();
  }
}

/** However the connection broke: by any other code, such as EPIPE, grpc-js takes it for a fault of this side. */
function asReset(cause: Error): Error {
  return Object.assign(new Error(cause.message, { cause }), { code: 'ECONNRESET' });
}
