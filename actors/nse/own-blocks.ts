// The blocks of addresses that this replica holds: claimed ahead, renewed, given back when they are not needed.
// Invariants: a block is claimed by a write that names the revision it was seen at, so of two replicas one gets it; a
// store that is away takes no block from anybody; a block that was lost is not drawn from any more.

import { describeError } from '../../protocols/errors.ts';
import { formatPrefix, overlaps, type Prefix, prefixSize } from '../../protocols/ipam/address.ts';
import { blocksOf } from '../../protocols/ipam/blocks.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import { blockRecordKey, encodeBlock, type OwnBlock } from './block-records.ts';
import { blockKey, claim, disclaim, type Sharing } from './sharing.ts';

interface Pool {
  readonly prefix: Prefix;
  readonly blocks: readonly Prefix[];
  /** Of each block, in addresses. */
  readonly size: bigint;
}

interface Held {
  readonly prefix: Prefix;
  renewedAtMs: number;
}

export interface OwnBlocksSetup {
  readonly sharing: Sharing;
  readonly prefixes: readonly Prefix[];
  readonly bootId: string;
  readonly journal?: Journal;
  /** Runs before anything is drawn from a new block. */
  readonly onGained: () => void;
}

export class OwnBlocks {
  readonly #setup: OwnBlocksSetup;
  readonly #sharing: Sharing;
  readonly #pools: readonly Pool[];
  readonly #all: ReadonlyMap<string, Prefix>;
  readonly #held = new Map<string, Held>();
  #prefixes: readonly Prefix[] = [];
  #isShort = false;

