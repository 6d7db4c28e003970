// One stream over the bus, at its caller. Messages come numbered to the inbox; credit goes out as they are taken;
// each end shows by beats that it is alive. The caller's beats ask for an answer, so a callee that is gone is noticed
// with the next beat ("no responders") and one that merely hangs after three.

import type { DescMethod, Message } from '@bufbuild/protobuf';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { FrameKind } from '../../protocols/messages/call-envelope.ts';
import {
  callHeader,
  decodeError,
  encodeCall,
  errorHeader,
} from '../../protocols/messages/call-envelope.ts';
import { FrameReceiver } from '../../protocols/messages/frame-receiver.ts';
import type { Pump } from '../../protocols/messages/pump.ts';
import { Room, startPump } from '../../protocols/messages/pump.ts';
import type { StreamRequests } from '../../protocols/messages/rpc-client.ts';
import { connectionReplaced } from '../../protocols/messages/replaced-connection.ts';
import { cancelledByCaller, deadlineExceeded } from '../../protocols/messages/rpc-client.ts';
import { methodSuffix } from '../../protocols/messages/subjects.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { StreamOptions } from '../../protocols/ports/rpc.ts';
import { listenForAbort } from './listen-for-abort.ts';
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
  streamWindow,
  unreadable,
  unsettledPeer,
} from './nats-client-call.ts';
import { beatsMissedMax } from './stream-ticker.ts';

const noBody = new Uint8Array(0);

export function startBusStream(
  caller: BusCaller,
  method: DescMethod,
  requests: StreamRequests,
  options: StreamOptions,
): AsyncIterator<Message> {
  const stream = new ClientStream(caller, method, requests, options);
  void stream.start();
  return stream.answers;
}

class ClientStream implements ClientCall {
  readonly #caller: BusCaller;
  readonly #method: DescMethod;
  readonly #requests: StreamRequests;
  readonly #options: StreamOptions;
  readonly #receiver: FrameReceiver<Message>;
  readonly #deadlineMs: number;
  readonly #room = new Room(0);
  #pump: Pump | undefined;
  #id = '';
  #timer: Timer | undefined;
  #retry: Timer | undefined;
  #resyncs = 0;
  #isOpen = false;
  #isStillProven = (): boolean => true;
  #heardAtMs: number;
  #ended = false;
  readonly #onAbort = (): void => this.#giveUp(cancelledByCaller(this.#method));

