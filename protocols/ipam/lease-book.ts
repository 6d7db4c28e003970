// Who holds which addresses at one Endpoint. A lease belongs to a client (its key), not to a connection: it outlives
// the connection for a while, so that the client gets its addresses back under whatever connection id it returns.
// Invariants: an address is in one lease at most; a live lease is never taken back; where the pools are short, the idle
// lease that was used least recently goes first; what fails half way leaves no trace; an assignment that was not
// settled can be undone. Several leases of one key are several wires of clients that cannot be told apart.

import { create } from '@bufbuild/protobuf';
import { NsmError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type IPContext, IPContextSchema } from '../nsm/gen/connectioncontext_pb.ts';
import { formatPrefix, overlaps, parsePrefix, type Prefix } from './address.ts';
import { type ExtraSize, extraPrefixesFor } from './extra-prefixes.ts';
import { addressesIn, canonicalOf, withExtraPrefixes, withPairs } from './ip-context.ts';
import { ForeignAddresses } from './foreign-addresses.ts';
import { IdleLeases } from './idle-leases.ts';
import type { LeaseOwner } from './lease-key.ts';
import type { AddressPair, PointToPointPools, Wish } from './point-to-point.ts';

/** What one wire of a client holds. */
export interface Lease extends LeaseOwner {
  /** A pair per group, in group order. */
  readonly pairs: readonly AddressPair[];
  readonly extra: readonly Prefix[];
}

/** A lease without a connection. */
export interface IdleLease extends Lease {
  /** On the monotonic clock. */
  readonly keepUntilMs: number;
}

export interface LeaseBookOptions {
  /** How long a lease outlives its connection. */
  readonly keepMs: number;
  /**
   * `polite` leaves a client the addresses of others that it brings along, unless they are excluded or another client
   * here carries them; `strict` takes away what is not of the own pools.
   */
  readonly policy: 'polite' | 'strict';
  /** An idle lease is taken back only after that long: time for word of where its client went. Default: 0. */
  readonly restMs?: number;
  /** Addresses that a connection may not go on with, for example of a block that was lost. */
  readonly mustMove?: (end: Prefix) => boolean;
  /** Is told of leases that became idle, and of idle ones that are no more. */
  readonly onIdle?: (lease: IdleLease) => void;
  readonly onGone?: (lease: IdleLease) => void;
}

export interface Ask {
  readonly connectionId: string;
  /** Whose connection it is; asked only where that is not known. */
  readonly owner: () => LeaseOwner;
  readonly ipContext: IPContext | undefined;
  readonly nowMs: number;
}

export interface Assignment {
  readonly connectionId: string;
  readonly ipContext: IPContext;
  readonly lease: Lease;
  /** What to go back to. */
  readonly before: Lease | undefined;
  readonly taken: IdleLease | undefined;
}

interface Drawing {
  readonly context: IPContext;
  readonly wish: Wish;
  readonly owner: LeaseOwner;
  readonly nowMs: number;
}

export class LeaseBook {
  readonly #pools: PointToPointPools;
  readonly #options: LeaseBookOptions;
  readonly #live = new Map<string, Lease>();
  readonly #idle: IdleLeases;
  readonly #foreign = new ForeignAddresses();

  constructor(pools: PointToPointPools, options: LeaseBookOptions) {
    this.#pools = pools;
    this.#options = options;
    this.#idle = new IdleLeases();
  }

  get liveCount(): number {
    return this.#live.size;
  }

  get idleCount(): number {
    return this.#idle.size;
  }

