// The leases of one Endpoint with their journal: the pure book decides, this makes its decisions last.
// Invariants: a Request never waits for the journal of leases; a Close does, so that a lease is on record before its
// connection is not; a journal that refuses costs the reservation at the next start, never the wire.

import { describeError } from '../../protocols/errors.ts';
import { leaseOwnerOf } from '../../protocols/ipam/lease-key.ts';
import { type Assignment, type IdleLease, LeaseBook } from '../../protocols/ipam/lease-book.ts';
import type { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import {
  decodeLeases,
  encodeLease,
  leaseRecordKey,
  type LeaseRecordsSetup,
} from './lease-records.ts';

export interface LeasesSetup extends LeaseRecordsSetup {
  readonly pools: PointToPointPools;
  readonly policy: 'polite' | 'strict';
  /** Without, nothing is kept over a restart but what connections hold. */
  readonly journal?: Journal;
}

export class Leases {
  readonly book: LeaseBook;
  readonly #setup: LeasesSetup;
  #lastWrite: Promise<void> = Promise.resolve();

  constructor(setup: LeasesSetup) {
    this.#setup = setup;
    const { pools, keepMs, policy, journal } = setup;
    this.book = new LeaseBook(pools, {
      keepMs,
      policy,
      onIdle: (lease) => this.#write(journal?.put(leaseRecordKey(lease), this.#encoded(lease))),
      onGone: (lease) => this.#write(journal?.delete(leaseRecordKey(lease))),
    });
  }

  assign(connection: Connection): Assignment {
    return this.book.assign({
      connectionId: connection.id,
      owner: () => leaseOwnerOf(connection),
      ipContext: connection.context?.ipContext,
      nowMs: this.#setup.clock.nowMs(),
    });
  }

  /** Resolves when the lease is on record. */
  async release(connectionId: string): Promise<void> {
    this.book.release(connectionId, this.#setup.clock.nowMs());
    await this.#lastWrite;
  }

  /** Takes over a connection of an earlier life; false where its addresses fit no more. */
  restoreLive(connection: Connection): boolean {
    const { id, context } = connection;
    return this.book.restoreLive(id, leaseOwnerOf(connection), context?.ipContext);
  }

  /** What the journal keeps for clients that are away; before anything else is written. */
  async load(): Promise<readonly IdleLease[]> {
    const { journal } = this.#setup;
    return journal === undefined ? [] : decodeLeases(await journal.load(), this.#setup);
  }

  /** After the live ones: an address that one of them holds is not kept for anybody else. */
  restoreIdle(kept: readonly IdleLease[]): void {
    const { journal, clock } = this.#setup;
    for (const lease of kept) {
      const isOver = lease.keepUntilMs <= clock.nowMs();
      if (!isOver && this.book.restoreIdle(lease)) continue;
      this.#write(journal?.delete(leaseRecordKey(lease)));
    }
  }

  #encoded(lease: IdleLease): Uint8Array {
    return encodeLease(lease, this.#setup.bootId);
  }

  #write(writing: Promise<void> | undefined): void {
    if (writing === undefined) return;
    this.#lastWrite = writing.catch((error: unknown) =>
      this.#setup.log.warn('the journal of leases refused a change', {
        error: describeError(error),
      }),
    );
  }
}
