// The calling side of gRPC. One connection per URL, shared by all its calls and closed when no call has used it for a
// while, since Endpoints' URLs come and go.

import type { ChannelOptions } from '@grpc/grpc-js';
import { NsmError } from '../../protocols/errors.ts';
import { createChannel } from '../../protocols/messages/rpc-client.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { CallHeaders, Channel, Dialer } from '../../protocols/ports/rpc.ts';
import type { PlaintextOptions, PlaintextPolicy } from './grpc-address.ts';
import { createPlaintextPolicy, grpcTarget, parseGrpcUrl } from './grpc-address.ts';
import { messageBytesMaxDefault } from './grpc-bytes.ts';
import type { GrpcCaller } from './grpc-client-calls.ts';
import { callGrpcUnary, startGrpcStream } from './grpc-client-calls.ts';
import { GrpcConnection } from './grpc-connection.ts';
import type { MutualTls } from './mutual-tls.ts';
import { OwnSides } from './mutual-tls.ts';
import type { FdPassing } from './passing-credentials.ts';

export interface GrpcDialerOptions extends PlaintextOptions {
  readonly clock: Clock;
  /** Proves who calls and judges who answers. Absent: plaintext, where it is allowed. */
  readonly tls?: MutualTls;
  /** Only over TLS. */
  readonly callHeaders?: CallHeaders;
  /** Lets unix sockets carry descriptors. Only over TLS. */
  readonly fdPassing?: FdPassing;
  /** A channel without a call for this long is closed. */
  readonly idleMs?: number;
  readonly messageBytesMax?: number;
  /** How often a connection with a call under way is probed. Go servers cut clients that probe more often than every 5 minutes. */
  readonly keepaliveMs?: number;
  /** Calls and streams under way; beyond it a call is refused with RESOURCE_EXHAUSTED. */
  readonly callsMax?: number;
}

export function createGrpcDialer(options: GrpcDialerOptions): Dialer {
  return new GrpcDialer(options);
}

/** Channels (not connections) that may be remembered without being in use. */
const channelsMax = 10_000;

class GrpcDialer implements Dialer {
  readonly #options: GrpcDialerOptions;
  readonly #policy: PlaintextPolicy | undefined;
  readonly #own: OwnSides | undefined;
  readonly #channels = new Map<string, Channel>();
  readonly #connections = new Set<GrpcConnection>();
  #calls = 0;
  #closed = false;

  constructor(options: GrpcDialerOptions) {
    this.#options = options;
    const { tls } = options;
    this.#policy = tls === undefined ? createPlaintextPolicy(options) : undefined;
    this.#own = tls && new OwnSides(tls.identity, () => this.#replace());
  }

  dial(url: string): Channel {
    const known = this.#channels.get(url);
    if (known !== undefined) return known;
    const address = parseGrpcUrl(url);
    if (address.kind === 'tcp' && (address.host === '' || address.port === 0)) throw noTarget(url);
    this.#policy?.(address);
    const { tls, clock, callHeaders, fdPassing, idleMs = 60_000 } = this.#options;
    const connection = new GrpcConnection({
      url,
      target: grpcTarget(address),
      channelOptions: channelOptions(this.#options),
      clock,
      idleMs,
      tls: tls && this.#own && { ...tls, own: this.#own },
      callHeaders,
      fdPassing: address.kind === 'unix' ? fdPassing : undefined,
      onChange: (isOpen) => {
        if (isOpen) this.#connections.add(connection);
        else this.#connections.delete(connection);
      },
    });
    const caller = this.#caller(url, connection);
    const channel = createChannel(url, {
      unary: (method, request, callOptions) => callGrpcUnary(caller, method, request, callOptions),
      stream: (method, requests, callOptions) =>
        startGrpcStream(caller, method, requests, callOptions),
    });
    if (this.#channels.size >= channelsMax) {
      this.#channels.delete(this.#channels.keys().next().value as string);
    }
    this.#channels.set(url, channel);
    return channel;
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#own?.close();
    this.#channels.clear();
    for (const connection of this.#connections) connection.close();
    return Promise.resolve();
  }

  #replace(): void {
    for (const connection of this.#connections) connection.replace();
  }

  #caller(url: string, connection: GrpcConnection): GrpcCaller {
    const { clock, messageBytesMax = messageBytesMaxDefault, callsMax = 10_000 } = this.#options;
    return {
      url,
      clock,
      messageBytesMax,
      acquire: () => {
        if (this.#closed) throw new NsmError('UNAVAILABLE', 'the dialer is closed', { found: url });
        if (this.#calls >= callsMax) throw tooManyCalls(callsMax);
        const line = connection.acquire();
        this.#calls += 1;
        return line;
      },
      release: (line, call) => {
        this.#calls -= 1;
        connection.release(line, call);
      },
    };
  }
}

function channelOptions(options: GrpcDialerOptions): ChannelOptions {
  return {
    'grpc.enable_channelz': 0,
    // Its own connection, so that closing the channel closes it now.
    'grpc.use_local_subchannel_pool': 1,
    // A proxy named by the environment is never meant for a mesh's own peers.
    'grpc.enable_http_proxy': 0,
    // An SVID names no host. Node warns where an address is given instead of a name.
    'grpc.ssl_target_name_override': 'localhost',
    'grpc.service_config_disable_resolution': 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 2000,
    'grpc.keepalive_time_ms': options.keepaliveMs ?? 300_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.max_receive_message_length': options.messageBytesMax ?? messageBytesMaxDefault,
    'grpc.max_send_message_length': options.messageBytesMax ?? messageBytesMaxDefault,
  };
}

function noTarget(url: string): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the URL names no peer to call', {
    rule: 'grpc-url',
    expected: 'a host and a port',
    found: url,
  });
}

function tooManyCalls(callsMax: number): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'too many calls are under way', {
    rule: 'calls-under-way',
    expected: `at most ${callsMax}`,
    remedy: 'call again later',
  });
}