  constructor(setup: OwnBlocksSetup) {
    this.#setup = setup;
    this.#sharing = setup.sharing;
    this.#pools = setup.prefixes.map((prefix) => {
      const blocks = blocksOf(prefix);
      return { prefix, blocks, size: prefixSize(blocks[0] ?? prefix) };
    });
    const all = this.#pools.flatMap(({ blocks }) => blocks);
    this.#all = new Map(all.map((block) => [blockKey(setup.sharing, block), block]));
  }

  get prefixes(): readonly Prefix[] {
    return this.#prefixes;
  }

  /** Goes on with the blocks of an earlier life; the store is asked with the next renewal. */
  restore(records: readonly OwnBlock[]): void {
    for (const { key, revision, renewedAtMs } of records) {
      const prefix = this.#all.get(key);
      if (prefix === undefined) continue;
      this.#held.set(key, { prefix, renewedAtMs });
      const { owner, endpoint, holdMs, claims } = this.#sharing;
      const voidAtMs = renewedAtMs + holdMs;
      claims.assume(key, { owner, endpoint, client: '', revision, voidAtMs });
    }
    this.#changed();
    this.#setup.onGained();
  }

  has(key: string): boolean {
    return this.#held.has(key);
  }

  /** Whether another block is wanted, and there may be one. */
  get isLow(): boolean {
    return (
      !this.#isShort && this.#pools.some(({ prefix, size }) => 2n * this.#freeOf(prefix) < size)
    );
  }

  /** Keeps what is in use, gives back what is not, and lets go what another has. */
  async renew(store: RegistryStore): Promise<void> {
    const { clock, claims, owner, renewMs } = this.#sharing;
    for (const [key, held] of this.#held) {
      const other = claims.get(key);
      if (other !== undefined && other.owner !== owner) this.#lose(key, held, other.endpoint);
      else if (clock.nowMs() - held.renewedAtMs >= renewMs) await this.#renewOne(store, key, held);
    }
  }

  /** The store lost its history: all is written again. */
  writeAgain(): void {
    for (const held of this.#held.values()) held.renewedAtMs = -Infinity;
  }

  /**
   * Until half a block of each prefix is free, so that no Request waits for the store. For clients that are away
   * only while there are plenty: their addresses can be taken back. `isAsked`: a Request found nothing to its liking.
   */
  async claimAhead(store: RegistryStore, isAsked: boolean): Promise<void> {
    const missing: string[] = [];
    for (const pool of this.#pools) {
      let isWanted = this.#isWanted(pool, isAsked);
      while (isWanted && (await this.#claimOne(store, pool))) {
        isWanted = this.#isWanted(pool, false);
      }
      if (isWanted) missing.push(formatPrefix(pool.prefix));
    }
    const isShort = missing.length > 0;
    if (isShort && !this.#isShort) {
      this.#sharing.log.warn('no block of addresses is left for this replica', {
        prefixes: missing.join(', '),
        remedy: 'enlarge NSM_CIDR_PREFIX, or run fewer replicas',
      });
    }
    this.#isShort = isShort;
  }

  /** At the end: what no live connection uses is free for others at once. */
  async release(store: RegistryStore): Promise<void> {
    for (const [key, { prefix }] of this.#held) {
      if (this.#sharing.book.hasLiveIn(prefix)) continue;
      this.#drop(key);
      await disclaim(store, this.#sharing, key);
    }
  }

  async #renewOne(store: RegistryStore, key: string, held: Held): Promise<void> {
    if (this.#isSpare(held.prefix)) {
      // Not after: it must not be drawn from while it is on its way to others.
      this.#drop(key);
      await disclaim(store, this.#sharing, key);
      return;
    }
    if (await claim(store, this.#sharing, key)) {
      held.renewedAtMs = this.#sharing.clock.nowMs();
      this.#record(key, held);
      return;
    }
    // Another's, or our own write that was believed to have failed.
    const entry = (await store.load()).find((each) => each.key === key);
    if (entry === undefined) this.#sharing.claims.forget(key);
    else this.#sharing.claims.keep(entry);
    const found = this.#sharing.claims.get(key);
    if (found !== undefined && found.owner !== this.#sharing.owner) {
      this.#lose(key, held, found.endpoint);
    }
  }

  #lose(key: string, { prefix }: Held, by: string): void {
    this.#sharing.log.error('another replica holds a block of addresses that this one had', {
      block: formatPrefix(prefix),
      endpoint: by,
      consequence: 'its clients keep their addresses where that one has not given them to others',
    });
    this.#drop(key);
  }

  async #claimOne(store: RegistryStore, { blocks }: Pool): Promise<boolean> {
    const { claims, owner, clock } = this.#sharing;
    for (const block of blocks) {
      const key = blockKey(this.#sharing, block);
      const by = claims.get(key)?.owner ?? owner;
      if (by !== owner || this.#held.has(key)) continue;
      if (!(await claim(store, this.#sharing, key))) continue;
      const held = { prefix: block, renewedAtMs: clock.nowMs() };
      this.#held.set(key, held);
      this.#changed();
      this.#setup.onGained();
      this.#record(key, held);
      return true;
    }
    return false;
  }

  #isWanted({ prefix, blocks, size }: Pool, isAsked: boolean): boolean {
    const free = this.#freeOf(prefix);
    // Whoever excludes what is free here shall not make this replica hold all there is.
    if (isAsked && free < 2n * size) return true;
    if (2n * free >= size) return false;
    const idle = 2n * BigInt(this.#sharing.book.idleCount);
    const unclaimed = blocks.filter(
      (block) => this.#sharing.claims.get(blockKey(this.#sharing, block)) === undefined,
    );
    return 2n * (free + idle) < size || 2 * unclaimed.length >= blocks.length;
  }

  /** Nobody uses it, and without it enough is free. */
  #isSpare(block: Prefix): boolean {
    const pool = this.#pools.find(({ prefix }) => overlaps(block, prefix));
    if (pool === undefined || this.#sharing.pools.freeIn(block) < pool.size) return false;
    return this.#freeOf(pool.prefix) >= 2n * pool.size;
  }

  #freeOf(prefix: Prefix): bigint {
    const { pools } = this.#sharing;
    return this.#prefixes
      .filter((block) => overlaps(block, prefix))
      .reduce((sum, block) => sum + pools.freeIn(block), 0n);
  }

  #drop(key: string): void {
    this.#held.delete(key);
    this.#changed();
    this.#settled(this.#setup.journal?.delete(blockRecordKey(key)));
  }

  #record(key: string, { renewedAtMs }: Held): void {
    const { owner, claims } = this.#sharing;
    const block = { key, owner, revision: claims.revisionOf(key), renewedAtMs };
    const { journal, bootId } = this.#setup;
    this.#settled(journal?.put(blockRecordKey(key), encodeBlock(block, bootId)));
  }

  #settled(writing: Promise<void> | undefined): void {
    writing?.catch((error: unknown) =>
      this.#sharing.log.warn('the journal of leases refused a change', {
        error: describeError(error),
      }),
    );
  }

  #changed(): void {
    this.#prefixes = [...this.#held.values()].map(({ prefix }) => prefix);
  }
}
