// Protects addressing: one pair per connection and group, stable across refreshes and restarts, never one address twice,
// and nothing lost when a Request fails, a recovery succeeds by half, or an exclusion moves a connection.

import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireAddress, requirePrefix } from '../../../protocols/ipam/address.ts';
import { PointToPointIpam } from '../../../protocols/ipam/point-to-point.ts';
import { IPContextSchema } from '../../../protocols/nsm/gen/connectioncontext_pb.ts';

const ipam = (groups: string[][], options = {}): PointToPointIpam =>
  new PointToPointIpam(
    groups.map((group) => group.map((text) => requirePrefix(text, 'test'))),
    options,
  );

const contextOf = (init: Parameters<typeof create<typeof IPContextSchema>>[1]) =>
  create(IPContextSchema, init);

describe('point-to-point addressing', () => {
  it('gives the lowest address to the Endpoint, the next to the client, and routes to each other', () => {
    const { ipContext, isNew } = ipam([['172.16.0.0/24']]).assign('a', undefined);
    expect(isNew).toBe(true);
    expect(ipContext).toMatchObject({
      dstIpAddrs: ['172.16.0.0/32'],
      srcIpAddrs: ['172.16.0.1/32'],
      srcRoutes: [{ prefix: '172.16.0.0/32', nextHop: '' }],
      dstRoutes: [{ prefix: '172.16.0.1/32', nextHop: '' }],
    });
  });

  it('gives a pair of each group: dual stack', () => {
    const { ipContext } = ipam([['10.0.0.0/31', '10.1.0.0/31'], ['2001:db8::/64']]).assign(
      'a',
      undefined,
    );
    expect(ipContext.srcIpAddrs).toEqual(['10.0.0.1/32', '2001:db8::1/128']);
    expect(ipContext.dstIpAddrs).toEqual(['10.0.0.0/32', '2001:db8::/128']);
  });

  it('goes on to the next pool of a group where one is full, then refuses', () => {
    const small = ipam([['10.0.0.0/31', '10.1.0.0/31']]);
    small.assign('a', undefined);
    expect(small.assign('b', undefined).ipContext.srcIpAddrs).toEqual(['10.1.0.1/32']);
    expect(() => small.assign('c', undefined)).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
    );
    small.release('a');
    expect(small.assign('c', undefined).ipContext.srcIpAddrs).toEqual(['10.0.0.1/32']);
  });

  it('returns a refresh as it came', () => {
    const pools = ipam([['10.0.0.0/24']]);
    const { ipContext } = pools.assign('a', contextOf({ excludedPrefixes: ['10.0.0.0/31'] }));
    const again = pools.assign('a', ipContext);
    expect(again.isNew).toBe(false);
    expect(again.ipContext).toBe(ipContext);
  });

  it('moves a known connection out of what is excluded now, and frees what it had', () => {
    const pools = ipam([['10.0.0.0/29']]);
    const { ipContext } = pools.assign('a', undefined);
    const moved = pools.assign('a', { ...ipContext, excludedPrefixes: ['10.0.0.1/32'] });
    expect(moved.ipContext.srcIpAddrs).toEqual(['10.0.0.3/32']);
    expect(moved.ipContext.dstRoutes.map(({ prefix }) => prefix)).toEqual(['10.0.0.3/32']);
    expect(pools.assign('b', undefined).ipContext.dstIpAddrs).toEqual(['10.0.0.0/32']);
  });

  it('gives an unknown connection back what it names, from either end alone too', () => {
    const named = contextOf({ srcIpAddrs: ['10.0.0.9/32'], dstIpAddrs: ['10.0.0.8/32'] });
    const pools = ipam([['10.0.0.0/24']]);
    expect(pools.assign('a', named).ipContext.srcIpAddrs).toEqual(['10.0.0.9/32']);
    const half = pools.assign(
      'b',
      contextOf({ srcIpAddrs: ['10.0.0.20/32'], dstIpAddrs: ['10.0.0.8/32'] }),
    );
    expect(half.ipContext.srcIpAddrs).toEqual(['10.0.0.20/32']);
    expect(half.ipContext.dstIpAddrs).toEqual(['10.0.0.0/32']);
    const preferred = { src: [requireAddress('10.0.0.40', 'test')] };
    expect(pools.assign('c', undefined, preferred).ipContext.srcIpAddrs).toEqual(['10.0.0.40/32']);
  });

  it('removes addresses of another Endpoint with their routes, and leaves other routes', () => {
    const foreign = contextOf({
      srcIpAddrs: ['192.168.0.1/32'],
      dstIpAddrs: ['192.168.0.0/32'],
      srcRoutes: [{ prefix: '192.168.0.0/32' }, { prefix: '0.0.0.0/0' }],
      dstRoutes: [{ prefix: '192.168.0.1/32' }],
    });
    const { ipContext } = ipam([['10.0.0.0/24']]).assign('a', foreign);
    expect(ipContext.srcIpAddrs).toEqual(['10.0.0.1/32']);
    expect(ipContext.srcRoutes.map(({ prefix }) => prefix)).toEqual(['0.0.0.0/0', '10.0.0.0/32']);
    expect(ipContext.dstRoutes.map(({ prefix }) => prefix)).toEqual(['10.0.0.1/32']);
    const kept = ipam([['10.0.0.0/24']], { keepForeign: true }).assign('a', foreign).ipContext;
    expect(kept.srcIpAddrs).toEqual(['192.168.0.1/32', '10.0.0.1/32']);
  });

  it('changes nothing where one group has no room', () => {
    const pools = ipam([['10.0.0.0/24'], ['10.1.0.0/31']]);
    pools.assign('a', undefined);
    expect(() => pools.assign('b', undefined)).toThrow(
      expect.objectContaining({ code: 'RESOURCE_EXHAUSTED' }),
    );
    pools.release('a');
    expect(pools.assign('b', undefined).ipContext.dstIpAddrs).toEqual([
      '10.0.0.0/32',
      '10.1.0.0/32',
    ]);
  });

  it('is restored from its leases alone', () => {
    const before = ipam([['10.0.0.0/29'], ['2001:db8::/64']]);
    before.assign('a', undefined);
    before.assign('b', undefined);
    before.release('a');
    const after = ipam([['10.0.0.0/29'], ['2001:db8::/64']]);
    expect(before.leases().map((lease) => after.restore(lease))).toEqual([true]);
    expect(after.leases()).toEqual(before.leases());
    expect(after.assign('c', undefined).ipContext).toEqual(before.assign('c', undefined).ipContext);
    const [lease] = before.leases();
    expect(lease && ipam([['10.9.0.0/29'], ['2001:db8::/64']]).restore(lease)).toBe(false);
  });

  it('is restored from what the connections were answered, in whatever order', () => {
    const before = ipam([['10.0.0.0/29'], ['2001:db8::/64']]);
    const { ipContext } = before.assign('a', undefined);
    const turned = {
      ...ipContext,
      srcIpAddrs: ['192.168.0.9/32', ...ipContext.srcIpAddrs.toReversed()],
      dstIpAddrs: ipContext.dstIpAddrs.toReversed(),
    };
    const after = ipam([['10.0.0.0/29'], ['2001:db8::/64']]);
    expect(after.restoreFrom('a', turned)).toBe(true);
    expect(after.leases()).toEqual(before.leases());
    const half = ipam([['10.9.0.0/29'], ['2001:db8::/64']]);
    expect(half.restoreFrom('a', turned)).toBe(false);
    expect(half.restoreFrom('b', undefined)).toBe(false);
    expect(half.leases()).toEqual([]);
  });

  it('refuses pools that overlap', () => {
    expect(() => ipam([['10.0.0.0/8'], ['10.1.0.0/16']])).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
  });

  it('never gives an address twice and is empty after everybody has left', () => {
    const id = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const host = fc.nat({ max: 20 }).map((at) => `10.0.0.${at}/32`);
    const step = fc.record({
      id,
      action: fc.constantFrom(
        'assign' as const,
        'assign' as const,
        'release' as const,
        'restart' as const,
      ),
      src: fc.array(host, { maxLength: 2 }),
      dst: fc.array(host, { maxLength: 2 }),
      excluded: fc.array(host, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const groups = [['10.0.0.0/29', '10.0.0.8/30'], ['10.0.0.16/30']];
        let pools = ipam(groups);
        for (const each of steps) {
          if (each.action === 'release') pools.release(each.id);
          else if (each.action === 'restart') {
            const next = ipam(groups);
            for (const lease of pools.leases()) expect(next.restore(lease)).toBe(true);
            pools = next;
          } else {
            try {
              const context = contextOf({
                srcIpAddrs: each.src,
                dstIpAddrs: each.dst,
                excludedPrefixes: each.excluded,
              });
              const { ipContext, lease } = pools.assign(each.id, context);
              expect(ipContext.srcIpAddrs).toHaveLength(2);
              expect(lease.pairs).toHaveLength(2);
              for (const text of [...ipContext.srcIpAddrs, ...ipContext.dstIpAddrs]) {
                expect(each.excluded).not.toContain(text);
              }
            } catch (thrown) {
              expect(thrown).toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
            }
          }
          const given = pools
            .leases()
            .flatMap(({ pairs }) => pairs.flatMap(({ src, dst }) => [src.base, dst.base]));
          expect(new Set(given).size).toBe(given.length);
        }
        for (const { connectionId } of pools.leases()) pools.release(connectionId);
        const fresh = ipam(groups).assign('z', undefined).ipContext;
        expect(pools.assign('z', undefined).ipContext).toEqual(fresh);
      }),
    );
  });
});
