// A lease book over pools written as texts, driven with a clock that the test holds.

import { create } from '@bufbuild/protobuf';
import { requirePrefix } from '../../../protocols/ipam/address.ts';
import {
  type Assignment,
  type IdleLease,
  LeaseBook,
  type LeaseBookOptions,
} from '../../../protocols/ipam/lease-book.ts';
import { PointToPointPools } from '../../../protocols/ipam/point-to-point.ts';
import {
  type IPContext,
  IPContextSchema,
} from '../../../protocols/nsm/gen/connectioncontext_pb.ts';

export const keepMs = 1_000;

export const prefix = (text: string) => requirePrefix(text, 'test');

export const contextOf = (init: Parameters<typeof create<typeof IPContextSchema>>[1]): IPContext =>
  create(IPContextSchema, init);

export interface Books {
  readonly book: LeaseBook;
  readonly pools: PointToPointPools;
  /** As a journal would hold it. */
  readonly recorded: Set<IdleLease>;
  nowMs: number;
  /** A Request that goes through; the client is called as its connection unless named. */
  assign(connectionId: string, context?: IPContext, client?: string): Assignment;
  release(connectionId: string): void;
}

export function books(groups: string[][], options: Partial<LeaseBookOptions> = {}): Books {
  const pools = new PointToPointPools(groups.map((group) => group.map(prefix)));
  const recorded = new Set<IdleLease>();
  const book = new LeaseBook(pools, {
    keepMs,
    policy: 'strict',
    onIdle: (lease) => void recorded.add(lease),
    onGone: (lease) => void recorded.delete(lease),
    ...options,
  });
  const fixture: Books = {
    book,
    pools,
    recorded,
    nowMs: 0,
    assign(connectionId, ipContext, client = connectionId) {
      const owner = () => ({ key: client, clientId: `${client}-0` });
      const given = book.assign({ connectionId, owner, ipContext, nowMs: fixture.nowMs });
      book.settle(given);
      return given;
    },
    release: (connectionId) => book.release(connectionId, fixture.nowMs),
  };
  return fixture;
}
