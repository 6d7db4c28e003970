// One unary call over the bus, at its callee. Whoever aborts it (the caller's cancel, its deadline, the listener
// closing) frees its place at once, whatever the handler does; an answer after that has no reader.

import { toBinary } from '@bufbuild/protobuf';
import type { NsmError } from '../../protocols/errors.ts';
import { asNsmError } from '../../protocols/errors.ts';
import type { Frame } from '../../protocols/messages/call-envelope.ts';
import { cancelledByCaller, deadlineExceeded } from '../../protocols/messages/rpc-client.ts';
import type { UnaryAnswer } from '../../protocols/messages/served-call.ts';
import { answerUnary } from '../../protocols/messages/served-call.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { BusServedCall, IncomingCall } from './nats-served-call.ts';

export function serveBusUnary(incoming: IncomingCall): void {
  new ServedUnary(incoming).run();
}

class ServedUnary implements BusServedCall {
  readonly #incoming: IncomingCall;
  readonly #timer: Timer;
  #ended = false;

  constructor(incoming: IncomingCall) {
    this.#incoming = incoming;
    const { host, opening, served } = incoming;
    const leftMs = opening.deadline - host.bus.clock.nowMs();
    this.#timer = host.bus.clock.after(leftMs, () =>
      this.#giveUp(deadlineExceeded(served.method, leftMs)),
    );
    host.begin(opening.id, this, false);
  }

  get caller(): string | undefined {
    return this.#incoming.reply.session?.peer.spiffeId;
  }

  run(): void {
    const { served, request, call, host } = this.#incoming;
    answerUnary(served, request, call, host.guard).then(
      (answer) => this.#answer(answer),
      (error: unknown) => this.#refuse(asNsmError(error)),
    );
  }

  onFrame(frame: Frame): void {
    if (frame.kind === 'cancel') this.#giveUp(cancelledByCaller(this.#incoming.served.method));
  }

  /** The call goes on: its caller may ask again and is then answered from the record of the operation. */
  onBusLost(): void {}

  abort(reason: NsmError): void {
    this.#incoming.call.abort(reason);
    this.#refuse(reason);
  }

  #giveUp(reason: NsmError): void {
    this.#incoming.call.abort(reason);
    this.#end();
  }

  #answer({ message, headers }: UnaryAnswer): void {
    const { host, served, reply } = this.#incoming;
    if (!this.#end()) return;
    try {
      const body = toBinary(served.method.output, message);
      host.send(reply, 'answer', 0, { headers, body });
    } catch (error) {
      host.refuse(reply, asNsmError(error));
    }
  }

  #refuse(error: NsmError): void {
    if (this.#end()) this.#incoming.host.refuse(this.#incoming.reply, error);
  }

  #end(): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.#timer.cancel();
    this.#incoming.host.end(this.#incoming.opening.id, this);
    return true;
  }
}
