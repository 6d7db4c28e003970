// A stream of the Workload API that is kept open: opened again after each end, with exponential back-off and jitter.
// Status semantics of the Workload Endpoint specification section 6, and of the reference's client for the rest:
// INVALID_ARGUMENT and CANCELLED end the watch for good, everything else is retried.
// Invariants: at most one stream and one timer at a time; nothing is called after `stop`.

import type { NsmError } from '../../protocols/errors.ts';
import { asNsmError, describeError, NsmError as Failure } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { CancelStream, StreamHandlers } from './workload-api-client.ts';

/** The pause before attempt n is between half and all of `firstMs` * 2^n, at most `maxMs`. */
export const backoff = { firstMs: 200, maxMs: 30_000 } as const;

/** A server answers a new stream at once (Workload API 4.3); one that does not is taken for dead. */
export const firstMessageMs = 30_000;

export interface WatchOptions<Message> {
  /** For the log: `X.509-SVIDs`. */
  readonly what: string;
  readonly open: (handlers: StreamHandlers<Message>) => CancelStream;
  /** Takes a message over; throws where it is not good, and then the last good one stays. */
  readonly accept: (message: Message) => void;
  /** The stream failed or a message was refused; what it was and whether it is over for good. */
  readonly onTrouble: (error: NsmError, isFinal: boolean) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export function startWatch<Message>(options: WatchOptions<Message>): { stop(): void } {
  const watch = new Watch(options);
  watch.start();
  return watch;
}

class Watch<Message> {
  readonly #options: WatchOptions<Message>;
  #cancel: CancelStream | undefined;
  #timer: Timer | undefined;
  #attempts = 0;
  #isStopped = false;

  constructor(options: WatchOptions<Message>) {
    this.#options = options;
  }

  start(): void {
    const { what, open, clock } = this.#options;
    this.#timer = clock.after(firstMessageMs, () => {
      this.#cancel?.();
      this.#ended(
        new Failure('DEADLINE_EXCEEDED', 'the Workload API says nothing', {
          rule: 'workload-api',
          expected: `${what} within ${firstMessageMs} ms`,
          found: 'an open stream without a message',
        }),
      );
    });
    this.#cancel = open({
      onMessage: (message) => this.#received(message),
      onEnd: (error) => this.#ended(error),
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#cancel?.();
  }

  #received(message: Message): void {
    if (this.#isStopped) return;
    this.#timer?.cancel();
    try {
      this.#options.accept(message);
      this.#attempts = 0;
    } catch (thrown) {
      const error = asNsmError(thrown);
      this.#options.log.error('refused what the Workload API sent, the last good state stays', {
        what: this.#options.what,
        error: describeError(error),
      });
      this.#options.onTrouble(error, false);
    }
  }

  #ended(error: NsmError | undefined): void {
    if (this.#isStopped) return;
    this.#timer?.cancel();
    this.#cancel = undefined;
    const { what, log, onTrouble } = this.#options;
    const isFinal = error?.code === 'INVALID_ARGUMENT' || error?.code === 'CANCELLED';
    if (isFinal) {
      this.#isStopped = true;
      log.error('stopped asking the Workload API', { what, error: describeError(error) });
      onTrouble(error, true);
      return;
    }
    const delayMs = this.#delayMs();
    const text = error === undefined ? 'the stream was closed' : describeError(error);
    log.warn('lost the stream of the Workload API', { what, error: text, retryInMs: delayMs });
    this.#attempts += 1;
    // Armed before others are told, since they may stop the watch.
    this.#timer = this.#options.clock.after(delayMs, () => this.start());
    if (error !== undefined) onTrouble(error, false);
  }

  #delayMs(): number {
    const wholeMs = Math.min(backoff.maxMs, backoff.firstMs * 2 ** Math.min(this.#attempts, 16));
    const halfMs = Math.ceil(wholeMs / 2);
    return halfMs + this.#options.random.integer(halfMs + 1);
  }
}
