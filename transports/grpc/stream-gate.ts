// What stands between a connection's HTTP/2 streams and grpc-js, which takes any number of calls whose requests never
// come: a stream beyond the peer's bounds is refused with a status before grpc-js sees it, and a request that does not
// come whole in time, or while its peer holds too much, is given up. What is refused is told once.

import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { ConnectionInjector, Server } from '@grpc/grpc-js';
import { ServerCredentials } from '@grpc/grpc-js';
import { NsmError } from '../../protocols/errors.ts';
import { headerBytesMax, headerCountMax } from '../../protocols/messages/headers.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Refusal } from '../../protocols/ports/refusal.ts';
import { toStatus } from './grpc-metadata.ts';
import type { PeerBounds, PeerLoad } from './peer-load.ts';
import { watchSession, type SessionWatchSetup } from './session-watch.ts';

export interface StreamGateInit extends Omit<SessionWatchSetup, 'onRefused'> {
  readonly clock: Clock;
  readonly bounds: PeerBounds;
  readonly load: PeerLoad;
  /** What is called by that path; undefined for what is not served. */
  readonly methodOf: (path: string) => CalledMethod | undefined;
  /** Bytes of one message. */
  readonly messageBytesMax: number;
  readonly onRefused: (refusal: Refusal) => void;
}

export interface CalledMethod {
  readonly name: string;
  /** Whether its requests go on as long as the call. */
  readonly hasLongBody: boolean;
}

/** A name of the caller's own choice must not make a line of its own in any log. */
const notServed: CalledMethod = { name: 'Unknown', hasLongBody: false };

/** Refusals that may be unread; a connection that takes none of them is cut. */
const unreadRefusalsMax = 1_000;
/** What belongs to HTTP/2 and gRPC of the headers of a call, beside those that count. */
const transportHeaders = 16;
const transportHeaderBytes = 4 * 1024;
/** Beyond it Node resets a call that nobody hears of; 128 by default. */
const headerPairsMax = 1_024;
/** Of gRPC: whether the message is compressed, and its length. */
const prefixBytes = 5;
/** What a piece of a message costs besides its bytes. */
const pieceBytes = 256;

type OnStream = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
  rawHeaders: readonly string[],
) => void;

export class StreamGate {
  readonly #init: StreamGateInit;
  #unread = 0;

  constructor(init: StreamGateInit) {
    this.#init = init;
  }

  /** Of one connection, for as long as it lasts. */
  watch(session: ServerHttp2Session): void {
    const { clock, keepaliveMs, keepaliveTimeoutMs } = this.#init;
    const onRefused = (error: NsmError): void => this.#tell(error);
    watchSession(session, { clock, keepaliveMs, keepaliveTimeoutMs, onRefused });
  }

  /** True where grpc-js may have it. `rawHeaders`: names and values in turn. */
  admit(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
  ): boolean {
    const { bounds, load, methodOf } = this.#init;
    const method = methodOf(String(headers[':path'])) ?? notServed;
    const tooMany = load.calls >= bounds.callsMax ? tooManyCalls(bounds) : undefined;
    const refusal = tooMany ?? tooMuchHeaders(rawHeaders);
    if (refusal !== undefined) {
      stream.on('error', () => {});
      this.#tell(refusal, method);
      this.#refuse(stream, refusal);
      return false;
    }
    load.calls += 1;
    stream.once('close', () => {
      load.calls -= 1;
    });
    if (!stream.readableEnded) this.#followRequest(stream, method);
    return true;
  }

  /** grpc-js keeps every piece until the message is whole, and waits for it without end. */
  #followRequest(stream: ServerHttp2Stream, method: CalledMethod): void {
    const { clock, bounds, load, messageBytesMax } = this.#init;
    let held = 0;
    let prefix = Buffer.alloc(0);
    let isTold = false;
    const refuse = (error: NsmError): void => {
      if (!isTold && isOpen(stream)) this.#tell(error, method);
      isTold = true;
      this.#refuse(stream, error);
    };
    const timer = method.hasLongBody
      ? undefined
      : clock.after(bounds.arrivalMs, () => refuse(tooSlow(bounds)));
    const onPiece = (piece: Buffer): void => {
      const more = Math.min(piece.length + pieceBytes, messageBytesMax - held);
      held += more;
      load.arrivingBytes += more;
      if (load.arrivingBytes > bounds.arrivingBytesMax) refuse(tooMuch(bounds));
      else if (prefix.length < prefixBytes) {
        prefix = Buffer.concat([prefix, piece.subarray(0, prefixBytes - prefix.length)]);
        const bytes = prefix.length < prefixBytes ? 0 : prefix.readUInt32BE(1);
        if (bytes > messageBytesMax) refuse(tooLarge(bytes, messageBytesMax));
      }
    };
    const isWhole = (): void => {
      timer?.cancel();
      stream.off('data', onPiece);
      load.arrivingBytes -= held;
      held = 0;
    };
    stream.on('data', onPiece);
    if (!method.hasLongBody) stream.once('end', isWhole);
    stream.once('close', isWhole);
  }

  #tell(error: NsmError, method?: CalledMethod): void {
    const { load, onRefused } = this.#init;
    onRefused({
      error,
      ...(load.peer !== undefined && { peer: load.peer }),
      ...(method && { operation: method.name }),
    });
  }

  #refuse(stream: ServerHttp2Stream, error: NsmError): void {
    if (!isOpen(stream)) return;
    if (stream.headersSent) {
      stream.close(constants.NGHTTP2_CANCEL);
      return;
    }
    this.#unread += 1;
    stream.once('close', () => {
      this.#unread -= 1;
    });
    if (this.#unread > unreadRefusalsMax) {
      this.#tell(tooManyUnread);
      stream.session?.destroy();
      return;
    }
    const { code, details, metadata } = toStatus(error);
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc+proto',
        'grpc-status': code,
        'grpc-message': encodeURI(details),
        ...metadata.toHttp2Headers(),
      },
      { endStream: true },
    );
    // grpc-js may have something to say as well, and would not expect that it is too late.
    stream.respond = () => {};
    // What it still sends is not wanted; a stream that ended well would go to its handler even now.
    stream.once('finish', () => stream.close(constants.NGHTTP2_CANCEL));
  }
}

