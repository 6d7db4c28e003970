// The leases of one Endpoint with their journal: the pure book decides, this makes its decisions last.
// Invariants: a Request never waits for the journal of leases; a Close does, so that a lease is on record before its
// connection is not; a journal that refuses costs the reservation at the next start, never the wire.

import { describeError, NsmError } from '../../protocols/errors.ts';
import { leaseOwnerOf } from '../../protocols/ipam/lease-key.ts';
import { type Assignment, LeaseBook, type IdleLease } from '../../protocols/ipam/lease-book.ts';
import type { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import {
  decodeLeases,
  encodeLease,
  leaseRecordKey,
  type LeaseRecordsSetup,
} from './lease-records.ts';
import type { SharedPools } from './shared-pools.ts';

export interface LeasesSetup extends LeaseRecordsSetup {
  readonly pools: PointToPointPools;
  readonly policy: 'polite' | 'strict';
  /** As in the lease book. */
  readonly restMs?: number;
  /** Without, nothing is kept over a restart but what connections hold. */
  readonly journal?: Journal;
}

export class Leases {
  readonly book: LeaseBook;
  readonly #setup: LeasesSetup;
  #lastWrite: Promise<void> = Promise.resolve();
  #shared: SharedPools | undefined;

  constructor(setup: LeasesSetup) {
    this.#setup = setup;
    const { pools, keepMs, policy, restMs = 0, journal } = setup;
    this.book = new LeaseBook(pools, {
      keepMs,
      policy,
      restMs,
      mustMove: (end) => this.#shared?.mustMove(end) === true,
      onIdle: (lease) => this.#write(journal?.put(leaseRecordKey(lease), this.#encoded(lease))),
      onGone: (lease) => this.#write(journal?.delete(leaseRecordKey(lease))),
    });
  }

  /** From now on the pools are shared with replicas. */
  share(shared: SharedPools): void {
    this.#shared = shared;
  }

  /** Waits for nobody unless the pools are shared and this replica has nothing left to give. */
  assign(connection: Connection, timeoutMs: number): Assignment | Promise<Assignment> {
    try {
      return this.#assign(connection);
    } catch (thrown) {
      const shared = this.#shared;
      const isShort = thrown instanceof NsmError && thrown.code === 'RESOURCE_EXHAUSTED';
      if (shared === undefined || !isShort) throw thrown;
      return shared.more(timeoutMs).then((why) => this.#assignAfter(connection, why));
    }
  }

  #assignAfter(connection: Connection, why: NsmError | undefined): Assignment {
    try {
      return this.#assign(connection);
    } catch (thrown) {
      if (why === undefined || !(thrown instanceof NsmError)) throw thrown;
      throw new NsmError('RESOURCE_EXHAUSTED', 'this replica has no block of addresses left', {
        ...thrown.details,
        found: `${thrown.details.found}; no other block could be claimed: ${describeError(why)}`,
        remedy: 'look after the store of address blocks; the replica asks it again',
        cause: thrown,
      });
    }
  }

  #assign(connection: Connection): Assignment {
    const assignment = this.book.assign({
      connectionId: connection.id,
      owner: () => leaseOwnerOf(connection),
      ipContext: connection.context?.ipContext,
      nowMs: this.#setup.clock.nowMs(),
    });
    const held = (assignment.before ?? assignment.taken)?.pairs ?? [];
    const drawn = assignment.lease.pairs.filter((pair) => !held.includes(pair));
    if (drawn.length > 0) this.#shared?.given(drawn.flatMap(({ src, dst }) => [src, dst]));
    return assignment;
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

  /** What the journal keeps for clients that are away. After the live ones: what one of them holds is not kept. */
  restoreIdle(records: ReadonlyMap<string, Uint8Array>): void {
    const { journal, clock } = this.#setup;
    for (const lease of decodeLeases(records, this.#setup)) {
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
