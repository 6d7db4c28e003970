// The connection of a process to the bus: reconnects for ever, notices a silent server by pings, and says when the
// bus is there. Loss of the bus is never evidence against a peer: what was under way ends as UNAVAILABLE, and a new
// call waits for the bus within its own deadline. With an identity it is reached over TLS; for a new SVID a second
// connection is made, takes over the subscriptions, and only then the first one ends: nothing is lost. Messages of one turn of the event loop leave in one write: on
// loopback a write costs more than everything else that a call does.

import type {
  ConnectionOptions,
  NatsConnection,
  PublishOptions,
  Status,
  SubscriptionOptions,
} from '@nats-io/transport-node';
import { connect, createInbox, TimeoutError } from '@nats-io/transport-node';
import { NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Headers } from '../../protocols/ports/rpc.ts';
import { type BusTls, tlsConnectionOptions, watchMaterial } from './bus-tls.ts';
import { asLibraryHeaders, encodeHeaderBlock } from './header-block.ts';
import { type BusSubscription, LastingSubscriptions } from './lasting-subscriptions.ts';
import { listenForAbort } from './listen-for-abort.ts';

export interface NatsBusOptions {
  /** `nats://host:port`, several separated by commas. */
  readonly url: string;
  /** Shown by the server's monitoring. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** For the first connection. */
  readonly connectTimeoutMs?: number;
  /** A server that misses two pings in a row counts as lost. */
  readonly pingIntervalMs?: number;
  /** Of a process that has an identity. */
  readonly tls?: BusTls;
  /** Anything else of the library. */
  readonly connection?: Partial<ConnectionOptions>;
}

export type BusStatus = 'connected' | 'disconnected' | 'closed';

export interface BusMessage {
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly reply?: string;
}

export interface NatsBus {
  /** For JetStream and KV, each time anew: it is replaced with the SVID. */
  readonly connection: NatsConnection;
  readonly clock: Clock;
  readonly log: Log;
  readonly status: BusStatus;
  /** Clock time of the last reconnect; -Infinity before the first. */
  readonly reconnectedAtMs: number;
  /** `connected` also tells of a connection that has taken the place of another. */
  onStatus(listener: (status: BusStatus) => void): () => void;
  /** An inbox that nobody else may listen to. */
  inbox(): string;
  /**
   * Outlives the connection. While one replaces another, a message may come twice without `queue`; of several
   * subscriptions of one queue only one gets it.
   */
  subscribe(subject: string, options: SubscriptionOptions): BusSubscription;
  /** Resolves when connected. Errors: UNAVAILABLE after `timeoutMs`, CANCELLED. */
  ready(timeoutMs: number, signal?: AbortSignal): Promise<void>;
  /**
   * Sends at the end of this turn of the event loop, or not at all: false where the bus is not there. What the bus
   * is lost before is lost with it. Errors: RESOURCE_EXHAUSTED naming size and limit where the message exceeds the
   * server's max_payload.
   */
  publish(subject: string, message: BusMessage): boolean;
  /** Sends what waits, and resolves once the server has taken it. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/** Bytes that may wait for the end of a turn. */
const waitingBytesMax = 64 * 1024;

interface Outgoing {
  readonly subject: string;
  readonly body: Uint8Array;
  readonly options: PublishOptions;
}

/**
 * One try to connect. What is sent into a network that is cut is sent again after 1, 3 and 7 s: a new try reaches a
 * network that has healed sooner than an old one does.
 */
const tryTimeoutMs = 2000;

export async function connectNats(options: NatsBusOptions): Promise<NatsBus> {
  const timeoutMs = options.connectTimeoutMs ?? 5000;
  try {
    const connection = await connectWithin(options, timeoutMs);
    return new ConnectedBus(connection, options);
  } catch (cause) {
    throw new NsmError('UNAVAILABLE', 'the bus cannot be reached', {
      rule: 'bus-connect',
      expected: `a nats-server at ${options.url} within ${timeoutMs} ms`,
      found: cause instanceof Error ? cause.message : String(cause),
      remedy: 'start nats-server or correct the URL of the bus',
      cause,
    });
  }
}

/** Tries again where nobody answers; a refusal is an answer. */
async function connectWithin(options: NatsBusOptions, timeoutMs: number): Promise<NatsConnection> {
  const { clock } = options;
  const deadlineMs = clock.nowMs() + timeoutMs;
  for (;;) {
    const leftMs = Math.max(1, deadlineMs - clock.nowMs());
    try {
      return await connectOnce(options, Math.min(leftMs, tryTimeoutMs));
    } catch (error) {
      if (!(error instanceof TimeoutError) || clock.nowMs() >= deadlineMs) throw error;
    }
  }
}

function connectOnce(options: NatsBusOptions, timeoutMs: number): Promise<NatsConnection> {
  return connect({
    servers: options.url.split(','),
    name: options.name,
    timeout: timeoutMs,
    reconnect: true,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
    reconnectJitter: 100,
    reconnectJitterTLS: 100,
    pingInterval: options.pingIntervalMs ?? 2000,
    maxPingOut: 2,
    // A stack per request is only of use to somebody debugging the library, and costs much.
    noAsyncTraces: true,
    ...(options.tls && tlsConnectionOptions(options.tls)),
    ...options.connection,
  });
}

/** How long what was asked over a connection that is replaced may take to be answered there. */
const replacedGraceMs = 10_000;
const replaceRetryMs = 500;

class ConnectedBus implements NatsBus {
  readonly clock: Clock;
  readonly log: Log;
  readonly #options: NatsBusOptions;
  #connection: NatsConnection;
  #status: BusStatus = 'connected';
  #reconnectedAtMs = -Infinity;
  #payloadMax: number;
  readonly #listeners = new Set<(status: BusStatus) => void>();
  readonly #subscriptions = new LastingSubscriptions();
  /** Connections that have been replaced, and when they end. */
  readonly #replaced = new Map<NatsConnection, Timer>();
  #replacing: Promise<void> | undefined;
  #retry: Timer | undefined;
  readonly #unwatch: () => void;
  #waiting: Outgoing[] = [];
  #waitingBytes = 0;
  readonly #sendWaiting = (): void => this.#send();

