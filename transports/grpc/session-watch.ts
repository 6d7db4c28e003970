// What ends one connection of HTTP/2, whoever's calls it carries: a peer that answers no probe, that gives up calls faster
// than anybody needs to, or that sends what Node's HTTP/2 takes from nobody. Node and grpc-js end such connections too, and
// tell nobody why; so the probes are made here, and the other bounds are reached a little before theirs.

import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { constants } from 'node:http2';
import { NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';

export interface SessionWatchSetup {
  readonly clock: Clock;
  /** How often a connection is probed, so that a peer that vanished is noticed. */
  readonly keepaliveMs: number;
  /** How long it has to answer. */
  readonly keepaliveTimeoutMs: number;
  /** Told why the connection ends. */
  readonly onRefused: (error: NsmError) => void;
}

/** nghttp2 ends a connection beyond 1,000 cancelled at once, or 33 per second; our dialer stays below 700. */
const cancelledMax = 900;
const cancelledPerMs = 0.033;
/** nghttp2: a block of headers in more frames than it takes. */
const tooManyContinuations = -905;

/** nghttp2: a frame that breaks a rule of HTTP/2. */
const brokenRule = -505;
/** What the reference's calls are made by, as they say. */
const grpcGo = 'grpc-go/';

/** Follows it until it has ended. */
export function watchSession(session: ServerHttp2Session, setup: SessionWatchSetup): void {
  new SessionWatch(session, setup);
}

class SessionWatch {
  readonly #session: ServerHttp2Session;
  readonly #setup: SessionWatchSetup;
  /** The highest id of those whose headers have come whole. */
  #newestStream = 0;
  #cancelled = 0;
  #cancelledMs = 0;
  #probe: Timer | undefined;
  #isRefused = false;
  #hasBegun = false;
  /** A call has come that is not of grpc-go. */
  #hasOthers = false;

  constructor(session: ServerHttp2Session, setup: SessionWatchSetup) {
    this.#session = session;
    this.#setup = setup;
    session.once('remoteSettings', () => {
      this.#hasBegun = true;
    });
    session.on('stream', (stream, headers) => this.#opened(stream, headers));
    session.on('error', (error) => this.#failed(error));
    session.once('close', () => this.#probe?.cancel());
    // Before the session itself hears of it and forgets what it knows.
    session.socket.prependListener('close', () => this.#lost());
    this.#probeLater();
  }

  #opened(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    this.#hasOthers ||= !String(headers['user-agent']).includes(grpcGo);
    this.#newestStream = Math.max(this.#newestStream, stream.id ?? 0);
    // One that is reset with the same bytes that opened it comes here as it is over.
    if (stream.aborted) this.#aborted();
    else stream.once('aborted', () => this.#aborted());
  }

  #aborted(): void {
    const { clock } = this.#setup;
    const nowMs = clock.nowMs();
    const forgotten = (nowMs - this.#cancelledMs) * cancelledPerMs;
    this.#cancelled = Math.max(0, this.#cancelled - forgotten) + 1;
    this.#cancelledMs = nowMs;
    // A connection that is lost gives up all of its calls at once, and says so afterwards.
    if (this.#cancelled >= cancelledMax) setImmediate(() => this.#end(tooManyCancelled()));
  }

  #probeLater(): void {
    const { clock, keepaliveMs } = this.#setup;
    this.#probe = clock.after(keepaliveMs, () => this.#sendProbe());
  }

  #sendProbe(): void {
    const { clock, keepaliveTimeoutMs } = this.#setup;
    const session = this.#session;
    if (session.destroyed) return;
    this.#probe = clock.after(keepaliveTimeoutMs, () => this.#end(this.#unanswered()));
    // It is false where earlier ones are still unanswered, and the timer decides.
    session.ping((error) => {
      if (error !== null || session.destroyed) return;
      this.#probe?.cancel();
      this.#probeLater();
    });
  }

  #unanswered(): NsmError {
    if (this.#owesHeaders()) return tooMuchHeaders();
    return new NsmError('UNAVAILABLE', 'the peer answers no probe', {
      rule: 'keepalive',
      expected: `an answer within ${this.#setup.keepaliveTimeoutMs} ms`,
      found: 'none',
    });
  }

  /** Node's HTTP/2 has ended it. */
  #failed(error: Error): void {
    const { code, errno } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_HTTP2_ERROR' && code !== 'ERR_HTTP2_TOO_MANY_INVALID_FRAMES') return;
    if (errno === brokenRule && this.#mayBeGoodbye()) return;
    this.#tell(errno === tooManyContinuations ? tooMuchHeaders() : notHttp2(error.message));
  }

  /**
   * A client of grpc-go says goodbye by its own newest call, where HTTP/2 wants one of ours, and nghttp2 calls that broken;
   * which frame it was, nobody is told. The reference leaves like this after each Request.
   */
  #mayBeGoodbye(): boolean {
    return this.#hasBegun && !this.#hasOthers;
  }

  #lost(): void {
    if (this.#owesHeaders()) this.#tell(tooMuchHeaders());
  }

  /** A call has begun that never reached anybody: Node resets it, or its peer is told to go, when its headers are too much. */
  #owesHeaders(): boolean {
    const { lastProcStreamID = 0 } = this.#session.state;
    return lastProcStreamID > this.#newestStream;
  }

  #end(error: NsmError): void {
    if (this.#session.destroyed) return;
    this.#tell(error);
    this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  #tell(error: NsmError): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#setup.onRefused(error);
  }
}

function tooManyCancelled(): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'too many calls were cancelled', {
    rule: 'cancelled-calls',
    expected: `at most ${cancelledMax} at once, and ${cancelledPerMs * 1_000} per second`,
    found: 'more of them on one connection',
  });
}

function tooMuchHeaders(): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'the headers of a call were too much', {
    rule: 'header-block',
    expected: 'headers that come whole, in at most 8 further frames, and of at most 64 KiB each',
    found: 'headers that never came whole, or were more',
  });
}

function notHttp2(found: string): NsmError {
  return new NsmError('RESOURCE_EXHAUSTED', 'the connection was not used as one of HTTP/2', {
    rule: 'http2',
    expected: 'frames that HTTP/2 allows',
    found,
  });
}
