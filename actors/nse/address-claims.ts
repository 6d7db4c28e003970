// What the replicas of a service have claimed in their shared store, as this one has heard: a copy that is read without
// waiting. A claim has no date: it is void once it has stood unchanged for its time before the eyes of whoever wants
// the address, on that one's monotonic clock, so that no two clocks need to agree.
// Invariant: an older revision never replaces a newer one.

import { fromBinary, toBinary, create } from '@bufbuild/protobuf';
import { describeError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import { type AddressClaim, AddressClaimSchema } from '../../protocols/nsm/gen/vwire_journal_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { StoreChange, StoredEntry } from '../../protocols/ports/registry-store.ts';

export interface SeenClaim {
  readonly owner: string;
  readonly endpoint: string;
  readonly client: string;
  readonly revision: number;
  /** Void from then on, unless it changes. */
  readonly voidAtMs: number;
}

export class AddressClaims {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #seen = new Map<string, SeenClaim>();

  readonly #isOurs: (key: string) => boolean;

  /** Of others' keys in the store nothing is kept. */
  constructor(clock: Clock, log: Log, isOurs: (key: string) => boolean) {
    this.#isOurs = isOurs;
    this.#clock = clock;
    this.#log = log;
  }

  /** The claim that holds now; undefined where there is none or it is void. */
  get(key: string): SeenClaim | undefined {
    const claim = this.#seen.get(key);
    return claim === undefined || claim.voidAtMs <= this.#clock.nowMs() ? undefined : claim;
  }

  /** Who wrote it last, whether or not it still holds. */
  writerOf(key: string): string | undefined {
    return this.#seen.get(key)?.owner;
  }

  /** What a change of the key must be fenced with. */
  revisionOf(key: string): number {
    return this.#seen.get(key)?.revision ?? 0;
  }

  keys(): IterableIterator<string> {
    return this.#seen.keys();
  }

  /** As an earlier life of this Endpoint saw its own. */
  assume(key: string, claim: SeenClaim): void {
    this.#seen.set(key, claim);
  }

  keep({ key, value, revision }: StoredEntry): void {
    if (!this.#isOurs(key) || revision <= this.revisionOf(key)) return;
    try {
      const { owner, endpoint, client, holdMs } = fromBinary(AddressClaimSchema, value);
      const voidAtMs = this.#clock.nowMs() + Number(holdMs);
      this.#seen.set(key, { owner, endpoint, client, revision, voidAtMs });
    } catch (error) {
      // Somebody's, whoever that is: not to be touched.
      this.#log.warn('an address claim could not be read', { key, error: describeError(error) });
      const claim = { owner: '', endpoint: '', client: '', revision, voidAtMs: Infinity };
      this.#seen.set(key, claim);
    }
  }

  forget(key: string, revision = Infinity): void {
    if (revision > this.revisionOf(key)) this.#seen.delete(key);
  }

  apply(change: StoreChange): void {
    if (change.kind === 'put') this.keep(change.entry);
    else if (change.kind === 'deleted') this.forget(change.key, change.revision);
    else this.#seen.clear();
  }
}

export function encodeClaim(claim: Pick<AddressClaim, 'owner' | 'endpoint' | 'client' | 'holdMs'>) {
  return toBinary(
    AddressClaimSchema,
    create(AddressClaimSchema, { ...claim, version: formats.addressClaim }),
  );
}
