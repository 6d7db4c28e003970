// Both ends of a gRPC stream in terms of the project: a readable stream into a bounded queue that pauses it (HTTP/2
// flow control then holds the sender back), and a pump's room out of a writable stream's buffer.

import type { Readable, Writable } from 'node:stream';
import { NsmError } from '../../protocols/errors.ts';
import { MessageQueue } from '../../protocols/messages/message-queue.ts';

/** Messages held before the stream is paused. */
const heldMax = 64;

export interface Inflow<Item> {
  readonly queue: MessageQueue<Item>;
  /** Ends the queue after everything that has arrived. */
  end(error?: NsmError): void;
}

/** Messages come as `Item` or as the reason why they could not be decoded, which ends the flow. */
export function flowFrom<Item extends object>(
  stream: Readable,
  hooks: { onReturn: () => void; onBadMessage: (error: NsmError) => void },
): Inflow<Item> {
  const queue = new MessageQueue<Item>({
    onTake: (size) => {
      if (size < heldMax / 2 && stream.isPaused()) stream.resume();
    },
    onReturn: hooks.onReturn,
  });
  const take = (item: Item | NsmError): void => {
    if (item instanceof NsmError) hooks.onBadMessage(item);
    else queue.push(item);
  };
  stream.on('data', (item: Item | NsmError) => {
    take(item);
    if (queue.size >= heldMax) stream.pause();
  });
  const end = (error?: NsmError): void => {
    // On an error grpc-js does not wait for what its buffer still holds.
    for (let item = read(stream); item !== null; item = read(stream)) take(item as Item | NsmError);
    queue.end(error);
  };
  stream.on('end', () => end());
  return { queue, end };
}

function read(stream: Readable): unknown {
  return stream.readableLength > 0 ? stream.read() : null;
}

/** Writes bytes; `room` is undefined while the stream's buffer takes more. */
export function flowInto(stream: Writable): {
  room(): Promise<void> | undefined;
  write(bytes: Uint8Array): void;
} {
  let drained: Promise<void> | undefined;
  return {
    room: () => drained,
    write: (bytes) => {
      if (stream.write(bytes) || drained !== undefined) return;
      drained = new Promise((resolve) => {
        stream.once('drain', () => {
          drained = undefined;
          resolve();
        });
      });
    },
  };
}