  constructor(connection: NatsConnection, options: NatsBusOptions) {
    this.#connection = connection;
    this.#options = options;
    this.clock = options.clock;
    this.log = options.log.child({ bus: options.name });
    this.#payloadMax = connection.info?.max_payload ?? 1024 * 1024;
    this.#unwatch = options.tls
      ? watchMaterial(options.tls.identity, () => this.#replaceSoon())
      : () => {};
    void this.#follow(connection);
  }

  get connection(): NatsConnection {
    return this.#connection;
  }

  inbox(): string {
    const { tls } = this.#options;
    return createInbox(tls && tlsConnectionOptions(tls).inboxPrefix);
  }

  subscribe(subject: string, options: SubscriptionOptions): BusSubscription {
    return this.#subscriptions.add(this.#connection, subject, options);
  }

  get status(): BusStatus {
    return this.#status;
  }

  get reconnectedAtMs(): number {
    return this.#reconnectedAtMs;
  }

  onStatus(listener: (status: BusStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  ready(timeoutMs: number, signal?: AbortSignal): Promise<void> {
    if (this.#status === 'connected') return Promise.resolve();
    if (this.#status === 'closed') return Promise.reject(busClosed());
    return new Promise((resolve, reject) => {
      const settle = (error?: NsmError): void => {
        timer.cancel();
        stop();
        signal?.removeEventListener('abort', onAbort);
        if (error === undefined) resolve();
        else reject(error);
      };
      const onAbort = (): void =>
        settle(new NsmError('CANCELLED', 'the caller gave up waiting for the bus'));
      const timer = this.clock.after(timeoutMs, () => settle(busLost(timeoutMs)));
      const stop = this.onStatus((status) =>
        settle(status === 'connected' ? undefined : busClosed()),
      );
      if (signal !== undefined) listenForAbort(signal, onAbort);
    });
  }

  publish(subject: string, message: BusMessage): boolean {
    if (this.#status !== 'connected') return false;
    const block = encodeHeaderBlock(message.headers);
    const size = block.length + message.body.length;
    if (size > this.#payloadMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'the message is too large for the bus', {
        rule: 'payload',
        expected: `at most ${this.#payloadMax} bytes`,
        found: `${size} bytes`,
        remedy: 'raise max_payload of nats-server or send less',
      });
    }
    const { reply } = message;
    const headers = asLibraryHeaders(block);
    this.#wait({
      subject,
      body: message.body,
      options: reply === undefined ? { headers } : { headers, reply },
    });
    this.#waitingBytes += size;
    if (this.#waitingBytes > waitingBytesMax) this.#send();
    return true;
  }

  #wait(outgoing: Outgoing): void {
    if (this.#waiting.length === 0) setImmediate(this.#sendWaiting);
    this.#waiting.push(outgoing);
  }

  /** The library gathers what it is given without a pause into one write. */
  #send(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    // The library would keep them for the next connection, and calls that have been given up would arrive there.
    if (this.#status !== 'connected') return;
    try {
      for (const { subject, body, options } of waiting) {
        this.#connection.publish(subject, body, options);
      }
    } catch (cause) {
      // The library refuses on a connection that closed since its last status.
      this.log.debug('did not publish', { cause });
    }
  }

  async flush(): Promise<void> {
    this.#send();
    await this.#connection.flush();
  }

  async close(): Promise<void> {
    this.#unwatch();
    this.#retry?.cancel();
    this.#send();
    this.#become('closed');
    await this.#replacing;
    for (const timer of this.#replaced.values()) timer.cancel();
    await Promise.all([...this.#replaced.keys()].map((each) => each.close()));
    await this.#connection.close();
  }

  async #follow(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (connection === this.#connection) this.#onStatus(status);
    }
    if (connection === this.#connection) this.#become('closed');
  }

  /** With each new SVID; until it succeeds the connection before serves on. */
  #replaceSoon(): void {
    this.#retry?.cancel();
    if (this.#status === 'closed') return;
    const begun = (this.#replacing ?? Promise.resolve())
      .then(() => this.#replace())
      .catch((error: unknown) => {
        if (this.#status === 'closed') return;
        this.log.warn('the connection to the bus is not replaced yet', {
          error: error instanceof Error ? error.message : String(error),
        });
        this.#retry = this.clock.after(replaceRetryMs, () => this.#replaceSoon());
      });
    this.#replacing = begun;
  }

  async #replace(): Promise<void> {
    if ((this.#status as BusStatus) === 'closed') return;
    const next = await connectOnce(this.#options, tryTimeoutMs);
    if ((this.#status as BusStatus) === 'closed') {
      await next.close();
      return;
    }
    try {
      await this.#subscriptions.move(next);
    } catch (error) {
      await next.close();
      throw error;
    }
    this.#send();
    const old = this.#connection;
    this.#connection = next;
    void this.#follow(next);
    this.#payloadMax = next.info?.max_payload ?? this.#payloadMax;
    const end = this.clock.after(replacedGraceMs, () => {
      this.#replaced.delete(old);
      void old.close();
    });
    this.#replaced.set(old, end);
    this.log.info('the connection to the bus is replaced for a new SVID');
    if (this.#status === 'connected') for (const listener of this.#listeners) listener('connected');
    else this.#become('connected');
  }

  #onStatus(status: Status): void {
    const { type } = status;
    if (type === 'disconnect') {
      this.log.warn('lost the bus', { server: status.server });
      this.#become('disconnected');
    } else if (type === 'reconnect') {
      this.log.info('reached the bus again', { server: status.server });
      this.#payloadMax = this.#connection.info?.max_payload ?? this.#payloadMax;
      this.#reconnectedAtMs = this.clock.nowMs();
      this.#become('connected');
    } else if (type === 'error') {
      this.log.warn('the bus reported an error', { error: status.error.message });
    } else if (type === 'staleConnection') this.log.warn('the bus answered no ping');
    else this.log.debug('the bus changed', { type });
  }

  #become(status: BusStatus): void {
    if (this.#status === status || this.#status === 'closed') return;
    this.#status = status;
    for (const listener of this.#listeners) listener(status);
  }
}

export function busLost(timeoutMs: number): NsmError {
  return new NsmError('UNAVAILABLE', 'the bus did not come back in time', {
    rule: 'bus',
    expected: `the bus within ${Math.round(timeoutMs)} ms`,
    remedy: 'look after nats-server; the process reconnects by itself',
  });
}

export function busClosed(): NsmError {
  return new NsmError('UNAVAILABLE', 'the connection to the bus is closed', { rule: 'bus' });
}
