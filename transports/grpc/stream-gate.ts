// What stands between a connection's HTTP/2 streams and grpc-js, which takes any number of calls whose requests never
// come: a stream beyond the peer's bounds is refused with a status before grpc-js sees it, and a request that does not
// come whole in time, or while its peer holds too much, is given up.

import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import type { ConnectionInjector, Server } from '@grpc/grpc-js';
import { ServerCredentials } from '@grpc/grpc-js';
import { NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { toStatus } from './grpc-metadata.ts';
import type { PeerBounds, PeerLoad } from './peer-load.ts';

export interface StreamGateInit {
  readonly clock: Clock;
  readonly bounds: PeerBounds;
  readonly load: PeerLoad;
  /** Whether requests of that path go on as long as the call. */
  readonly hasLongBody: (path: string) => boolean;
  /** Bytes of one message. */
  readonly messageBytesMax: number;
}

/** Refusals that may be unread; a connection that takes none of them is cut. */
const unreadRefusalsMax = 1_000;
/** What a piece of a message costs besides its bytes. */
const pieceBytes = 256;

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

export class StreamGate {
  readonly #init: StreamGateInit;
  #unread = 0;

  constructor(init: StreamGateInit) {
    this.#init = init;
  }

  /** True where grpc-js may have it. */
  admit(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): boolean {
    const { bounds, load, hasLongBody } = this.#init;
    if (load.calls >= bounds.callsMax) {
      stream.on('error', () => {});
      this.#refuse(stream, tooManyCalls(bounds));
      return false;
    }
    load.calls += 1;
    stream.once('close', () => {
      load.calls -= 1;
    });
    if (!stream.readableEnded) this.#followRequest(stream, hasLongBody(String(headers[':path'])));
    return true;
  }

  /** grpc-js keeps every piece until the message is whole, and waits for it without end. */
  #followRequest(stream: ServerHttp2Stream, isLong: boolean): void {
    const { clock, bounds, load, messageBytesMax } = this.#init;
    let held = 0;
    const timer = isLong
      ? undefined
      : clock.after(bounds.arrivalMs, () => this.#refuse(stream, tooSlow(bounds)));
    const onPiece = ({ length }: Buffer): void => {
      const more = Math.min(length + pieceBytes, messageBytesMax - held);
      held += more;
      load.arrivingBytes += more;
      if (load.arrivingBytes > bounds.arrivingBytesMax) this.#refuse(stream, tooMuch(bounds));
    };
    const isWhole = (): void => {
      timer?.cancel();
      stream.off('data', onPiece);
      load.arrivingBytes -= held;
      held = 0;
    };
    stream.on('data', onPiece);
    if (!isLong) stream.once('end', isWhole);
    stream.once('close', isWhole);
  }

  #refuse(stream: ServerHttp2Stream, error: NsmError): void {
    if (stream.closed || stream.destroyed) return;
    if (stream.headersSent) {
      stream.close(constants.NGHTTP2_CANCEL);
      return;
    }
    this.#unread += 1;
    stream.once('close', () => {
      this.#unread -= 1;
    });
    if (this.#unread > unreadRefusalsMax) {
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
    // What it still sends is not wanted; a stream that ended well would go to its handler even now.
    stream.once('finish', () => stream.close(constants.NGHTTP2_CANCEL));
  }
}

/** What grpc-js 1.14 serves a connection with; it shows it to nobody. */
interface Http2Servers {
  createHttp2Server(credentials: ServerCredentials): NodeJS.EventEmitter;
}

/** Takes one connection, whose streams pass `gate`. */
export function gatedInjector(server: Server, gate: StreamGate): ConnectionInjector {
  const own = server as unknown as Http2Servers;
  const prototype = Object.getPrototypeOf(server) as Http2Servers;
  own.createHttp2Server = (credentials) => {
    const http2Server = prototype.createHttp2Server.call(server, credentials);
    const [serve] = http2Server.listeners('stream') as OnStream[];
    if (serve === undefined) throw new Error('invariant broken: grpc-js serves no streams');
    http2Server.removeAllListeners('stream');
    http2Server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      if (gate.admit(stream, headers)) serve(stream, headers);
    });
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
    remedy: 'call again later',
  });
}

function tooMuch({ arrivingBytesMax }: PeerBounds): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'too much of this peer is under way', {
    rule: 'arriving-bytes',
    expected: `requests that are not whole yet to hold at most ${arrivingBytesMax} bytes`,
    remedy: 'call again later',
  });
}

function tooSlow({ arrivalMs }: PeerBounds): NsmError {
  return new NsmError('DEADLINE_EXCEEDED', 'the request has not come whole', {
    rule: 'arrival',
    expected: `all of it within ${arrivalMs} ms`,
  });
}
