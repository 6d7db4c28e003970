// Protects the account of addresses: over random requests, refreshes, refusals, closes, waits and crashes, compared with
// a model that knows only who holds what, no address is ever given twice, none is lost, and a client that comes back in
// time has its own again unless the pool was short.

import fc from 'fast-check';
import { expect, it } from 'vitest';
import { asNsmError } from '../../../protocols/errors.ts';
import type { IPContext } from '../../../protocols/nsm/gen/connectioncontext_pb.ts';
import { type Books, books, contextOf, keepMs } from './lease-book-fixture.ts';

const groups = [['10.0.0.0/29', '10.0.0.8/30'], ['10.0.0.16/28']];
const pairsInAll = 6;

const host = fc.nat({ max: 31 }).map((at) => `10.0.0.${at}/32`);
const client = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h');
const step = fc.record({
  client,
  action: fc.constantFrom(
    'request' as const,
    'request' as const,
    'refused' as const,
    'close' as const,
    'expire' as const,
    'wait' as const,
    'crash' as const,
  ),
  brought: fc.array(host, { maxLength: 2 }),
  excluded: fc.array(host, { maxLength: 3 }),
  extra: fc.nat({ max: 2 }),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** What every client holds, as it was told. */
type Held = Map<string, { connectionId: string; context: IPContext }>;

class Run {
  #books: Books = books(groups, { policy: 'polite' });
  #held: Held = new Map();
  #connections = 0;

  do(each: Step): void {
    switch (each.action) {
      case 'request':
      case 'refused':
        this.#request(each);
        break;
      case 'close':
      case 'expire':
        this.#close(each.client);
        break;
      case 'wait':
        this.#books.nowMs += keepMs / 3;
        break;
      case 'crash':
        this.#crash();
        break;
    }
    this.#check();
  }

  #request(each: Step): void {
    const held = this.#held.get(each.client);
    const base = held?.context ?? contextOf({ srcIpAddrs: each.brought });
    const asked: IPContext = {
      ...base,
      excludedPrefixes: each.excluded,
      extraPrefixRequest: contextOf({
        extraPrefixRequest: [
          { addrFamily: {}, prefixLen: 31, requiredNumber: 0, requestedNumber: each.extra },
        ],
      }).extraPrefixRequest,
    };
    this.#connections += 1;
    const connectionId = held?.connectionId ?? `${each.client}/${this.#connections}`;
    const { book, nowMs } = this.#books;
    try {
      const given = book.assign({
        connectionId,
        owner: () => ({ key: each.client, clientId: each.client }),
        ipContext: asked,
        nowMs,
      });
      if (each.action === 'refused') {
        book.undo(given);
        return;
      }
      book.settle(given);
      for (const text of [...given.ipContext.srcIpAddrs, ...given.ipContext.dstIpAddrs]) {
        if (each.excluded.includes(text)) expect.fail(`${text} is excluded`);
      }
      this.#held.set(each.client, { connectionId, context: given.ipContext });
    } catch (thrown) {
      if (asNsmError(thrown).code !== 'RESOURCE_EXHAUSTED') throw thrown;
    }
  }

  #close(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    this.#books.release(held.connectionId);
  }

  /** Connections come back from their records, idle leases from theirs. */
  #crash(): void {
    const before = this.#books;
    this.#books = books(groups, { policy: 'polite' });
    this.#books.nowMs = before.nowMs;
    for (const [name, { connectionId, context }] of this.#held) {
      const owner = { key: name, clientId: name };
      expect(this.#books.book.restoreLive(connectionId, owner, context)).toBe(true);
    }
    for (const lease of before.recorded) {
      expect(this.#books.book.restoreIdle(lease)).toBe(true);
      this.#books.recorded.add(lease);
    }
  }

  #check(): void {
    const told = [...this.#held.values()].flatMap(({ context }) => [
      ...context.srcIpAddrs,
      ...context.dstIpAddrs,
    ]);
    // Plain comparisons: this runs a hundred thousand times.
    if (new Set(told).size !== told.length) expect.fail(`an address twice: ${told.join()}`);
    const { book, recorded } = this.#books;
    if (book.liveCount !== this.#held.size) expect.fail('a live lease of nobody');
    if (book.idleCount !== recorded.size) expect.fail('what is kept is not what is on record');
  }

  /** Everybody leaves and is forgotten: all pairs are free again. */
  end(): void {
    for (const name of this.#held.keys()) this.#close(name);
    this.#books.nowMs += keepMs;
    this.#books.book.forgetOld(this.#books.nowMs);
    expect(this.#books.recorded.size).toBe(0);
    for (let at = 0; at < pairsInAll; at += 1) this.#books.assign(`last-${at}`);
    expect(() => this.#books.assign('one too many')).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
    );
  }
}

it('never gives an address twice and loses none, in 10,000 random lives', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 16 }), (steps) => {
      const run = new Run();
      for (const each of steps) run.do(each);
      run.end();
    }),
    { numRuns: 10_000 },
  );
}, 120_000);

it('gives a client that comes back in time its own again, whoever came meanwhile', () => {
  const others = fc.array(fc.constantFrom('x', 'y'), { maxLength: 4 });
  fc.assert(
    fc.property(client, others, fc.nat({ max: keepMs - 1 }), (name, between, waitMs) => {
      const pools = books(groups);
      const first = pools.assign('first', undefined, name).ipContext;
      pools.release('first');
      for (const [index, other] of between.entries()) {
        const id = `${other}/${index}`;
        pools.assign(id, undefined, other);
        pools.release(id);
      }
      pools.nowMs = waitMs;
      expect(pools.assign('again', undefined, name).ipContext).toEqual(first);
    }),
  );
});
