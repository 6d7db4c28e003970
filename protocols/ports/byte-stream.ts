// What a client of a local server's socket needs of the process that it runs in: streams, time, jitter.

import type { Clock } from './clock.ts';
import type { Random } from './random.ts';

/** A connection to a server's socket. */
export interface ByteStream {
  send(bytes: Uint8Array): void;
  /** Written, but not taken by the kernel yet. */
  readonly queuedBytes: number;
  /** No event comes after it. */
  destroy(): void;
}

/** `onClosed` comes at most once and last; none comes before `openStream` has returned. */
export interface StreamEvents {
  onOpen(): void;
  onBytes(bytes: Uint8Array): void;
  onClosed(reason: string): void;
}

export interface StreamHost {
  readonly clock: Clock;
  readonly random: Pick<Random, 'integer'>;
  /** `socketPath` is a path of at most 107 bytes, the limit of sockaddr_un. */
  openStream(socketPath: string, events: StreamEvents): ByteStream;
  /** As `signal.addEventListener('abort', listener)`, for any number of listeners. */
  listenForAbort(signal: AbortSignal, listener: () => void): void;
}
