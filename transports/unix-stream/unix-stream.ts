// The process that the clients of local servers run in: unix stream sockets, monotonic timers and jitter.
// Invariant: after `destroy` of a stream no event of it is reported, and its descriptor is closed.

import { randomInt } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import type { ByteStream, StreamEvents, StreamHost } from '../../protocols/ports/byte-stream.ts';

export const unixHost: StreamHost = {
  clock: {
    nowMs: () => performance.now(),
    after: (delayMs, callback) => {
      const handle = setTimeout(callback, delayMs);
      return { cancel: () => clearTimeout(handle) };
    },
  },
  random: { integer: (exclusiveMax) => randomInt(exclusiveMax) },
  openStream,
  listenForAbort: (signal, listener) => {
    // One signal may stand for many calls; Node would warn of a leak from the eleventh on.
    setMaxListeners(0, signal);
    signal.addEventListener('abort', listener);
  },
};

function openStream(path: string, events: StreamEvents): ByteStream {
  const socket = connect({ path });
  let reason = 'closed by the peer';
  let isOver = false;
  const report = (act: () => void): void => {
    if (!isOver) act();
  };
  socket.on('connect', () => report(() => events.onOpen()));
  // As plain bytes: a Buffer's own `slice` shares memory where that of its base class copies.
  socket.on('data', ({ buffer, byteOffset, length }) =>
    report(() => events.onBytes(new Uint8Array(buffer, byteOffset, length))),
  );
  socket.on('error', (error) => {
    reason = error.message;
  });
  socket.on('close', () =>
    report(() => {
      isOver = true;
      events.onClosed(reason);
    }),
  );
  return {
    send: (bytes) => void socket.write(bytes),
    get queuedBytes() {
      return socket.writableLength;
    },
    destroy: () => {
      isOver = true;
      socket.destroy();
    },
  };
}