const isOpen = (stream: ServerHttp2Stream): boolean => !stream.closed && !stream.destroyed;

/** What grpc-js 1.14 serves a connection with; it shows it to nobody. */
interface Http2Servers {
  readonly commonServerOptions: { maxHeaderListPairs?: number };
  createHttp2Server(credentials: ServerCredentials): NodeJS.EventEmitter;
}

/** Takes one connection, whose streams pass `gate`. */
export function gatedInjector(server: Server, gate: StreamGate): ConnectionInjector {
  const own = server as unknown as Http2Servers;
  const prototype = Object.getPrototypeOf(server) as Http2Servers;
  own.commonServerOptions.maxHeaderListPairs = headerPairsMax;
  own.createHttp2Server = (credentials) => {
    const http2Server = prototype.createHttp2Server.call(server, credentials);
    const [serve] = http2Server.listeners('stream') as OnStream[];
    if (serve === undefined) throw new Error('invariant broken: grpc-js serves no streams');
    http2Server.removeAllListeners('stream');
    http2Server.on('session', (session: ServerHttp2Session) => gate.watch(session));
    const take: OnStream = (stream, headers, flags, rawHeaders) => {
      if (gate.admit(stream, headers, rawHeaders)) serve(stream, headers, flags, rawHeaders);
    };
    http2Server.on('stream', take);
    return http2Server;
  };
  try {
    return server.createConnectionInjector(ServerCredentials.createInsecure());
  } finally {
    delete (own as Partial<Http2Servers>).createHttp2Server;
  }
}

function tooManyCalls({ callsMax }: PeerBounds): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'too many calls of this peer are in flight', {
    rule: 'calls-per-peer',
    expected: `at most ${callsMax}`,
    found: 'one more',
    remedy: 'call again later',
  });
}

function tooMuchHeaders(rawHeaders: readonly string[]): NsmError | undefined {
  const count = rawHeaders.length / 2;
  let bytes = 0;
  for (const text of rawHeaders) bytes += text.length;
  const isWithin =
    count <= headerCountMax + transportHeaders && bytes <= headerBytesMax + transportHeaderBytes;
  if (isWithin) return undefined;
  return new NsmError('RESOURCE_EXHAUSTED', 'the headers of a call are too large', {
    rule: 'header-bounds',
    expected: `at most ${headerCountMax} headers of ${headerBytesMax} bytes together`,
    found: `${count} headers of ${bytes} bytes, those of gRPC among them`,
  });
}

function tooLarge(bytes: number, bytesMax: number): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'the request is too large', {
    rule: 'message-size',
    expected: `at most ${bytesMax} bytes`,
    found: `${bytes} bytes`,
  });
}

const tooManyUnread = new NsmError('RESOURCE_EXHAUSTED', 'the peer reads no answers', {
  rule: 'unread-refusals',
  expected: `at most ${unreadRefusalsMax} refusals that are not read`,
  found: 'one more',
});

function tooMuch({ arrivingBytesMax }: PeerBounds): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'too much of this peer is under way', {
    rule: 'arriving-bytes',
    expected: `requests that are not whole yet to hold at most ${arrivingBytesMax} bytes`,
    found: 'more of them',
    remedy: 'call again later',
  });
}

function tooSlow({ arrivalMs }: PeerBounds): NsmError {
  return new NsmError('DEADLINE_EXCEEDED', 'the request has not come whole', {
    rule: 'arrival',
    expected: `all of it within ${arrivalMs} ms`,
    found: 'a part of it, or nothing',
  });
}
