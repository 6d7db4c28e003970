// A connection that comes back: it opens a stream, lets a session shake hands over it, carries calls in the order in
// which they were made, probes a silent peer, and opens the next stream after a capped, jittered back-off.
// Invariants: one stream at a time; a call ends by its deadline; a call that changes something is sent at most once and
// fails with its stream, since nobody knows whether it happened; one that reads is sent again; calls and bytes waiting
// are bounded.

import { NsmError } from '../errors.ts';
import type { ByteStream, StreamHost } from '../ports/byte-stream.ts';
import type { Timer } from '../ports/clock.ts';
import type { Budget } from '../ports/dataplane.ts';

export interface LinkLimits {
  readonly callsMax: number;
  /** Bytes that may wait for the kernel to take them before further calls are refused. */
  readonly queuedBytesMax: number;
  /** From opening a stream until the handshake is done. */
  readonly connectTimeoutMs: number;
  /** Silence of the peer after which it is probed, and further silence after which it counts as lost. */
  readonly probeAfterMs: number;
  readonly probeTimeoutMs: number;
  readonly retryAfterMs: number;
  readonly retryAfterMsMax: number;
}

export const defaultLinkLimits: LinkLimits = {
  callsMax: 4096,
  queuedBytesMax: 16 * 1024 * 1024,
  connectTimeoutMs: 5000,
  probeAfterMs: 5000,
  probeTimeoutMs: 5000,
  retryAfterMs: 20,
  retryAfterMsMax: 500,
};

/** What a protocol does with one stream. */
export interface Session {
  /** Throws NsmError where the peer breaks the protocol; the stream is then given up. */
  receive(bytes: Uint8Array): void;
  /** Asks for a sign of life; any byte received counts. */
  probe(): void;
  /** The stream is gone; calls that were sent have been told already. */
  ended(error: NsmError): void;
}

export interface SessionStream {
  send(bytes: Uint8Array): void;
  /** The handshake is done: waiting calls go out now. */
  ready(): void;
  /** Gives the stream up. */
  fail(error: NsmError): void;
}

/** Settles a call; only the first settlement counts. */
export interface CallOutcome<Result> {
  resolve(result: Result): void;
  reject(error: NsmError): void;
}

export interface CallSpec<Result> {
  /** For errors: `transact`, `commit 3 flow modifications`. */
  readonly what: string;
  readonly budget: Budget;
  /** It changes nothing, so that it may be sent again after its stream was lost. */
  readonly isRead?: boolean;
  /** Sends it, when the session is ready. */
  start(outcome: CallOutcome<Result>): void;
  /** The caller gave up after `start`. */
  abandon?(): void;
}

export interface LinkOptions {
  /** The peer, for errors: `OVSDB server at <path>`. */
  readonly name: string;
  readonly socketPath: string;
  readonly host: StreamHost;
  readonly limits: LinkLimits;
  startSession(stream: SessionStream): Session;
}

interface PendingCall {
  readonly isRead: boolean;
  isSent: boolean;
  /** Ends it at its deadline. */
  timer: Timer | undefined;
  send(): void;
  fail(error: NsmError): void;
}

interface Attempt {
  readonly stream: ByteStream;
  session: Session | undefined;
  /** When the handshake was done; undefined before. */
  readyMs: number | undefined;
}

