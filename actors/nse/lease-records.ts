// The journal of leases that no connection holds: what a restarted Endpoint keeps for clients that are away. Leases of
// live connections are in the connections' own records, so that no Request writes twice.
// Invariants: a record is written before the connection's own record is deleted; of two records of one address the
// connection's counts; a time of another boot begins anew.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describeError, NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import {
  formatPrefix,
  isHostPrefix,
  parsePrefix,
  type Prefix,
} from '../../protocols/ipam/address.ts';
import type { IdleLease } from '../../protocols/ipam/lease-book.ts';
import { LeaseRecordSchema } from '../../protocols/nsm/gen/vwire_journal_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { isBlockRecord } from './block-records.ts';

export interface LeaseRecordsSetup {
  readonly clock: Clock;
  /** Of the boot whose monotonic clock is meant. */
  readonly bootId: string;
  readonly keepMs: number;
  readonly log: Log;
}

/** An address is in one lease at most, so the first one names it. */
export function leaseRecordKey({ pairs: [first] }: IdleLease): string {
  return first === undefined ? '' : formatPrefix(first.src);
}

export function encodeLease(lease: IdleLease, bootId: string): Uint8Array {
  return toBinary(
    LeaseRecordSchema,
    create(LeaseRecordSchema, {
      version: formats.leaseRecord,
      key: lease.key,
      clientId: lease.clientId,
      srcAddresses: lease.pairs.map(({ src }) => formatPrefix(src)),
      dstAddresses: lease.pairs.map(({ dst }) => formatPrefix(dst)),
      extraPrefixes: lease.extra.map(formatPrefix),
      bootId,
      keepUntilMs: BigInt(Math.max(0, Math.round(lease.keepUntilMs))),
    }),
  );
}

/** What the records say, oldest first; one that cannot be read is told and left out. */
export function decodeLeases(
  records: ReadonlyMap<string, Uint8Array>,
  setup: LeaseRecordsSetup,
): readonly IdleLease[] {
  const leases: IdleLease[] = [];
  for (const [name, bytes] of records) {
    if (isBlockRecord(name)) continue;
    try {
      leases.push(decodeLease(bytes, setup));
    } catch (error) {
      setup.log.error('a journaled lease could not be read; its addresses are free', {
        address: name,
        error: describeError(error),
      });
    }
  }
  return leases;
}

function decodeLease(bytes: Uint8Array, { clock, bootId, keepMs }: LeaseRecordsSetup): IdleLease {
  const record = fromBinary(LeaseRecordSchema, bytes);
  const { version, key, clientId, srcAddresses, dstAddresses } = record;
  if (
    version === 0 ||
    version > formats.leaseRecord ||
    srcAddresses.length !== dstAddresses.length
  ) {
    throw new NsmError('DATA_LOSS', 'the journal holds a lease that this version cannot read', {
      expected: `record version ${formats.leaseRecord} or older with two ends of each pair`,
      found: `version ${version}, ${srcAddresses.length} and ${dstAddresses.length} ends`,
    });
  }
  const pairs = srcAddresses.map((src, index) => ({
    src: endOf(src),
    dst: endOf(dstAddresses[index] ?? ''),
  }));
  const longestMs = clock.nowMs() + keepMs;
  const isOfThisBoot = record.bootId === bootId;
  const keepUntilMs = isOfThisBoot ? Math.min(longestMs, Number(record.keepUntilMs)) : longestMs;
  return { key, clientId, pairs, extra: record.extraPrefixes.map(prefixOf), keepUntilMs };
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix !== undefined) return prefix;
  throw new NsmError('DATA_LOSS', 'a journaled lease names no prefix', { found: text });
}

function endOf(text: string): Prefix {
  const prefix = prefixOf(text);
  if (isHostPrefix(prefix)) return prefix;
  throw new NsmError('DATA_LOSS', 'a journaled lease names no address', { found: text });
}
