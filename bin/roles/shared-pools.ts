// Lets an Endpoint share its prefixes with the other replicas of its services, through the store that it was given.

import { AddressClaims } from '../../actors/nse/address-claims.ts';
import { decodeBlocks } from '../../actors/nse/block-records.ts';
import type { Leases } from '../../actors/nse/leases.ts';
import { SharedPools } from '../../actors/nse/shared-pools.ts';
import { isOfScope } from '../../actors/nse/sharing.ts';
import type { Prefix } from '../../protocols/ipam/address.ts';
import type { PointToPointPools } from '../../protocols/ipam/point-to-point.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import type { Platform } from './platform.ts';

export interface SharedPoolsOptions {
  readonly name: string;
  readonly serviceNames: readonly string[];
  readonly cidrPrefixes: readonly (readonly Prefix[])[];
  readonly maxTokenLifetimeMs: number;
  readonly leaseKeepMs?: number;
  readonly leaseJournal?: Journal;
  readonly openAddressStore?: () => Promise<RegistryStore>;
}

const renewBlocksMs = 30_000;
const firstBlocksMs = 2_000;
/** Until an address whose client has left is given to somebody else: by then the replica that it went to has told. */
const restMs = 10_000;

/** How long a lease outlives its connection, and how long none of it is taken back. */
export function leaseTimes(options: SharedPoolsOptions): { keepMs: number; restMs: number } {
  const { leaseKeepMs, maxTokenLifetimeMs, openAddressStore } = options;
  const keepMs = leaseKeepMs ?? maxTokenLifetimeMs;
  if (openAddressStore === undefined) return { keepMs, restMs: 0 };
  return { keepMs: Math.max(keepMs, restMs), restMs };
}

/** The first blocks are waited for a moment: without them a first Request would. */
export async function sharedPoolsOf(
  { clock, log, bootId, random }: Platform,
  options: SharedPoolsOptions,
  has: {
    readonly leases: Leases;
    readonly pools: PointToPointPools;
    readonly records: ReadonlyMap<string, Uint8Array>;
  },
): Promise<SharedPools | undefined> {
  const { openAddressStore: openStore, leaseJournal: journal, cidrPrefixes } = options;
  const prefixes = cidrPrefixes.flat();
  if (openStore === undefined || prefixes.length === 0) return undefined;
  // Nobody goes on with an address for longer than a token lives, and its client may come back for as long as it is kept.
  const holdMs = 3 * renewBlocksMs + options.maxTokenLifetimeMs + leaseTimes(options).keepMs;
  const blocks = decodeBlocks(has.records, { bootId, holdMs, clock, log });
  const scope = options.serviceNames.toSorted().join(',');
  const sharing = {
    owner: blocks[0]?.owner ?? random.uuid(),
    endpoint: options.name,
    scope,
    claims: new AddressClaims(clock, log, (key) => isOfScope(scope, key)),
    pools: has.pools,
    book: has.leases.book,
    clock,
    log,
    holdMs,
    renewMs: renewBlocksMs,
  };
  const rest = journal === undefined ? {} : { journal };
  const shared = new SharedPools({ sharing, prefixes, bootId, random, openStore, ...rest });
  has.leases.share(shared);
  await shared.start(blocks, firstBlocksMs);
  return shared;
}
