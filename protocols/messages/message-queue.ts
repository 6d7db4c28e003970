// The receiving end of a stream as its consumer sees it: an async iterator fed from callbacks. It holds what has
// come and not yet been taken; who feeds it must bound that (credits, pausing), which `onTake` is for.
// Invariants: items come out in order; nothing comes out after the end; waiting consumers are woken by the end.

import type { NsmError } from '../errors.ts';

export interface MessageQueueHooks {
  /** One item was taken; `size` is what remains. */
  readonly onTake?: (size: number) => void;
  /** The consumer is gone before the end: it left its loop. */
  readonly onReturn?: () => void;
}

interface Waiter<Item> {
  readonly resolve: (result: IteratorResult<Item>) => void;
  readonly reject: (error: NsmError) => void;
}

export class MessageQueue<Item> implements AsyncIterableIterator<Item> {
  #items: Item[] = [];
  #head = 0;
  #waiters: Waiter<Item>[] = [];
  #end: { readonly error: NsmError | undefined } | undefined;
  readonly #hooks: MessageQueueHooks;

  constructor(hooks: MessageQueueHooks = {}) {
    this.#hooks = hooks;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  push(item: Item): void {
    if (this.#end !== undefined) return;
    const waiter = this.#waiters.shift();
    if (waiter === undefined) {
      this.#items.push(item);
      return;
    }
    waiter.resolve({ value: item, done: false });
    this.#hooks.onTake?.(this.size);
  }

  /** What has come is still handed out, then the end or the error. */
  end(error?: NsmError): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    for (const waiter of this.#waiters.splice(0)) settleEnd(waiter, error);
  }

  /** Ends at once: what has not been taken is dropped. */
  abort(error: NsmError): void {
    this.#items = [];
    this.#head = 0;
    this.end(error);
  }

  next(): Promise<IteratorResult<Item>> {
    if (this.size > 0) {
      const item = this.#items[this.#head] as Item;
      this.#head += 1;
      if (this.#head === this.#items.length || this.#head > 1024) {
        this.#items = this.#items.slice(this.#head);
        this.#head = 0;
      }
      this.#hooks.onTake?.(this.size);
      return Promise.resolve({ value: item, done: false });
    }
    return new Promise((resolve, reject) => {
      if (this.#end === undefined) this.#waiters.push({ resolve, reject });
      else settleEnd({ resolve, reject }, this.#takeError());
    });
  }

  return(): Promise<IteratorResult<Item>> {
    const early = this.#end === undefined;
    this.#items = [];
    this.#head = 0;
    this.end();
    this.#takeError();
    if (early) this.#hooks.onReturn?.();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  // An error is thrown once; like a generator, the iterator is then done.
  #takeError(): NsmError | undefined {
    const error = this.#end?.error;
    this.#end = { error: undefined };
    return error;
  }
}

function settleEnd<Item>(waiter: Waiter<Item>, error: NsmError | undefined): void {
  if (error === undefined) waiter.resolve({ value: undefined, done: true });
  else waiter.reject(error);
}
