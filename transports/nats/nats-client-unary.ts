// One unary call over the bus: one crossing each way once the callee's clock is known (peer-time.ts). After a
// reconnect of the bus "no responders" may only mean that the callee has not subscribed again yet, so for a short
// while the call is sent again instead of failing.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import type { NsmError } from '../../protocols/errors.ts';
import { asNsmError } from '../../protocols/errors.ts';
import {
  callHeader,
  decodeError,
  encodeCall,
  encodeOperation,
  errorHeader,
  operationHeader,
} from '../../protocols/messages/call-envelope.ts';
import { cancelledByCaller, deadlineExceeded } from '../../protocols/messages/rpc-client.ts';
import { methodSuffix } from '../../protocols/messages/subjects.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { UnaryOptions } from '../../protocols/ports/rpc.ts';
import { userHeaders } from './header-block.ts';
import { listenForAbort } from './listen-for-abort.ts';
import { busClosed } from './nats-bus.ts';
import type { Reception } from './nats-callee.ts';
import type { BusCaller, ClientCall } from './nats-client-call.ts';
import {
  decodeBody,
  encodeBody,
  noResponders,
  resubscribeMs,
  resyncsMax,
  retryMs,
  sendControl,
  unreadable,
  unsettledPeer,
} from './nats-client-call.ts';

export async function callBusUnary(
  caller: BusCaller,
  method: DescMethod,
  request: Message,
  options: UnaryOptions,
): Promise<Message> {
  const deadlineMs = caller.bus.clock.nowMs() + options.timeoutMs;
  const body = encodeBody(method, request);
  if (caller.bus.status !== 'connected') await caller.bus.ready(options.timeoutMs, options.signal);
  return await new Promise((resolve, reject) => {
    const call = new UnaryCall({ caller, method, body, options, deadlineMs, resolve, reject });
    call.start();
  });
}

interface UnaryCallInit {
  readonly caller: BusCaller;
  readonly method: DescMethod;
  readonly body: Uint8Array;
  readonly options: UnaryOptions;
  readonly deadlineMs: number;
  readonly resolve: (message: Message) => void;
  readonly reject: (error: NsmError) => void;
}

class UnaryCall implements ClientCall {
  readonly #init: UnaryCallInit;
  #id = '';
  #timer: Timer | undefined;
  #retry: Timer | undefined;
  #resyncs = 0;
  #settled = false;
  readonly #onAbort = (): void => this.#giveUp(cancelledByCaller(this.#init.method));

  constructor(init: UnaryCallInit) {
    this.#init = init;
  }

  start(): void {
    const { caller, options, deadlineMs, method } = this.#init;
    try {
      this.#id = caller.begin(this);
    } catch (error) {
      this.#fail(asNsmError(error));
      return;
    }
    const { clock } = caller.bus;
    this.#timer = clock.after(deadlineMs - clock.nowMs(), () =>
      this.#giveUp(deadlineExceeded(method, options.timeoutMs)),
    );
    if (options.signal !== undefined) listenForAbort(options.signal, this.#onAbort);
    this.#send();
  }

  onFrame({ frame, headers, body }: Reception): void {
    // Other kinds belong to streams.
    if (frame.kind === 'answer') this.#onAnswer(headers, body);
    else if (frame.kind === 'refuse') {
      this.#fail(decodeError(headers[errorHeader]) ?? unreadable('a refusal'));
    } else if (frame.kind === 'resync') {
      this.#resyncs += 1;
      if (this.#resyncs <= resyncsMax) this.#send();
      else this.#fail(unsettledPeer(this.#init.caller));
    }
  }

  onNoResponders(): void {
    const { caller } = this.#init;
    const { clock, reconnectedAtMs } = caller.bus;
    if (clock.nowMs() - reconnectedAtMs > resubscribeMs) this.#fail(noResponders(caller));
    else this.#retry = clock.after(retryMs, () => this.#send());
  }

  onFailure(error: NsmError): void {
    this.#fail(error);
  }

  #send(): void {
    const { caller, method, body, options, deadlineMs } = this.#init;
    const { time } = caller.callee;
    const deadline = time.translate(deadlineMs, caller.bus.clock.nowMs());
    const { instance, version } = time;
    const call = { id: this.#id, instance, version, startBy: deadline, deadline, window: 0 };
    const { operation } = options;
    try {
      const isSent = caller.callee.call({
        subject: `${caller.subject}.${methodSuffix(method.parent.typeName, method.name)}`,
        reply: caller.inbox(this.#id),
        compose: (peer) => ({
          headers: {
            ...options.headers,
            ...caller.callHeaders?.make(peer),
            [callHeader]: encodeCall(call),
            ...(operation && { [operationHeader]: encodeOperation(operation) }),
          },
          body,
        }),
      });
      if (!isSent) this.#fail(busClosed());
    } catch (error) {
      this.#fail(asNsmError(error));
    }
  }

  #onAnswer(headers: Reception['headers'], body: Uint8Array): void {
    const { method, options, resolve, caller } = this.#init;
    let message: Message;
    try {
      message = decodeBody(method.output, body);
    } catch (error) {
      this.#fail(asNsmError(error));
      return;
    }
    if (!this.#settle()) return;
    options.onHeaders?.(userHeaders(headers));
    options.onPeer?.(caller.callee.peer);
    resolve(message);
  }

  /** The callee is told, so that its handler does not go on for nobody. */
  #giveUp(error: NsmError): void {
    if (this.#settled) return;
    const { caller } = this.#init;
    if (caller.callee.time.instance !== undefined) {
      sendControl(caller, this.#id, { kind: 'cancel', count: 0 });
    }
    this.#fail(error);
  }

  #fail(error: NsmError): void {
    if (this.#settle()) this.#init.reject(error);
  }

  #settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#timer?.cancel();
    this.#retry?.cancel();
    this.#init.options.signal?.removeEventListener('abort', this.#onAbort);
    this.#init.caller.end(this.#id);
    return true;
  }
}
