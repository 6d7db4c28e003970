// Leases without a connection, in the order in which they became idle, and by whose they are.
// Invariant: both views hold the same leases; an empty list is not kept.

import type { IdleLease } from './lease-book.ts';

export class IdleLeases {
  readonly #all = new Set<IdleLease>();
  readonly #byKey = new Map<string, IdleLease[]>();

  get size(): number {
    return this.#all.size;
  }

  /** May be removed from while it is read. */
  oldestFirst(): Iterable<IdleLease> {
    return this.#all;
  }

  /** Those of one client, oldest first. */
  of(key: string): readonly IdleLease[] {
    return this.#byKey.get(key) ?? [];
  }

  add(lease: IdleLease): void {
    this.#all.add(lease);
    this.#byKey.set(lease.key, [...this.of(lease.key), lease]);
  }

  remove(lease: IdleLease): void {
    this.#all.delete(lease);
    const rest = this.of(lease.key).filter((each) => each !== lease);
    if (rest.length === 0) this.#byKey.delete(lease.key);
    else this.#byKey.set(lease.key, rest);
  }
}
