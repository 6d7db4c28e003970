// Protects addressing: one pair per connection and group, stable across refreshes, the same for a client that comes back
// under another connection id, never one address twice, and nothing lost when a Request fails, a recovery succeeds by
// half, or an exclusion moves a connection.

import { describe, expect, it } from 'vitest';
import { limits } from '../../../protocols/limits.ts';
import { books, contextOf, keepMs, prefix } from './lease-book-fixture.ts';

const exhausted = expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' });

describe('point-to-point addressing', () => {
  it('gives the lowest address to the Endpoint, the next to the client, and routes to each other', () => {
    expect(books([['172.16.0.0/24']]).assign('a').ipContext).toMatchObject({
      dstIpAddrs: ['172.16.0.0/32'],
      srcIpAddrs: ['172.16.0.1/32'],
      srcRoutes: [{ prefix: '172.16.0.0/32', nextHop: '' }],
      dstRoutes: [{ prefix: '172.16.0.1/32', nextHop: '' }],
    });
  });

  it('gives a pair of each group: dual stack', () => {
    const { ipContext } = books([['10.0.0.0/31', '10.1.0.0/31'], ['2001:db8::/64']]).assign('a');
    expect(ipContext.srcIpAddrs).toEqual(['10.0.0.1/32', '2001:db8::1/128']);
    expect(ipContext.dstIpAddrs).toEqual(['10.0.0.0/32', '2001:db8::/128']);
  });

  it('goes on to the next pool of a group where one is full, then refuses', () => {
    const small = books([['10.0.0.0/31', '10.1.0.0/31']]);
    small.assign('a');
    expect(small.assign('b').ipContext.srcIpAddrs).toEqual(['10.1.0.1/32']);
    expect(() => small.assign('c')).toThrow(exhausted);
    small.release('a');
    expect(small.assign('c').ipContext.srcIpAddrs).toEqual(['10.0.0.1/32']);
  });

  it('returns a refresh as it came', () => {
    const pools = books([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('a', contextOf({ excludedPrefixes: ['10.0.0.0/31'] }));
    expect(pools.assign('a', ipContext).ipContext).toBe(ipContext);
  });

  it('moves a known connection out of what is excluded now, and frees what it had', () => {
    const pools = books([['10.0.0.0/29']]);
    const { ipContext } = pools.assign('a');
    const moved = pools.assign('a', { ...ipContext, excludedPrefixes: ['10.0.0.1/32'] });
    expect(moved.ipContext.srcIpAddrs).toEqual(['10.0.0.3/32']);
    expect(moved.ipContext.dstRoutes.map((route) => route.prefix)).toEqual(['10.0.0.3/32']);
    expect(pools.assign('b').ipContext.dstIpAddrs).toEqual(['10.0.0.0/32']);
  });

  it('keeps what a connection had until its refresh has gone through', () => {
    const pools = books([['10.0.0.0/29']]);
    const { ipContext } = pools.assign('a');
    const moving = pools.book.assign({
      connectionId: 'a',
      owner: () => expect.fail('the connection is known'),
      ipContext: { ...ipContext, excludedPrefixes: ['10.0.0.1/32'] },
      nowMs: 0,
    });
    expect(pools.assign('b').ipContext.srcIpAddrs).toEqual(['10.0.0.5/32']);
    pools.book.undo(moving);
    expect(pools.assign('a', ipContext).ipContext).toBe(ipContext);
    expect(pools.assign('c').ipContext.srcIpAddrs).toEqual(['10.0.0.3/32']);
  });

  it('gives an unknown connection back what it names, from either end alone too', () => {
    const named = contextOf({ srcIpAddrs: ['10.0.0.9/32'], dstIpAddrs: ['10.0.0.8/32'] });
    const pools = books([['10.0.0.0/24']]);
    expect(pools.assign('a', named).ipContext.srcIpAddrs).toEqual(['10.0.0.9/32']);
    const half = pools.assign(
      'b',
      contextOf({ srcIpAddrs: ['10.0.0.20/32'], dstIpAddrs: ['10.0.0.8/32'] }),
    );
    expect(half.ipContext.srcIpAddrs).toEqual(['10.0.0.20/32']);
    expect(half.ipContext.dstIpAddrs).toEqual(['10.0.0.0/32']);
  });

  it('changes nothing where one group has no room', () => {
    const pools = books([['10.0.0.0/24'], ['10.1.0.0/31']]);
    pools.assign('a');
    expect(() => pools.assign('b')).toThrow(exhausted);
    pools.release('a');
    pools.nowMs = keepMs;
    expect(pools.assign('b').ipContext.dstIpAddrs).toEqual(['10.0.0.0/32', '10.1.0.0/32']);
  });

  it('refuses pools that overlap', () => {
    expect(() => books([['10.0.0.0/8'], ['10.1.0.0/16']])).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });
});

describe('a lease', () => {
  it('outlives its connection: the client gets it back under another id, others do not', () => {
    const pools = books([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('first', undefined, 'client');
    pools.release('first');
    expect(pools.assign('b').ipContext.srcIpAddrs).not.toEqual(ipContext.srcIpAddrs);
    const again = pools.assign('second', undefined, 'client');
    expect(again.ipContext).toEqual(ipContext);
    expect(pools.recorded.size).toBe(0);
  });

  it('is free again when it was kept long enough', () => {
    const pools = books([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('a');
    pools.release('a');
    pools.nowMs = keepMs - 1;
    expect(pools.assign('b').ipContext.srcIpAddrs).not.toEqual(ipContext.srcIpAddrs);
    pools.nowMs = keepMs;
    expect(pools.assign('c').ipContext.srcIpAddrs).toEqual(ipContext.srcIpAddrs);
    expect(pools.recorded.size).toBe(0);
  });

  it('gives way where the pool is short, the one used least recently first, and no live one ever', () => {
    const pools = books([['10.0.0.0/30']]);
    const [a, b] = [pools.assign('a'), pools.assign('b')];
    pools.release('b');
    pools.release('a');
    expect(pools.assign('c').ipContext).toEqual(b.ipContext);
    expect(pools.assign('a-again', undefined, 'a').ipContext).toEqual(a.ipContext);
    expect(() => pools.assign('d')).toThrow(exhausted);
  });

  it('is kept for so many clients at the most, however large the pool', () => {
    const pools = books([['2001:db8::/64']]);
    for (let index = 0; index <= limits.idleLeases; index += 1) {
      pools.assign(`client-${index}`);
      pools.release(`client-${index}`);
    }
    expect(pools.book.idleCount).toBe(limits.idleLeases);
    expect(pools.recorded.size).toBe(limits.idleLeases);
  });

  it('that is of no use under the exclusions does not give way', () => {
    const pools = books([['10.0.0.0/30']]);
    const [a, b] = [pools.assign('a'), pools.assign('b')];
    pools.release('a');
    pools.release('b');
    const excludedPrefixes = ['10.0.0.0/31'];
    expect(pools.assign('c', contextOf({ excludedPrefixes })).ipContext.srcIpAddrs).toEqual(
      b.ipContext.srcIpAddrs,
    );
    expect(pools.assign('a', undefined).ipContext).toEqual(a.ipContext);
  });

  it('is kept apart for two wires of clients that cannot be told apart, each gets its own back', () => {
    const pools = books([['10.0.0.0/24']]);
    const assign = (connectionId: string, clientId: string) => {
      const owner = () => ({ key: 'client', clientId });
      const given = pools.book.assign({ connectionId, owner, ipContext: undefined, nowMs: 0 });
      pools.book.settle(given);
      return given.ipContext;
    };
    const [one, two] = [assign('1', 'client-0'), assign('2', 'client-1')];
    expect(one.srcIpAddrs).not.toEqual(two.srcIpAddrs);
    pools.release('2');
    pools.release('1');
    expect(assign('3', 'client-1')).toEqual(two);
    expect(assign('4', 'client-0')).toEqual(one);
  });

  it('yields to what the client brings along, where that is free', () => {
    const pools = books([['10.0.0.0/24']]);
    pools.assign('a');
    pools.release('a');
    const brought = contextOf({ srcIpAddrs: ['10.0.0.77/32'], dstIpAddrs: ['10.0.0.76/32'] });
    expect(pools.assign('a2', brought, 'a').ipContext.srcIpAddrs).toEqual(['10.0.0.77/32']);
  });

  it('of somebody else is not to be had by naming it', () => {
    const pools = books([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('a');
    pools.release('a');
    const { srcIpAddrs } = pools.assign('thief', { ...ipContext }).ipContext;
    expect(srcIpAddrs).not.toEqual(ipContext.srcIpAddrs);
    expect(srcIpAddrs).toHaveLength(1);
  });

  it('taken up by a Request that fails is kept as before', () => {
    const pools = books([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('a');
    pools.release('a');
    const owner = () => ({ key: 'a', clientId: 'a-0' });
    const failing = pools.book.assign({
      connectionId: 'a2',
      owner,
      ipContext: undefined,
      nowMs: 0,
    });
    pools.book.undo(failing);
    expect(pools.recorded.size).toBe(1);
    expect(pools.assign('a3', undefined, 'a').ipContext).toEqual(ipContext);
  });
});

describe('an Endpoint that comes back', () => {
  it('takes over its connections from what they were answered, in whatever order', () => {
    const groups = [['10.0.0.0/29'], ['2001:db8::/64']];
    const { ipContext } = books(groups).assign('a');
    const turned = {
      ...ipContext,
      srcIpAddrs: ['192.168.0.9/32', ...ipContext.srcIpAddrs.toReversed()],
      dstIpAddrs: ipContext.dstIpAddrs.toReversed(),
    };
    const after = books(groups);
    const owner = { key: 'a', clientId: 'a-0' };
    expect(after.book.restoreLive('a', owner, turned)).toBe(true);
    expect(after.assign('a', ipContext).ipContext).toBe(ipContext);
    const other = books([['10.9.0.0/29'], ['2001:db8::/64']]);
    expect(other.book.restoreLive('a', owner, turned)).toBe(false);
    expect(other.book.restoreLive('b', owner, undefined)).toBe(false);
    expect(other.assign('c').ipContext.srcIpAddrs).toEqual(['10.9.0.1/32', '2001:db8::1/128']);
  });

  it('takes over what it kept, but for what a connection holds', () => {
    const before = books([['10.0.0.0/29']]);
    const { ipContext } = before.assign('a');
    before.release('a');
    const [kept] = before.recorded;
    const after = books([['10.0.0.0/29']]);
    expect(kept && after.book.restoreIdle(kept)).toBe(true);
    expect(kept && after.book.restoreIdle(kept)).toBe(false);
    expect(after.assign('a2', undefined, 'a').ipContext).toEqual(ipContext);
  });
});

describe('addresses of another Endpoint', () => {
  const foreign = () =>
    contextOf({
      srcIpAddrs: ['192.168.0.1/32'],
      dstIpAddrs: ['192.168.0.0/32'],
      srcRoutes: [{ prefix: '192.168.0.0/32' }, { prefix: '0.0.0.0/0' }],
      dstRoutes: [{ prefix: '192.168.0.1/32' }],
    });
  const polite = (groups: string[][]) => books(groups, { policy: 'polite' });

  it('go with their routes where the policy is strict, and other routes stay', () => {
    const { ipContext } = books([['10.0.0.0/24']]).assign('a', foreign());
    expect(ipContext.srcIpAddrs).toEqual(['10.0.0.1/32']);
    expect(ipContext.srcRoutes.map((route) => route.prefix)).toEqual(['0.0.0.0/0', '10.0.0.0/32']);
    expect(ipContext.dstRoutes.map((route) => route.prefix)).toEqual(['10.0.0.1/32']);
  });

  it('stay with their routes where it is polite, refresh after refresh', () => {
    const pools = polite([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('a', foreign());
    expect(ipContext.srcIpAddrs).toEqual(['192.168.0.1/32', '10.0.0.1/32']);
    expect(ipContext.dstIpAddrs).toEqual(['192.168.0.0/32', '10.0.0.0/32']);
    expect(ipContext.dstRoutes.map((route) => route.prefix)).toEqual(ipContext.srcIpAddrs);
    expect(pools.assign('a', ipContext).ipContext).toBe(ipContext);
  });

  it('go all the same where they are excluded, or another client here carries them', () => {
    const pools = polite([['10.0.0.0/24']]);
    pools.assign('a', foreign());
    expect(pools.assign('b', foreign()).ipContext.srcIpAddrs).toEqual(['10.0.0.3/32']);
    pools.release('a');
    expect(pools.assign('b', foreign()).ipContext.srcIpAddrs).toHaveLength(2);
    const excluded = { ...foreign(), excludedPrefixes: ['192.168.0.0/24'] };
    expect(pools.assign('b', excluded).ipContext.srcIpAddrs).toEqual(['10.0.0.3/32']);
  });

  it('are not confused with addresses of this one that are somebody else’s', () => {
    const pools = polite([['10.0.0.0/24']]);
    pools.assign('a');
    const named = contextOf({ srcIpAddrs: ['10.0.0.1/32'] });
    expect(pools.assign('b', named).ipContext.srcIpAddrs).toEqual(['10.0.0.3/32']);
  });
});

describe('extra prefixes', () => {
  const asking = (required: number, requested: number, prefixLen = 28) =>
    contextOf({
      extraPrefixRequest: [
        {
          addrFamily: {},
          prefixLen,
          requiredNumber: required,
          requestedNumber: requested,
        },
      ],
    });

  it('are leased with the connection, as many as can be had, and routed to the client', () => {
    const pools = books([['10.0.0.0/26']]);
    const { ipContext } = pools.assign('a', asking(1, 9));
    expect(ipContext.extraPrefixes).toEqual(['10.0.0.16/28', '10.0.0.32/28', '10.0.0.48/28']);
    expect(ipContext.dstRoutes.map((route) => route.prefix)).toEqual([
      '10.0.0.1/32',
      ...ipContext.extraPrefixes,
    ]);
    expect(pools.assign('a', ipContext).ipContext).toBe(ipContext);
  });

  it('are refused where fewer are free than required, and nothing is taken', () => {
    const pools = books([['10.0.0.0/26']]);
    expect(() => pools.assign('a', asking(4, 4))).toThrow(exhausted);
    expect(pools.assign('b', asking(3, 3)).ipContext.extraPrefixes).toHaveLength(3);
    expect(() => books([['10.0.0.0/8']]).assign('a', asking(0, 100_000))).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('come back with the lease, and go when they are not asked for any more', () => {
    const pools = books([['10.0.0.0/26']]);
    const { ipContext } = pools.assign('a', asking(2, 2));
    pools.release('a');
    const again = pools.assign('a2', asking(2, 2), 'a').ipContext;
    expect(again.extraPrefixes).toEqual(ipContext.extraPrefixes);
    const without = pools.assign('a2', { ...again, extraPrefixRequest: [] }).ipContext;
    expect(without.extraPrefixes).toEqual([]);
    expect(without.dstRoutes.map((route) => route.prefix)).toEqual(['10.0.0.1/32']);
    expect(pools.assign('b', asking(3, 3)).ipContext.extraPrefixes).toHaveLength(3);
  });

  it('move out of what is excluded now', () => {
    const pools = books([['10.0.0.0/26']]);
    const { ipContext } = pools.assign('a', asking(1, 1));
    const excludedPrefixes = ['10.0.0.16/28'];
    expect(pools.assign('a', { ...ipContext, excludedPrefixes }).ipContext.extraPrefixes).toEqual([
      '10.0.0.32/28',
    ]);
  });
});

describe('an Endpoint that shares its prefixes', () => {
  const share = (pools: ReturnType<typeof books>, blocks: string[], guests: string[] = []) =>
    pools.pools.share({
      blocks: blocks.map(prefix),
      mayTake: (end) => guests.map(prefix).some((guest) => guest.base === end.base),
    });

  it('gives new addresses from its own blocks alone, and refuses beyond them', () => {
    const pools = books([['10.0.0.0/24']]);
    share(pools, ['10.0.0.64/31', '10.0.0.128/31']);
    expect(pools.assign('a').ipContext.srcIpAddrs).toEqual(['10.0.0.65/32']);
    expect(pools.assign('b').ipContext.srcIpAddrs).toEqual(['10.0.0.129/32']);
    expect(() => pools.assign('c')).toThrow(exhausted);
  });

  it('gives a client the address of another’s block that it brings along, where that may be', () => {
    const pools = books([['10.0.0.0/24']]);
    const brought = contextOf({ srcIpAddrs: ['10.0.0.9/32'], dstIpAddrs: ['10.0.0.8/32'] });
    share(pools, ['10.0.0.64/31']);
    expect(pools.assign('a', brought).ipContext.srcIpAddrs).toEqual(['10.0.0.65/32']);
    share(pools, [], ['10.0.0.8/32', '10.0.0.9/32']);
    expect(pools.assign('b', brought).ipContext.srcIpAddrs).toEqual(['10.0.0.9/32']);
  });
});
