// One connection to an OVSDB server: numbers requests, matches answers to them, answers the server's echo, and hands
// updates to whoever monitors. Invariant: an id is used once in a connection; an answer to none is ignored, since
// its caller may have given up.

import type { NsmError } from '../../protocols/errors.ts';
import type { JsonSplitter } from '../../protocols/ovs/json-frames.ts';
import type { SessionStream } from '../../protocols/stream-link/link.ts';
import type { OvsdbFailure, OvsdbMessage } from '../../protocols/ovs/ovsdb-messages.ts';
import { decodeOvsdbMessage } from '../../protocols/ovs/ovsdb-messages.ts';

export interface Answer {
  readonly result: unknown;
  readonly error: OvsdbFailure | undefined;
}

export interface SessionEvents {
  /** `update` or `update2`, with the name that the monitor was given. */
  onUpdate(method: string, monitor: unknown, updates: unknown): void;
}

const encoder = new TextEncoder();

export class OvsdbSession {
  readonly #stream: SessionStream;
  readonly #splitter: JsonSplitter;
  readonly #events: SessionEvents;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  constructor(stream: SessionStream, splitter: JsonSplitter, events: SessionEvents) {
    this.#stream = stream;
    this.#splitter = splitter;
    this.#events = events;
  }

  /** Returns the id, by which the request can be cancelled. */
  request(method: string, params: readonly unknown[], onAnswer: (answer: Answer) => void): number {
    const id = this.#nextId++;
    this.#waiting.set(id, onAnswer);
    this.#send({ method, params, id });
    return id;
  }

  /** The server answers a transaction that still waits with `canceled`; nobody waits for that any more. */
  cancel(id: number): void {
    if (this.#waiting.delete(id)) this.#send({ method: 'cancel', params: [id], id: null });
  }

  receive(bytes: Uint8Array): void {
    for (const object of this.#splitter.push(bytes)) this.#dispatch(decodeOvsdbMessage(object));
  }

  probe(): void {
    this.request('echo', [], () => {});
  }

  fail(error: NsmError): void {
    this.#stream.fail(error);
  }

  #dispatch(message: OvsdbMessage): void {
    switch (message.kind) {
      case 'response': {
        const onAnswer = this.#waiting.get(message.id as number);
        this.#waiting.delete(message.id as number);
        onAnswer?.(message);
        return;
      }
      case 'request': {
        const isEcho = message.method === 'echo';
        const error = isEcho ? null : { error: 'unknown method', details: message.method };
        this.#send({ result: isEcho ? message.params : null, error, id: message.id });
        return;
      }
      case 'notification': {
        const [monitor, updates] = message.params;
        if (message.method.startsWith('update')) {
          this.#events.onUpdate(message.method, monitor, updates);
        }
      }
    }
  }

  #send(message: unknown): void {
    this.#stream.send(encoder.encode(JSON.stringify(message)));
  }
}
