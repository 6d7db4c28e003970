// Leases without a connection, in the order in which they became idle, and by whose they are.
// A queue with holes: a Set would be walked over all that was taken from its front whenever the oldest is asked for.
// Invariants: both views hold the same leases; at most half of the queue are holes, but for a short one.

import type { IdleLease } from './lease-book.ts';

const holesMin = 64;

export class IdleLeases {
  #queue: (IdleLease | undefined)[] = [];
  /** Of the oldest one, or of a hole before it. */
  #head = 0;
  readonly #places = new Map<IdleLease, number>();
  readonly #byKey = new Map<string, readonly IdleLease[]>();

  get size(): number {
    return this.#places.size;
  }

  /** What was read may be removed meanwhile, but nothing added. */
  *oldestFirst(): Generator<IdleLease> {
    while (this.#head < this.#queue.length && this.#queue[this.#head] === undefined) {
      this.#head += 1;
    }
    const queue = this.#queue;
    for (let place = this.#head; place < queue.length; place += 1) {
      const lease = queue[place];
      if (lease !== undefined && this.#places.has(lease)) yield lease;
    }
  }

  /** Those of one client, oldest first. */
  of(key: string): readonly IdleLease[] {
    return this.#byKey.get(key) ?? [];
  }

  add(lease: IdleLease): void {
    this.#places.set(lease, this.#queue.length);
    this.#queue.push(lease);
    this.#byKey.set(lease.key, [...this.of(lease.key), lease]);
    if (this.#queue.length > holesMin + 2 * this.size) this.#compact();
  }

  remove(lease: IdleLease): void {
    const place = this.#places.get(lease);
    if (place === undefined) return;
    this.#places.delete(lease);
    this.#queue[place] = undefined;
    const rest = this.of(lease.key).filter((each) => each !== lease);
    if (rest.length === 0) this.#byKey.delete(lease.key);
    else this.#byKey.set(lease.key, rest);
  }

  /** A new queue: somebody may be reading the old one. */
  #compact(): void {
    this.#queue = this.#queue.filter((each) => each !== undefined);
    this.#head = 0;
    for (const [place, lease] of this.#queue.entries()) {
      if (lease !== undefined) this.#places.set(lease, place);
    }
  }
}
