// One connection to VPP: the handshake, the messages that this VPP has, contexts of calls, answers and events brought to
// where they belong.
// Invariants: a context is used once until 2^32 others were; an answer to nobody is ignored, since its caller gave up,
// and so is a message that the definitions do not have; an answer that cannot be read fails its caller alone.

import { NsmError } from '../../protocols/errors.ts';
import type { SessionStream } from '../../protocols/stream-link/link.ts';
import type { ApiCatalog } from '../../protocols/vpp/api-catalog.ts';
import { builtinApi } from '../../protocols/vpp/builtin-api.ts';
import { createFrameSplitter, encodeFrame } from '../../protocols/vpp/frames.ts';
import type { Handshake } from '../../protocols/vpp/handshake.ts';
import { decodeHandshake, encodeHandshake } from '../../protocols/vpp/handshake.ts';
import type { MessageCodec } from '../../protocols/vpp/message-codec.ts';
import { answerContextOf, messageIdOf } from '../../protocols/vpp/message-codec.ts';
import { vppRefusal } from '../../protocols/vpp/return-codes.ts';
import type { VppFields } from '../../protocols/vpp/values.ts';
import { MessageTable } from './message-table.ts';

export interface AnswerListener {
  /** Each message with the context of the request, with its length in bytes. */
  onMessage(name: string, fields: VppFields, bytes: number): void;
  /** One of them cannot be read. */
  onUnreadable(error: NsmError): void;
}

export interface SessionEvents {
  /** The definitions for the VPP with this table; undefined asks VPP itself. */
  definitions(table: Handshake): ApiCatalog | undefined;
  /** What VPP answered when it was asked. Throws NsmError where it makes no sense. */
  onDefinitions(table: Handshake, json: string): ApiCatalog;
  onReady(pid: number): void;
  onEvent(name: string, fields: VppFields): void;
}

export interface SessionOptions {
  readonly stream: SessionStream;
  readonly events: SessionEvents;
  readonly clientName: string;
  readonly frameBytesMax: number;
  /** For errors. */
  readonly hop: string;
}

const contextMax = 0xffff_ffff;

export class VppSession {
  readonly #options: SessionOptions;
  readonly #splitter;
  readonly #listeners = new Map<number, AnswerListener>();
  #handshake: Handshake | undefined;
  #builtin: MessageTable | undefined;
  #table: MessageTable | undefined;
  #nextContext = 1;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#splitter = createFrameSplitter(options.frameBytesMax);
    options.stream.send(encodeFrame(encodeHandshake(options.clientName)));
  }

  /** The messages of this VPP, once it is ready. */
  get table(): MessageTable | undefined {
    return this.#table;
  }

  /** Sends, and reports what answers it until `forget`. Returns the context. Throws what the message breaks. */
  send(codec: MessageCodec, fields: VppFields, listener: AnswerListener): number {
    const id = this.#handshake?.ids.get(codec.key) ?? 0;
    const clientIndex = this.#handshake?.clientIndex ?? 0;
    const context = this.#takeContext();
    const message = codec.encode(id, { clientIndex, context }, fields);
    this.#listeners.set(context, listener);
    this.#options.stream.send(encodeFrame(message));
    return context;
  }

  forget(context: number): void {
    this.#listeners.delete(context);
  }

  receive(bytes: Uint8Array): void {
    for (const message of this.#splitter.push(bytes)) {
      if (this.#handshake === undefined) this.#greeted(decodeHandshake(message));
      else this.#dispatch(message);
    }
  }

  probe(): void {
    if (this.#table !== undefined) this.#askBuiltin('control_ping', () => {});
  }

  /**
   * Before the stream is closed. VPP 26.10 does not always notice that a client has gone (a read of 0 bytes counts as an
   * end only where errno, left over from another call, is not EAGAIN); sixteen of these keep its main loop for ever.
   */
  leave(): void {
    const codec = builtinApi.codec('sockclnt_delete');
    const { clientIndex = 0, ids } = this.#handshake ?? {};
    if (ids?.has(codec.key) !== true) return;
    this.forget(this.send(codec, { index: clientIndex }, { onMessage() {}, onUnreadable() {} }));
  }

  #takeContext(): number {
    while (this.#listeners.has(this.#nextContext)) this.#advance();
    const context = this.#nextContext;
    this.#advance();
    return context;
  }

  #advance(): void {
    this.#nextContext = this.#nextContext === contextMax ? 1 : this.#nextContext + 1;
  }

  #greeted(handshake: Handshake): void {
    this.#handshake = handshake;
    const { hop, events } = this.#options;
    this.#builtin = new MessageTable({ catalog: builtinApi, ids: handshake.ids, hop });
    const known = events.definitions(handshake);
    if (known !== undefined) return this.#defined(handshake, known);
    this.#askBuiltin('get_api_json', (fields) => {
      const json = fields['json'] as string;
      this.#defined(handshake, events.onDefinitions(handshake, json));
    });
  }

  #defined({ ids }: Handshake, catalog: ApiCatalog): void {
    const { hop, events } = this.#options;
    this.#askBuiltin('control_ping', ({ vpe_pid: pid }) => {
      this.#table = new MessageTable({ catalog, ids, hop });
      events.onReady(Number(pid));
    });
  }

  /** A failure of these ends the stream: nothing else works either. */
  #askBuiltin(name: string, onReply: (fields: VppFields) => void): void {
    const codec = this.#builtin?.request(name);
    if (codec === undefined) return;
    const context = this.send(
      codec,
      {},
      {
        onMessage: (_, fields) => {
          this.forget(context);
          const retval = Number(fields['retval']);
          if (retval < 0) throw vppRefusal(name, retval);
          onReply(fields);
        },
        onUnreadable: (error) => {
          throw error;
        },
      },
    );
  }

  #dispatch(message: Uint8Array): void {
    const id = messageIdOf(message);
    const key = id === undefined ? undefined : this.#handshake?.keys.get(id);
    const codec = key === undefined ? undefined : this.#received(key);
    if (codec === undefined) return;
    if (codec.isAnswer) this.#answered(codec, message);
    else if (this.#table?.isEvent(codec.name) === true) {
      this.#options.events.onEvent(codec.name, codec.decode(message).fields);
    }
  }

  #received(key: string): MessageCodec | undefined {
    return this.#table?.byKey(key) ?? this.#builtin?.byKey(key);
  }

  #answered(codec: MessageCodec, message: Uint8Array): void {
    const listener = this.#listeners.get(answerContextOf(message) ?? 0);
    if (listener === undefined) return;
    let fields: VppFields;
    try {
      ({ fields } = codec.decode(message));
    } catch (error) {
      if (!(error instanceof NsmError)) throw error;
      listener.onUnreadable(error);
      return;
    }
    listener.onMessage(codec.name, fields, message.length);
  }
}