  constructor(
    caller: BusCaller,
    method: DescMethod,
    requests: StreamRequests,
    options: StreamOptions,
  ) {
    this.#caller = caller;
    this.#method = method;
    this.#requests = requests;
    this.#options = options;
    this.#heardAtMs = caller.bus.clock.nowMs();
    this.#deadlineMs =
      options.timeoutMs === undefined ? Infinity : this.#heardAtMs + options.timeoutMs;
    this.#receiver = new FrameReceiver<Message>({
      window: streamWindow,
      sendCredit: (total) => this.#control('credit', total),
      onReturn: this.#onAbort,
    });
  }

  get answers(): AsyncIterator<Message> {
    return this.#receiver.queue;
  }

  async start(): Promise<void> {
    const { bus, ticker } = this.#caller;
    const { timeoutMs, signal } = this.#options;
    if (signal !== undefined) listenForAbort(signal, this.#onAbort);
    if (timeoutMs !== undefined) {
      this.#timer = bus.clock.after(timeoutMs, () =>
        this.#giveUp(deadlineExceeded(this.#method, timeoutMs)),
      );
    }
    try {
      if (bus.status !== 'connected') {
        await bus.ready(Math.min(timeoutMs ?? Infinity, this.#openMs()), signal);
      }
      if (this.#ended) return;
      this.#id = this.#caller.begin(this);
      this.#heardAtMs = bus.clock.nowMs();
      ticker.add(this);
      this.#open();
    } catch (error) {
      this.#end(asNsmError(error));
    }
  }

  onFrame({ frame, headers, body }: Reception): void {
    this.#heardAtMs = this.#caller.bus.clock.nowMs();
    try {
      switch (frame.kind) {
        case 'resync':
          // Begun again it would tell anew what was told, or leave out what was not.
          if (this.#isOpen)
            throw connectionReplaced(this.#caller.url, 'one that is forgotten there');
          this.#resyncs += 1;
          if (this.#resyncs > resyncsMax) throw unsettledPeer(this.#caller);
          this.#open();
          break;
        case 'data':
          this.#opened();
          if (this.#receiver.admit(frame.count)) {
            this.#receiver.queue.push(decodeBody(this.#method.output, body));
          }
          break;
        case 'beat':
          this.#opened();
          this.#receiver.checkCount(frame.count);
          break;
        case 'credit':
          this.#opened();
          this.#room.grant(frame.count);
          break;
        case 'end':
          this.#receiver.checkCount(frame.count);
          this.#end(undefined);
          break;
        case 'refuse':
          this.#end(decodeError(headers[errorHeader]) ?? unreadable('a refusal'));
          break;
        case 'answer':
        case 'cancel':
          break;
      }
    } catch (error) {
      this.#giveUp(asNsmError(error));
    }
  }

  onNoResponders(): void {
    const { clock, reconnectedAtMs } = this.#caller.bus;
    if (!this.#isOpen && clock.nowMs() - reconnectedAtMs <= resubscribeMs) {
      this.#retry = clock.after(retryMs, () => this.#open());
    } else this.#end(noResponders(this.#caller));
  }

  onFailure(error: NsmError): void {
    this.#end(error);
  }

  tick(nowMs: number): void {
    if (!this.#isStillProven()) {
      this.#giveUp(connectionReplaced(this.#caller.url, 'one whose certificates are replaced'));
    } else if (this.#caller.ticker.isSilent(this.#heardAtMs, nowMs)) {
      this.#giveUp(silentPeer(this.#caller));
    } else if (this.#isOpen) this.#control('beat', this.#room.used);
  }

  #openMs(): number {
    return this.#caller.ticker.beatMs * beatsMissedMax;
  }

  #open(): void {
    if (this.#ended) return;
    const { bus, callee, subject } = this.#caller;
    const { time } = callee;
    const nowMs = bus.clock.nowMs();
    const startByMs = Math.min(this.#deadlineMs, this.#heardAtMs + this.#openMs());
    const line = encodeCall({
      id: this.#id,
      instance: time.instance,
      version: time.version,
      startBy: time.translate(startByMs, nowMs),
      deadline: time.translate(this.#deadlineMs, nowMs),
      window: streamWindow,
    });
    const request = this.#requests;
    try {
      const body = request.kind === 'one' ? encodeBody(this.#method, request.message) : noBody;
      const suffix = methodSuffix(this.#method.parent.typeName, this.#method.name);
      callee.call({
        subject: `${subject}.${suffix}`,
        reply: this.#caller.inbox(this.#id),
        compose: (peer) => ({
          headers: {
            ...this.#options.headers,
            ...this.#caller.callHeaders?.make(peer),
            [callHeader]: line,
          },
          body,
        }),
      });
    } catch (error) {
      this.#end(asNsmError(error));
    }
  }

  /** The callee has begun: now requests may flow. */
  #opened(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#isStillProven = this.#caller.callee.lease();
    const requests = this.#requests;
    if (requests.kind === 'one') return;
    this.#pump = startPump(() => requests.messages, {
      room: () => this.#room.wait(),
      write: (message) => {
        const body = encodeBody(this.#method, message);
        this.#control('data', this.#room.take(), body);
      },
      end: (error) => {
        if (error === undefined) this.#control('end', this.#room.used);
        else this.#giveUp(error);
      },
    });
  }

  #control(kind: FrameKind, count: number, body?: Uint8Array): void {
    sendControl(this.#caller, this.#id, { kind, count }, body);
  }

  #giveUp(error: NsmError): void {
    if (this.#ended) return;
    if (this.#id !== '' && this.#caller.callee.time.instance !== undefined)
      this.#control('cancel', 0);
    if (error.code === 'CANCELLED' || error.code === 'DEADLINE_EXCEEDED') {
      this.#receiver.queue.abort(error);
    }
    this.#end(error);
  }

  #end(error: NsmError | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer?.cancel();
    this.#retry?.cancel();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    this.#caller.ticker.delete(this);
    if (this.#id !== '') this.#caller.end(this.#id);
    this.#pump?.stop();
    this.#receiver.queue.end(error);
  }
}

function silentPeer(caller: BusCaller): NsmError {
  const silentMs = caller.ticker.beatMs * beatsMissedMax;
  return new NsmError('UNAVAILABLE', 'the peer fell silent', {
    rule: 'stream-beat',
    expected: `a sign of life every ${caller.ticker.beatMs} ms`,
    found: `none for ${silentMs} ms from ${caller.url}`,
    remedy: 'open the stream again and resync',
  });
}
