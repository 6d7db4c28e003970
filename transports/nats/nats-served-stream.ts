// One stream over the bus, at its callee: pulls the handler only as far as the caller gave credit, numbers what it
// sends, and stops the handler when the caller cancels, falls silent or the bus is lost.

import type { Message } from '@bufbuild/protobuf';
import { toBinary } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { Frame } from '../../protocols/messages/call-envelope.ts';
import { FrameReceiver } from '../../protocols/messages/frame-receiver.ts';
import type { Pump } from '../../protocols/messages/pump.ts';
import { Room, startPump } from '../../protocols/messages/pump.ts';
import { connectionReplaced } from '../../protocols/messages/replaced-connection.ts';
import { cancelledByCaller, deadlineExceeded } from '../../protocols/messages/rpc-client.ts';
import { answerStream, checkAnswer } from '../../protocols/messages/served-call.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import { streamWindow } from './nats-client-call.ts';
import type { BusServedCall, IncomingCall } from './nats-served-call.ts';
import { decodeRequest } from './nats-served-call.ts';

/** A caller may ask to be sent at most so many messages ahead. */
const windowMax = 1024;

export function serveBusStream(incoming: IncomingCall): void {
  new ServedStream(incoming).run();
}

class ServedStream implements BusServedCall {
  readonly #incoming: IncomingCall;
  readonly #room: Room;
  readonly #requests: FrameReceiver<Message> | undefined;
  readonly #timer: Timer | undefined;
  #pump: Pump | undefined;
  #heardAtMs: number;
  #sentSinceTick = false;
  #ended = false;

  constructor(incoming: IncomingCall) {
    this.#incoming = incoming;
    const { host, opening, served } = incoming;
    const { clock } = host.bus;
    this.#heardAtMs = clock.nowMs();
    this.#room = new Room(Math.min(opening.window, windowMax));
    if (served.method.methodKind === 'bidi_streaming') {
      this.#requests = new FrameReceiver<Message>({
        window: streamWindow,
        sendCredit: (total) => this.#send('credit', total),
      });
    }
    if (opening.deadline !== Infinity) {
      const leftMs = opening.deadline - this.#heardAtMs;
      this.#timer = clock.after(leftMs, () => this.#stop(deadlineExceeded(served.method, leftMs)));
    }
    host.begin(opening.id, this, opening.deadline === Infinity);
    host.ticker.add(this);
  }

  get caller(): string | undefined {
    return this.#incoming.reply.session?.peer.spiffeId;
  }

  run(): void {
    const { served, request, call } = this.#incoming;
    // The first frame tells the caller that the stream is open, and how much it may send.
    if (this.#requests === undefined) this.#send('beat', 0);
    else this.#send('credit', streamWindow);
    const input = this.#requests === undefined ? request : this.#requests.queue;
    this.#pump = startPump(() => answerStream(served, input, call), {
      room: () => this.#room.wait(),
      write: (message) => this.#write(message),
      end: (error) => this.#finish(error),
    });
  }

  onFrame(frame: Frame, body: Uint8Array): void {
    this.#heardAtMs = this.#incoming.host.bus.clock.nowMs();
    try {
      switch (frame.kind) {
        case 'credit':
          this.#room.grant(Math.min(frame.count, this.#room.used + windowMax));
          break;
        case 'cancel':
          this.#stop(cancelledByCaller(this.#incoming.served.method));
          break;
        case 'data':
          if (this.#requests?.admit(frame.count) === true) {
            this.#requests.queue.push(decodeRequest(this.#incoming.served, body));
          }
          break;
        case 'beat':
          this.#requests?.checkCount(frame.count);
          break;
        case 'end':
          this.#requests?.checkCount(frame.count);
          this.#requests?.queue.end();
          break;
        case 'answer':
        case 'refuse':
        case 'resync':
          break;
      }
    } catch (error) {
      this.abort(asNsmError(error));
    }
  }

  tick(nowMs: number): void {
    const { host, served, reply } = this.#incoming;
    if (!host.isTrusted(reply)) this.abort(callerReplaced(reply));
    else if (host.ticker.isSilent(this.#heardAtMs, nowMs))
      this.#stop(cancelledByCaller(served.method));
    else if (!this.#sentSinceTick) this.#send('beat', this.#room.used);
    this.#sentSinceTick = false;
  }

  onBusLost(): void {
    this.#stop(new NsmError('UNAVAILABLE', 'the bus was lost', { rule: 'bus' }));
  }

  abort(reason: NsmError): void {
    const { host, reply } = this.#incoming;
    if (!this.#ended) host.refuse(reply, reason);
    this.#stop(reason);
  }

  #write(message: Message): void {
    const { served, call, host, reply } = this.#incoming;
    checkAnswer(served, message);
    const body = toBinary(served.method.output, message);
    const headers = this.#room.used === 0 ? call.takeHeaders() : undefined;
    // Sent before it is counted: a message that is too large leaves no gap, only the refusal.
    const count = this.#room.used + 1;
    host.send(reply, 'data', count, headers === undefined ? { body } : { headers, body });
    this.#room.take();
    this.#sentSinceTick = true;
  }

  #finish(error: NsmError | undefined): void {
    const { host, reply, served } = this.#incoming;
    if (this.#ended) return;
    if (error === undefined) this.#send('end', this.#room.used);
    else host.refuse(reply, error);
    this.#stop(cancelledByCaller(served.method));
  }

  #send(kind: 'beat' | 'credit' | 'end', count: number): void {
    this.#incoming.host.send(this.#incoming.reply, kind, count);
  }

  #stop(reason: NsmError): void {
    if (this.#ended) return;
    this.#ended = true;
    const { host, opening, call } = this.#incoming;
    this.#timer?.cancel();
    host.ticker.delete(this);
    host.end(opening.id, this);
    call.abort(reason);
    this.#pump?.stop();
    this.#requests?.queue.abort(reason);
  }
}

function callerReplaced({ session }: IncomingCall['reply']): NsmError {
  const caller = session?.peer.spiffeId ?? 'nobody';
  return connectionReplaced(
    'a stream over the bus',
    `certificates of ${caller} that count no more`,
  );
}