export class Link {
  readonly #options: LinkOptions;
  readonly #calls = new Set<PendingCall>();
  #attempt: Attempt | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #lastError: NsmError | undefined;
  #isClosed = false;
  #lastHeardMs = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#open();
  }

  /**
   * Errors, beside what `start` reports: RESOURCE_EXHAUSTED; DEADLINE_EXCEEDED, CANCELLED and UNAVAILABLE, which say
   * in `found` whether it was sent.
   */
  call<Result>(spec: CallSpec<Result>): Promise<Result> {
    const refusal = this.#refusal(spec);
    if (refusal !== undefined) return Promise.reject(refusal);
    const { host } = this.#options;
    return new Promise<Result>((resolve, reject) => {
      const { signal, timeoutMs } = spec.budget;
      const end = (): boolean => {
        pending.timer?.cancel();
        signal?.removeEventListener('abort', cancel);
        return this.#calls.delete(pending);
      };
      const outcome: CallOutcome<Result> = {
        resolve: (result) => void (end() && resolve(result)),
        reject: (error) => void (end() && reject(error)),
      };
      const giveUp = (code: 'CANCELLED' | 'DEADLINE_EXCEEDED'): void => {
        outcome.reject(this.#givenUp(code, spec, pending.isSent));
        if (pending.isSent) spec.abandon?.();
      };
      const cancel = (): void => giveUp('CANCELLED');
      const pending: PendingCall = {
        isRead: spec.isRead === true,
        isSent: false,
        timer: undefined,
        send: () => {
          pending.isSent = true;
          spec.start(outcome);
        },
        fail: (error) => outcome.reject(error),
      };
      this.#calls.add(pending);
      if (this.#attempt?.readyMs !== undefined) this.#send(pending);
      // What has its answer already needs none of these, and the peer is at work meanwhile.
      if (!this.#calls.has(pending)) return;
      pending.timer = host.clock.after(timeoutMs, () => giveUp('DEADLINE_EXCEEDED'));
      if (signal !== undefined) host.listenForAbort(signal, cancel);
    });
  }

  /** Calls that are still there fail with UNAVAILABLE. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    const error = this.#unavailable('closed');
    this.#drop(error);
    for (const call of this.#calls) call.fail(error);
  }

  #refusal({ what, budget }: CallSpec<unknown>): NsmError | undefined {
    if (this.#isClosed) return this.#unavailable('closed');
    if (budget.signal?.aborted === true) {
      return new NsmError('CANCELLED', `${what} was cancelled`, { found: 'not sent' });
    }
    const { callsMax, queuedBytesMax } = this.#options.limits;
    const queuedBytes = this.#attempt?.stream.queuedBytes ?? 0;
    if (this.#calls.size < callsMax && queuedBytes <= queuedBytesMax) return undefined;
    return new NsmError('RESOURCE_EXHAUSTED', `${this.#options.name} has too much to do`, {
      rule: 'calls in flight',
      expected: `at most ${callsMax} calls and ${queuedBytesMax} bytes waiting`,
      found: `${this.#calls.size} calls, ${queuedBytes} bytes`,
      remedy: 'wait for earlier calls',
    });
  }

  #givenUp(
    code: 'CANCELLED' | 'DEADLINE_EXCEEDED',
    spec: CallSpec<unknown>,
    isSent: boolean,
  ): NsmError {
    const why = code === 'CANCELLED' ? 'cancelled' : `not answered in ${spec.budget.timeoutMs} ms`;
    const cause = isSent ? undefined : this.#lastError;
    const reason = cause === undefined ? '' : ` (${cause.message}: ${cause.details.found ?? ''})`;
    return new NsmError(code, `${spec.what} was ${why}`, {
      hop: this.#options.name,
      rule: isSent ? 'answer' : 'connection',
      found: isSent ? 'sent, so it may have happened' : `not sent, no connection${reason}`,
      ...(cause === undefined ? {} : { cause }),
    });
  }

  #unavailable(found: string): NsmError {
    return new NsmError('UNAVAILABLE', `${this.#options.name} cannot be reached`, {
      hop: this.#options.name,
      rule: 'connection',
      found,
    });
  }

  #open(): void {
    const { host, limits, socketPath } = this.#options;
    const isCurrent = (): boolean => this.#attempt === attempt;
    const stream = host.openStream(socketPath, {
      onOpen: () => isCurrent() && this.#opened(attempt),
      onBytes: (bytes) => isCurrent() && this.#received(attempt, bytes),
      onClosed: (reason) => isCurrent() && this.#lost(this.#unavailable(reason)),
    });
    const attempt: Attempt = { stream, session: undefined, readyMs: undefined };
    this.#attempt = attempt;
    this.#timer = host.clock.after(limits.connectTimeoutMs, () =>
      this.#lost(this.#unavailable(`no handshake in ${limits.connectTimeoutMs} ms`)),
    );
  }

  #opened(attempt: Attempt): void {
    const ifCurrent = (act: () => void): void => void (this.#attempt === attempt && act());
    attempt.session = this.#options.startSession({
      send: (bytes) => ifCurrent(() => attempt.stream.send(bytes)),
      ready: () => ifCurrent(() => this.#ready(attempt)),
      fail: (error) => ifCurrent(() => this.#lost(error)),
    });
  }

  #received(attempt: Attempt, bytes: Uint8Array): void {
    this.#lastHeardMs = this.#options.host.clock.nowMs();
    this.#guarded(() => attempt.session?.receive(bytes));
  }

  #ready(attempt: Attempt): void {
    attempt.readyMs = this.#options.host.clock.nowMs();
    this.#lastError = undefined;
    this.#timer?.cancel();
    this.#lastHeardMs = attempt.readyMs;
    this.#watchSilence(attempt);
    for (const call of this.#calls) {
      if (!call.isSent && this.#attempt === attempt) this.#send(call);
    }
  }

  #send(call: PendingCall): void {
    try {
      call.send();
    } catch (error) {
      if (!(error instanceof NsmError)) throw error;
      call.fail(error);
    }
  }

  /** One timer, moved on by what was heard meanwhile, instead of one per message. */
  #watchSilence(attempt: Attempt): void {
    const { host, limits } = this.#options;
    const silenceMs = host.clock.nowMs() - this.#lastHeardMs;
    const remainingMs = limits.probeAfterMs - silenceMs;
    if (remainingMs > 0) {
      this.#timer = host.clock.after(remainingMs, () => this.#watchSilence(attempt));
      return;
    }
    const askedMs = host.clock.nowMs();
    attempt.session?.probe();
    this.#timer = host.clock.after(limits.probeTimeoutMs, () => {
      if (this.#lastHeardMs >= askedMs) this.#watchSilence(attempt);
      else this.#lost(this.#unavailable(`silent for ${limits.probeTimeoutMs} ms after a probe`));
    });
  }

  #guarded(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof NsmError)) throw error;
      this.#lost(error);
    }
  }

  #lost(error: NsmError): void {
    this.#timer?.cancel();
    this.#lastError = error;
    const { host, limits } = this.#options;
    const readyMs = this.#attempt?.readyMs;
    this.#drop(error);
    if (this.#isClosed) return;
    // A peer that ends every connection soon after the handshake must not be asked without pause.
    const wasStable =
      readyMs !== undefined && host.clock.nowMs() - readyMs > limits.retryAfterMsMax;
    if (wasStable) this.#failures = 0;
    const fullMs = Math.min(limits.retryAfterMs * 2 ** this.#failures, limits.retryAfterMsMax);
    this.#failures = Math.min(this.#failures + 1, 16);
    const delayMs = fullMs / 2 + host.random.integer(Math.max(1, Math.ceil(fullMs / 2)));
    this.#timer = host.clock.after(delayMs, () => this.#open());
  }

  #drop(error: NsmError): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    attempt?.stream.destroy();
    for (const call of this.#calls) {
      if (call.isSent && call.isRead) call.isSent = false;
      else if (call.isSent) call.fail(this.#outcomeUnknown(error));
    }
    attempt?.session?.ended(error);
  }

  #outcomeUnknown(cause: NsmError): NsmError {
    return new NsmError('UNAVAILABLE', `${this.#options.name} was lost during a call`, {
      hop: this.#options.name,
      rule: 'answer',
      found: `sent, so it may have happened (${cause.message}: ${cause.details.found ?? ''})`,
      remedy: 'look at what is there, then decide',
      cause,
    });
  }
}
