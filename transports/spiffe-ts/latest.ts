// The newest of a sequence of values that is pushed: to read, to wait for, to listen to, to iterate over.
// Invariants: a reader that is slow skips to the newest; every wait ends, by a value, a failure, its time, its signal
// or the close; a listener that throws does not keep others from hearing.

import { setMaxListeners } from 'node:events';
import { NsmError } from '../../protocols/errors.ts';
import { MessageQueue } from '../../protocols/messages/message-queue.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';

type Listener<Value> = (value: Value | undefined) => void;

export class Latest<Value> {
  readonly #what: string;
  readonly #clock: Clock;
  readonly #listeners = new Set<Listener<Value>>();
  /** Told when no value can come any more. */
  readonly #ends = new Set<(error: NsmError) => void>();
  #value: Value | undefined;
  #lastFailure: NsmError | undefined;
  #end: NsmError | undefined;
  #isClosed = false;

  constructor(what: string, clock: Clock) {
    this.#what = what;
    this.#clock = clock;
  }

  get value(): Value | undefined {
    return this.#value;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  set(value: Value | undefined): void {
    if (this.#isClosed) return;
    this.#value = value;
    this.#lastFailure = undefined;
    for (const listener of this.#listeners) {
      try {
        listener(value);
      } catch (error) {
        // Thrown again where nobody's turn is lost: a broken listener is a programmer's error.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** No value came; the value so far stays. `isFinal`: none will come any more. */
  failed(error: NsmError, isFinal: boolean): void {
    this.#lastFailure = error;
    if (isFinal) this.#endWith(error);
  }

  close(): void {
    this.#isClosed = true;
    this.#endWith(new NsmError('UNAVAILABLE', 'the source of identity is closed'));
    this.#listeners.clear();
  }

  watch(listener: Listener<Value>): () => void {
    const own: Listener<Value> = (value) => listener(value);
    if (!this.#isClosed) this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** The value, or the first to come. */
  first({ timeoutMs, signal }: Budget): Promise<Value> {
    if (this.#isClosed) return Promise.reject(this.#end ?? this.#timedOut(0));
    if (this.#value !== undefined) return Promise.resolve(this.#value);
    if (this.#end !== undefined) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      const settle = (act: () => void): void => {
        timer.cancel();
        stop();
        this.#ends.delete(end);
        signal?.removeEventListener('abort', abort);
        act();
      };
      const end = (error: NsmError): void => settle(() => reject(error));
      const abort = (): void => end(new NsmError('CANCELLED', `waiting for ${this.#what} ended`));
      const stop = this.watch((value) => {
        if (value !== undefined) settle(() => resolve(value));
      });
      const timer = this.#clock.after(timeoutMs, () => end(this.#timedOut(timeoutMs)));
      this.#ends.add(end);
      if (signal === undefined) return;
      setMaxListeners(0, signal);
      if (signal.aborted) abort();
      else signal.addEventListener('abort', abort);
    });
  }

  updates(signal?: AbortSignal): AsyncIterable<Value> {
    return { [Symbol.asyncIterator]: () => this.#iterate(signal) };
  }

  #iterate(signal: AbortSignal | undefined): AsyncIterator<Value> {
    let pending: { readonly value: Value } | undefined;
    const release = (): void => {
      stop();
      this.#ends.delete(end);
      signal?.removeEventListener('abort', finish);
    };
    // Holds at most a mark that there is something new; the value itself is read when it is taken.
    const marks = new MessageQueue<true>({ onReturn: release });
    const offer = (value: Value | undefined): void => {
      if (value === undefined) return;
      if (pending === undefined) marks.push(true);
      pending = { value };
    };
    const finish = (): void => {
      release();
      marks.end();
    };
    const end = (): void => finish();
    const stop = this.watch(offer);
    this.#ends.add(end);
    offer(this.#value);
    if (signal !== undefined) {
      setMaxListeners(0, signal);
      if (signal.aborted) finish();
      else signal.addEventListener('abort', finish);
    }
    if (this.#isClosed || this.#end !== undefined) finish();
    return {
      next: async () => {
        const mark = await marks.next();
        const taken = pending;
        pending = undefined;
        return mark.done === true || taken === undefined
          ? { done: true, value: undefined }
          : { done: false, value: taken.value };
      },
      return: async () => {
        finish();
        await marks.return?.();
        return { done: true, value: undefined };
      },
    };
  }

  #endWith(error: NsmError): void {
    this.#end ??= error;
    for (const end of this.#ends) end(error);
  }

  #timedOut(timeoutMs: number): NsmError {
    return new NsmError('DEADLINE_EXCEEDED', `${this.#what} did not come in time`, {
      rule: 'workload-api',
      expected: `${this.#what} within ${timeoutMs} ms`,
      found: this.#lastFailure?.details.found ?? 'no answer',
      remedy: 'check SPIFFE_ENDPOINT_SOCKET and that the Workload API knows this workload',
      cause: this.#lastFailure,
    });
  }
}
