// The calling side of the bus: one inbox subscription per process for all answers, told apart by the call's id, and
// what is known of each callee's clock. Call ids begin with a secret of the dialer, so that only a process that is
// called can name one.

import { randomBytes } from 'node:crypto';
import type { Message } from '@bufbuild/protobuf';
import type { Msg } from '@nats-io/transport-node';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { Invoker } from '../../protocols/messages/rpc-client.ts';
import { createChannel } from '../../protocols/messages/rpc-client.ts';
import { componentSubject, parseBusUrl } from '../../protocols/messages/subjects.ts';
import type { CallHeaders, Channel, Dialer } from '../../protocols/ports/rpc.ts';
import type { BusSeals } from './bus-seals.ts';
import { readHeaderBlock } from './header-block.ts';
import type { BusSubscription } from './lasting-subscriptions.ts';
import type { BusStatus, NatsBus } from './nats-bus.ts';
import { busClosed } from './nats-bus.ts';
import { BusCallee } from './nats-callee.ts';
import type { BusCaller, ClientCall } from './nats-client-call.ts';
import { startBusStream } from './nats-client-stream.ts';
import { callBusUnary } from './nats-client-unary.ts';
import { StreamTicker } from './stream-ticker.ts';

export interface NatsDialerOptions {
  /** Calls and streams under way; beyond it a call is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax?: number;
  /** How often either end of a stream shows that it is alive; must be the same in the whole mesh. */
  readonly beatMs?: number;
  /** Made for the callee where it is known: with `seals`. */
  readonly callHeaders?: CallHeaders;
  /** Of a process that has an identity: callees have to have one too. */
  readonly seals?: BusSeals;
}

export const defaultBeatMs = 1000;

export function createNatsDialer(bus: NatsBus, options: NatsDialerOptions = {}): Dialer {
  return new NatsDialer(bus, options);
}

/** Callees remembered; one that is forgotten costs its next call one more crossing. */
const calleesMax = 10_000;

class NatsDialer implements Dialer {
  readonly #bus: NatsBus;
  readonly #callsMax: number;
  readonly #ticker: StreamTicker;
  readonly #callHeaders: CallHeaders | undefined;
  readonly #seals: BusSeals | undefined;
  readonly #inbox: string;
  readonly #subscription: BusSubscription;
  readonly #stopStatus: () => void;
  readonly #calls = new Map<string, { readonly call: ClientCall; readonly callee: BusCallee }>();
  readonly #channels = new Map<string, Channel>();
  readonly #secret = randomBytes(9).toString('base64url');
  #nextCall = 0;
  #closed = false;

  constructor(bus: NatsBus, options: NatsDialerOptions) {
    this.#bus = bus;
    this.#callHeaders = options.callHeaders;
    this.#seals = options.seals;
    this.#callsMax = options.callsMax ?? 10_000;
    this.#ticker = new StreamTicker(bus.clock, options.beatMs ?? defaultBeatMs);
    this.#inbox = bus.inbox();
    this.#subscription = bus.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#onMessage(message);
      },
    });
    this.#stopStatus = bus.onStatus((status) => this.#onStatus(status));
  }

  dial(url: string): Channel {
    const known = this.#channels.get(url);
    if (known !== undefined) return known;
    const subject = componentSubject(parseBusUrl(url));
    const channel = createChannel(url, this.#invoker(url, subject));
    if (this.#channels.size >= calleesMax) {
      this.#channels.delete(this.#channels.keys().next().value as string);
    }
    this.#channels.set(url, channel);
    return channel;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#stopStatus();
    this.#failAll(dialerClosed());
    this.#channels.clear();
    if (this.#bus.status !== 'closed') this.#subscription.unsubscribe();
    await Promise.resolve();
  }

  #invoker(url: string, subject: string): Invoker {
    const callee = new BusCallee(this.#bus, this.#seals);
    const caller: BusCaller = {
      bus: this.#bus,
      url,
      subject,
      callee,
      ticker: this.#ticker,
      callHeaders: this.#callHeaders,
      begin: (call) => this.#begin(call, callee),
      end: (id) => void this.#calls.delete(id),
      inbox: (id) => `${this.#inbox}.${id}`,
    };
    return {
      unary: (method, request, options): Promise<Message> =>
        callBusUnary(caller, method, request, options),
      stream: (method, requests, options) => startBusStream(caller, method, requests, options),
    };
  }

  #begin(call: ClientCall, callee: BusCallee): string {
    if (this.#closed) throw dialerClosed();
    if (this.#calls.size >= this.#callsMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'too many calls are under way', {
        rule: 'calls-under-way',
        expected: `at most ${this.#callsMax}`,
        remedy: 'call again later',
      });
    }
    this.#nextCall += 1;
    const id = `${this.#secret}-${this.#nextCall.toString(36)}`;
    this.#calls.set(id, { call, callee });
    return id;
  }

  #onMessage(message: Msg): void {
    const id = message.subject.slice(this.#inbox.length + 1);
    const entry = this.#calls.get(id);
    // Late for a call that has ended: nobody waits for it.
    if (entry === undefined) return;
    const { call, callee } = entry;
    try {
      const { status, headers } = readHeaderBlock(message);
      if (status === 503) call.onNoResponders();
      else {
        const received = callee.receive(message.subject, headers, message.data);
        if (received !== undefined) call.onFrame(received);
      }
    } catch (error) {
      const reason = asNsmError(error);
      if (reason.code === 'UNAUTHENTICATED') call.onFailure(reason);
      else this.#bus.log.warn('dropped a message that cannot be an answer', { error: reason });
    }
  }

  #onStatus(status: BusStatus): void {
    if (status === 'connected') return;
    this.#failAll(
      status === 'closed'
        ? busClosed()
        : new NsmError('UNAVAILABLE', 'the bus was lost while the call was under way', {
            rule: 'bus',
            remedy: 'call again; whether the peer executed the call is not known',
          }),
    );
  }

  #failAll(error: NsmError): void {
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    for (const { call } of calls) call.onFailure(error);
  }
}

function dialerClosed(): NsmError {
  return new NsmError('UNAVAILABLE', 'the dialer is closed', { rule: 'dialer' });
}
