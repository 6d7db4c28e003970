// The pools of an Endpoint whose replicas give addresses out of the same prefixes. Each replica holds blocks claimed ahead
// in a store that all reach, so that no Request asks anybody; a client that heals keeps its address as a guest.
// Invariants: one exchange with the store at a time, within its deadline, tried again with growing pauses; a store that is
// away changes nothing but that no block is added; everything is told once per outage.

import { asNsmError, describeError, type NsmError } from '../../protocols/errors.ts';
import type { Prefix } from '../../protocols/ipam/address.ts';
import type { PoolShare } from '../../protocols/ipam/point-to-point.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { RegistryStore, StoreChange } from '../../protocols/ports/registry-store.ts';
import type { OwnBlock } from './block-records.ts';
import { GuestAddresses } from './guest-addresses.ts';
import { OwnBlocks } from './own-blocks.ts';
import type { Sharing } from './sharing.ts';

export interface SharedPoolsSetup {
  readonly sharing: Sharing;
  readonly prefixes: readonly Prefix[];
  readonly bootId: string;
  readonly journal?: Journal;
  readonly random: Random;
  /** Tried until it succeeds; closed at the end. */
  readonly openStore: () => Promise<RegistryStore>;
}

/** What was heard is gathered for a moment. */
const gatherMs = 50;
const pauseMsFirst = 500;
const pauseMsMost = 30_000;

export class SharedPools implements PoolShare {
  readonly #setup: SharedPoolsSetup;
  readonly #sharing: Sharing;
  readonly #own: OwnBlocks;
  readonly #guests: GuestAddresses;
  #store: RegistryStore | undefined;
  #exchange: Promise<NsmError | undefined> | undefined;
  #timer: Timer | undefined;
  #dueMs = 0;
  #failures = 0;
  #onLost: (connectionId: string) => void = () => {};
  #isAsked = false;
  #isStopped = false;

  constructor(setup: SharedPoolsSetup) {
    this.#setup = setup;
    this.#sharing = setup.sharing;
    this.#guests = new GuestAddresses(setup.sharing, (id) => this.#onLost(id));
    this.#own = new OwnBlocks({ ...setup, onGained: () => this.#guests.setAside() });
    setup.sharing.pools.share(this);
  }

  get blocks(): readonly Prefix[] {
    return this.#own.prefixes;
  }

  mayTake(end: Prefix, client: string): boolean {
    return this.#guests.mayTake(end, client);
  }

  mustMove(end: Prefix): boolean {
    return this.#guests.isLost(end);
  }

  /** Is told of connections that have lost an address: what is heard before is left to their next refresh. */
  whenLost(onLost: (connectionId: string) => void): void {
    this.#onLost = onLost;
  }

  /** Addresses that a connection has just been given. */
  given(ends: readonly Prefix[]): void {
    const news = ends.filter((end) => this.#guests.given(end));
    if (news.length > 0 || this.#own.isLow) this.#soon(gatherMs);
  }

  /** Goes on with what an earlier life had, and asks the store; resolves after that, or after `timeoutMs` without it. */
  async start(records: readonly OwnBlock[], timeoutMs: number): Promise<void> {
    this.#own.restore(records);
    await this.#within(timeoutMs, () => this.#now());
  }

  /** Asks for another block where a Request found nothing. Resolves with what kept it from that. */
  async more(timeoutMs: number): Promise<NsmError | undefined> {
    this.#isAsked = true;
    // What is under way may be past the point where it would ask.
    return this.#within(timeoutMs, async () => {
      await this.#exchange;
      return this.#now();
    });
  }

  /** Gives back what no live connection uses. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#exchange;
    const store = this.#store;
    if (store === undefined) return;
    try {
      await this.#own.release(store);
      await this.#guests.release(store);
    } catch (error) {
      this.#sharing.log.warn('blocks of addresses were not given back; they expire', {
        error: describeError(error),
      });
    }
    await store.close();
  }

  #within(
    timeoutMs: number,
    work: () => Promise<NsmError | undefined>,
  ): Promise<NsmError | undefined> {
    const { clock } = this.#sharing;
    return new Promise((resolve) => {
      const timer = clock.after(timeoutMs, () => resolve(undefined));
      void work().then((error) => {
        timer.cancel();
        resolve(error);
      });
    });
  }

  #now(): Promise<NsmError | undefined> {
    this.#exchange ??= this.#exchanged().finally(() => {
      this.#exchange = undefined;
    });
    return this.#exchange;
  }

  async #exchanged(): Promise<NsmError | undefined> {
    this.#timer?.cancel();
    this.#timer = undefined;
    const { log, clock, book, renewMs } = this.#sharing;
    try {
      book.forgetOld(clock.nowMs());
      const store = await this.#opened();
      await this.#own.renew(store);
      await this.#guests.settle(store);
      const isAsked = this.#isAsked;
      this.#isAsked = false;
      await this.#own.claimAhead(store, isAsked);
      if (this.#failures > 0) log.info('the store of address blocks is back');
      this.#failures = 0;
      this.#soon(renewMs / 2);
      return undefined;
    } catch (thrown) {
      const error = asNsmError(thrown);
      this.#failures += 1;
      if (this.#failures === 1) {
        log.warn('the store of address blocks is away; this replica goes on with what it has', {
          blocks: this.blocks.length,
          error: describeError(error),
        });
      }
      const most = Math.min(pauseMsMost, pauseMsFirst * 2 ** Math.min(10, this.#failures - 1));
      this.#soon(most * (1 - this.#setup.random.integer(500) / 1_000));
      return error;
    }
  }

  async #opened(): Promise<RegistryStore> {
    if (this.#store !== undefined) return this.#store;
    const store = await this.#setup.openStore();
    try {
      await store.watch((change) => this.#heard(change));
      for (const entry of await store.load()) this.#sharing.claims.keep(entry);
    } catch (error) {
      await store.close();
      throw error;
    }
    this.#store = store;
    return store;
  }

  #heard(change: StoreChange): void {
    this.#sharing.claims.apply(change);
    if (change.kind === 'reset') this.#own.writeAgain();
    if (change.kind === 'put') this.#guests.setAside(change.entry.key);
    const key = change.kind === 'put' ? change.entry.key : change.kind === 'deleted' && change.key;
    // That others renew their blocks is nothing to this one.
    if (key === false || this.#guests.isAbout(key) || this.#own.has(key)) this.#soon(gatherMs);
  }

  /** Never later than it is due already. */
  #soon(delayMs: number): void {
    if (this.#isStopped) return;
    const dueMs = this.#sharing.clock.nowMs() + delayMs;
    if (this.#timer !== undefined && this.#dueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = this.#sharing.clock.after(delayMs, () => {
      this.#timer = undefined;
      void this.#again();
    });
  }

  /** What is under way may not have seen what is new. */
  async #again(): Promise<void> {
    await this.#exchange;
    if (!this.#isStopped) await this.#now();
  }
}