  /** Every lease, and the id of the connection that holds it; undefined for idle ones. */
  *all(): Generator<readonly [Lease, string | undefined]> {
    for (const [connectionId, lease] of this.#live) yield [lease, connectionId];
    for (const lease of this.#idle.oldestFirst()) yield [lease, undefined];
  }

  /** Whether a connection holds an address of the block. */
  hasLiveIn(block: Prefix): boolean {
    for (const { pairs, extra } of this.#live.values()) {
      const held = [...pairs.flatMap(({ src, dst }) => [src, dst]), ...extra];
      if (held.some((each) => overlaps(block, each))) return true;
    }
    return false;
  }

  /**
   * The request's context with this connection's addresses, extra prefixes and routes. A known connection keeps its
   * lease, but for what is excluded now; an unknown one gets what it brings along where that is free, else
   * what its client had last, else the lowest free. Throws RESOURCE_EXHAUSTED, having changed nothing.
   */
  assign(ask: Ask): Assignment {
    this.forgetOld(ask.nowMs);
    const { connectionId } = ask;
    const context = ask.ipContext ?? create(IPContextSchema);
    const before = this.#live.get(connectionId);
    const owner = before ?? ask.owner();
    const wish = wishOf(context, owner.key);
    const taken = before === undefined ? this.#returning(owner, wish) : undefined;
    if (taken !== undefined) this.#idle.remove(taken);
    try {
      const drawing = { context, wish, owner, nowMs: ask.nowMs };
      const lease = this.#draw(before ?? taken ?? empty(owner), drawing);
      this.#live.set(connectionId, lease);
      const ipContext = this.#written(context, { lease, wish, connectionId });
      return { connectionId, ipContext, lease, before, taken };
    } catch (error) {
      if (taken !== undefined) this.#idle.add(taken);
      throw error;
    }
  }

  /** The connection has its answer: what it held before and does not any more is free. */
  settle({ lease, before, taken }: Assignment): void {
    const held = before ?? taken;
    if (held !== undefined && held !== lease) this.#freeUnless(held, lease);
    if (taken !== undefined) this.#options.onGone?.(taken);
  }

  /** The Request came to nothing: as if it had never been. */
  undo({ connectionId, lease, before, taken }: Assignment): void {
    this.#freeUnless(lease, before ?? taken ?? empty(lease));
    if (before !== undefined) {
      this.#live.set(connectionId, before);
      return;
    }
    this.#leave(connectionId);
    if (taken !== undefined) this.#idle.add(taken);
  }

  /** The connection is over; its lease is kept for its client. An unknown id is no error. */
  release(connectionId: string, nowMs: number): void {
    const lease = this.#live.get(connectionId);
    if (lease === undefined) return;
    this.#leave(connectionId);
    if (lease.pairs.length === 0) return;
    const idle = { ...lease, keepUntilMs: nowMs + this.#options.keepMs };
    this.#idle.add(idle);
    this.#options.onIdle?.(idle);
    this.forgetOld(nowMs);
  }

  /** Frees what was kept long enough, and the oldest where there is too much of it. */
  forgetOld(nowMs: number): void {
    for (const lease of this.#idle.oldestFirst()) {
      if (lease.keepUntilMs > nowMs && this.#idle.size <= limits.idleLeases) return;
      this.#forget(lease);
    }
  }

  /** Takes an address from whichever idle lease has it; false where a live one does. */
  forgetIdleWith(end: Prefix): boolean {
    for (const lease of this.#idle.oldestFirst()) {
      if (lease.pairs.some(({ src, dst }) => overlaps(src, end) || overlaps(dst, end))) {
        this.#forget(lease);
        return true;
      }
    }
    return false;
  }

  /**
   * Takes over a connection of an earlier life from the context that it was answered with. False where that does not
   * fit any more (pools reconfigured, address taken): then its next Request gets what is still free of it.
   */
  restoreLive(connectionId: string, owner: LeaseOwner, answered: IPContext | undefined): boolean {
    if (this.#live.has(connectionId)) return false;
    const src = addressesIn(answered?.srcIpAddrs ?? []);
    const dst = addressesIn(answered?.dstIpAddrs ?? []);
    const pairs: AddressPair[] = [];
    for (let group = 0; group < this.#pools.groupCount; group += 1) {
      const ours = (end: Prefix): boolean => this.#pools.covers(end, group);
      const [ourSrc, ourDst] = [src.find(ours), dst.find(ours)];
      if (ourSrc !== undefined && ourDst !== undefined) pairs.push({ src: ourSrc, dst: ourDst });
    }
    const extra = (answered?.extraPrefixes ?? []).flatMap((text) => parsePrefix(text) ?? []);
    const lease = { ...owner, pairs, extra: extra.filter((each) => this.#pools.covers(each)) };
    if (!this.#take(lease)) return false;
    this.#live.set(connectionId, lease);
    for (const end of src) {
      if (!this.#pools.covers(end)) this.#foreign.carry(formatPrefix(end), connectionId);
    }
    return true;
  }

  /** Takes over a lease that was idle at the end of an earlier life; false where its addresses are taken or no pool's. */
  restoreIdle(lease: IdleLease): boolean {
    if (!this.#take(lease)) return false;
    this.#idle.add(lease);
    return true;
  }

  /** The idle lease that an unknown connection of this client goes on with. */
  #returning(owner: LeaseOwner, wish: Wish): IdleLease | undefined {
    const kept = this.#idle.of(owner.key);
    const brought = kept.find(({ pairs }) => pairs.some(({ src }) => wish.src.some(isSame(src))));
    if (brought !== undefined) return brought;
    // What its interface carries now is dearer to it than what it had here once.
    if (wish.src.some((end) => this.#pools.covers(end) && this.#pools.isFree(end, owner.key)))
      return undefined;
    return kept.findLast(({ clientId }) => clientId === owner.clientId) ?? kept.at(-1);
  }

  /** What the connection is to hold: of `held` what may stay, the rest drawn. Throws having taken nothing. */
  #draw(held: Lease, { context, wish, owner, nowMs }: Drawing): Lease {
    const drawn: Prefix[] = [];
    try {
      const pairs: AddressPair[] = [];
      for (let group = 0; group < this.#pools.groupCount; group += 1) {
        const kept = held.pairs[group];
        if (kept !== undefined && this.#mayStay(kept, wish)) {
          pairs.push(kept);
          continue;
        }
        const pair = this.#drawPair(group, wish, nowMs);
        drawn.push(pair.src, pair.dst);
        pairs.push(pair);
      }
      const asked = {
        requests: context.extraPrefixRequest,
        held: held.extra.filter((each) => this.#options.mustMove?.(each) !== true),
        excluded: wish.excluded,
      };
      const wished = context.extraPrefixes.flatMap((text) => parsePrefix(text) ?? []);
      const extra = extraPrefixesFor(asked, (size) => {
        const prefix = this.#drawPrefix(size, { wished, excluded: wish.excluded, nowMs });
        if (prefix !== undefined) drawn.push(prefix);
        return prefix;
      });
      return { key: owner.key, clientId: owner.clientId, pairs, extra };
    } catch (error) {
      for (const each of drawn) this.#pools.free(each);
      throw error;
    }
  }

  #mayStay(pair: AddressPair, wish: Wish): boolean {
    return [pair.src, pair.dst].every(
      (end) => !isBarred(end, wish.excluded) && this.#options.mustMove?.(end) !== true,
    );
  }

  /** Where nothing is free, the oldest idle lease that has a pair of use gives way. */
  #drawPair(group: number, wish: Wish, nowMs: number): AddressPair {
    const free = this.#pools.draw(group, wish);
    if (free !== undefined) return free;
    for (const lease of this.#rested(nowMs)) {
      const pair = lease.pairs[group];
      const isOfUse = pair !== undefined && this.#mayStay(pair, wish) && this.#isOwn(pair);
      if (!isOfUse) continue;
      this.#forget(lease);
      const found = this.#pools.draw(group, wish);
      if (found !== undefined) return found;
    }
    throw new NsmError('RESOURCE_EXHAUSTED', 'no address pair is free for the connection', {
      rule: 'ipam',
      expected: 'two free addresses outside the excluded prefixes',
      found: `${this.#pools.describe()}, excluded ${wish.excluded.length}, in use by ${this.#live.size} connections`,
      remedy: 'enlarge NSM_CIDR_PREFIX, or take prefixes out of the exclusion',
    });
  }

  #drawPrefix(
    size: ExtraSize,
    {
      wished,
      excluded,
      nowMs,
    }: {
      readonly wished: readonly Prefix[];
      readonly excluded: readonly Prefix[];
      readonly nowMs: number;
    },
  ): Prefix | undefined {
    const draw = (): Prefix | undefined => this.#pools.drawPrefix(size, wished, excluded);
    const free = draw();
    if (free !== undefined) return free;
    for (const lease of this.#rested(nowMs)) {
      this.#forget(lease);
      const found = draw();
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Idle leases that may be taken back, oldest first. */
  *#rested(nowMs: number): Generator<IdleLease> {
    const { keepMs, restMs = 0 } = this.#options;
    for (const lease of this.#idle.oldestFirst()) {
      if (lease.keepUntilMs - keepMs + restMs <= nowMs) yield lease;
    }
  }

  #isOwn({ src, dst }: AddressPair): boolean {
    return this.#pools.isOwn(src) && this.#pools.isOwn(dst);
  }

  /** The context as the client is to see it, and what it carries of others noted. */
  #written(
    context: IPContext,
    { lease, wish, connectionId }: { lease: Lease; wish: Wish; connectionId: string },
  ): IPContext {
    const kept = { src: new Set<string>(), dst: new Set<string>() };
    if (this.#options.policy === 'polite') {
      this.#keepForeign(context.srcIpAddrs, wish, (text, end) => {
        if (this.#foreign.carry(formatPrefix(end), connectionId)) kept.src.add(text);
      });
      this.#keepForeign(context.dstIpAddrs, wish, (text) => void kept.dst.add(text));
    }
    const addressed = withPairs(context, { pairs: lease.pairs, kept });
    return withExtraPrefixes(addressed, lease.extra);
  }

  #keepForeign(
    texts: readonly string[],
    { excluded }: Wish,
    keep: (text: string, end: Prefix) => void,
  ): void {
    for (const text of texts) {
      const end = parsePrefix(text);
      if (end === undefined || this.#pools.covers(end) || isBarred(end, excluded)) continue;
      keep(canonicalOf(text), end);
    }
  }

  #leave(connectionId: string): void {
    this.#live.delete(connectionId);
    this.#foreign.leave(connectionId);
  }

  #take({ pairs, extra }: Lease): boolean {
    if (pairs.length !== this.#pools.groupCount) return false;
    const taken: Prefix[] = [];
    const all =
      pairs.every((pair, group) => {
        if (!this.#pools.take(group, pair)) return false;
        taken.push(pair.src, pair.dst);
        return true;
      }) &&
      extra.every((each) => {
        if (!this.#pools.takePrefix(each)) return false;
        taken.push(each);
        return true;
      });
    if (!all) for (const each of taken) this.#pools.free(each);
    return all;
  }

  #forget(lease: IdleLease): void {
    this.#idle.remove(lease);
    this.#freeUnless(lease, empty(lease));
    this.#options.onGone?.(lease);
  }

  /** Frees what the one holds and the other does not. */
  #freeUnless(lease: Lease, other: Lease): void {
    for (const pair of lease.pairs) {
      if (other.pairs.includes(pair)) continue;
      this.#pools.free(pair.src);
      this.#pools.free(pair.dst);
    }
    for (const each of lease.extra) if (!other.extra.includes(each)) this.#pools.free(each);
  }
}

function empty(owner: LeaseOwner): Lease {
  return { key: owner.key, clientId: owner.clientId, pairs: [], extra: [] };
}

function wishOf(context: IPContext, client: string): Wish {
  return {
    client,
    excluded: context.excludedPrefixes.flatMap((text) => parsePrefix(text) ?? []),
    src: addressesIn(context.srcIpAddrs),
    dst: addressesIn(context.dstIpAddrs),
  };
}

const isBarred = (end: Prefix, excluded: readonly Prefix[]): boolean =>
  excluded.some((prefix) => overlaps(prefix, end));

const isSame =
  (left: Prefix) =>
  (right: Prefix): boolean =>
    left.family === right.family && left.base === right.base;
