// Addresses that one replica gives out of another's block, because a client that heals brings them along: claimed one by
// one, so that whoever holds the block, now or later, does not give them to anybody else.
// Invariants: of two replicas that use one address for different clients, the one whose claim has the later revision
// keeps it, and the other moves its client at the next refresh; a lent address is never drawn.

import { formatPrefix, parsePrefix, type Prefix } from '../../protocols/ipam/address.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import type { SeenClaim } from './address-claims.ts';
import { claim, disclaim, guestKey, guestOf, type Sharing } from './sharing.ts';

interface Used {
  readonly end: Prefix;
  readonly client: string;
  /** Absent where no connection holds it. */
  readonly connectionId: string | undefined;
}

export class GuestAddresses {
  readonly #sharing: Sharing;
  /** Of own blocks, used elsewhere; taken from the pools. */
  readonly #lent = new Map<string, Prefix>();
  /** Given a moment ago: to be claimed, whoever has the claim now. */
  readonly #fresh = new Set<string>();
  /** Lost, and told. */
  readonly #told = new Set<string>();

  readonly #onLost: (connectionId: string) => void;

  /** `onLost`: a connection has lost an address, and should refresh. */
  constructor(sharing: Sharing, onLost: (connectionId: string) => void) {
    this.#sharing = sharing;
    this.#onLost = onLost;
  }

  /** Whether a client that brings this address along may have it here. */
  mayTake(end: Prefix, client: string): boolean {
    const other = this.#claimOfOther(end);
    if (other !== undefined && other.client !== client) return false;
    // A client comes back from where it was a guest.
    if (this.#lent.delete(formatPrefix(end))) this.#sharing.pools.free(end);
    return true;
  }

  /** It was given: the claim follows without anybody waiting. */
  given(end: Prefix): boolean {
    const isNews = !this.#sharing.pools.isOwn(end) || this.#claimOfOther(end) !== undefined;
    if (isNews) this.#fresh.add(formatPrefix(end));
    return isNews;
  }

  /** Of another's block, and another replica has it, but for one that it was just taken over from. */
  isLost(end: Prefix): boolean {
    if (this.#sharing.pools.isOwn(end) || this.#fresh.has(formatPrefix(end))) return false;
    return this.#claimOfOther(end) !== undefined;
  }

  isAbout(key: string): boolean {
    return guestOf(this.#sharing, key) !== undefined;
  }

  /** Free addresses of own blocks that others claim, of one key or all: at once, before they can be drawn. */
  setAside(key?: string): void {
    for (const each of key === undefined ? this.#sharing.claims.keys() : [key]) {
      const name = guestOf(this.#sharing, each);
      const end = name === undefined ? undefined : parsePrefix(name);
      if (end !== undefined) this.#lendFree(end);
    }
  }

  /** Makes the pools agree with the claims, and the claims with what is used here. */
  async settle(store: RegistryStore): Promise<void> {
    this.#takeBack();
    const used = this.#usedHere();
    this.#lend(used);
    for (const [name, each] of used) await this.#settleOne(store, name, each);
    for (const each of [this.#fresh, this.#told]) {
      for (const name of each) if (!used.has(name)) each.delete(name);
    }
    await this.#disclaimUnused(store, used);
  }

  /** At the end: claims of what no live connection uses. */
  async release(store: RegistryStore): Promise<void> {
    const live = [...this.#usedHere()].filter(([, { connectionId }]) => connectionId !== undefined);
    await this.#disclaimUnused(store, new Map(live));
  }

  /** Addresses whose guests are gone. */
  #takeBack(): void {
    for (const [name, end] of this.#lent) {
      if (this.#claimOfOther(end) !== undefined) continue;
      this.#lent.delete(name);
      this.#sharing.pools.free(end);
    }
  }

  async #settleOne(store: RegistryStore, name: string, used: Used): Promise<void> {
    const { claims, clock, holdMs, renewMs, pools } = this.#sharing;
    const { end, client, connectionId } = used;
    const key = guestKey(this.#sharing, end);
    const isOwn = pools.isOwn(end);
    const other = this.#claimOfOther(end);
    if (other !== undefined && !this.#fresh.has(name)) {
      // The block's owner has the right of its block, but for a client that has just moved on.
      if (connectionId === undefined) return;
      if (!isOwn) this.#tell(name, other.endpoint, connectionId);
      else if (other.client !== client) await claim(store, this.#sharing, key, client);
      return;
    }
    this.#told.delete(name);
    const own = other === undefined ? claims.get(key) : undefined;
    const isDue = own === undefined || own.voidAtMs - clock.nowMs() <= holdMs - renewMs;
    const needsClaim = other !== undefined || (!isOwn && isDue);
    if (needsClaim && !(await claim(store, this.#sharing, key, client))) return;
    this.#fresh.delete(name);
  }

  #tell(address: string, endpoint: string, connectionId: string): void {
    if (this.#told.has(address)) return;
    this.#told.add(address);
    this.#sharing.log.error('an address is used twice; its client here moves at its next refresh', {
      address,
      endpoint,
      connectionId,
    });
    this.#onLost(connectionId);
  }

  /** Claims of others on addresses of own blocks: those are not to be drawn. */
  #lend(used: ReadonlyMap<string, Used>): void {
    const { claims, book } = this.#sharing;
    for (const key of claims.keys()) {
      const name = guestOf(this.#sharing, key);
      const end = name === undefined ? undefined : parsePrefix(name);
      if (name === undefined || end === undefined) continue;
      const isOthers = this.#claimOfOther(end) !== undefined && !this.#fresh.has(name);
      const here = used.get(name);
      const isIdle = here !== undefined && here.connectionId === undefined;
      // An idle lease gives way: its client is elsewhere, or another has its address.
      if (isOthers && isIdle) book.forgetIdleWith(end);
      this.#lendFree(end);
    }
  }

  #lendFree(end: Prefix): void {
    const name = formatPrefix(end);
    const { pools } = this.#sharing;
    if (this.#lent.has(name) || this.#fresh.has(name)) return;
    if (this.#claimOfOther(end) === undefined || !pools.isOwn(end)) return;
    if (pools.takePrefix(end)) this.#lent.set(name, end);
  }

  /** Own claims that nobody here needs, and void ones of others in own blocks. */
  async #disclaimUnused(store: RegistryStore, used: ReadonlyMap<string, Used>): Promise<void> {
    const { claims, owner, pools } = this.#sharing;
    for (const key of claims.keys()) {
      const name = guestOf(this.#sharing, key);
      if (name === undefined || used.has(name)) continue;
      const end = parsePrefix(name);
      const isVoid = end !== undefined && claims.get(key) === undefined && pools.isOwn(end);
      if (isVoid || claims.writerOf(key) === owner) await disclaim(store, this.#sharing, key);
    }
  }

  #usedHere(): Map<string, Used> {
    const used = new Map<string, Used>();
    const { book } = this.#sharing;
    for (const [lease, connectionId] of book.all()) {
      for (const { src, dst } of lease.pairs) {
        for (const end of [src, dst]) {
          used.set(formatPrefix(end), { end, client: lease.key, connectionId });
        }
      }
    }
    return used;
  }

  #claimOfOther(end: Prefix): SeenClaim | undefined {
    const { claims, owner } = this.#sharing;
    const found = claims.get(guestKey(this.#sharing, end));
    return found === undefined || found.owner === owner ? undefined : found;
  }
}
