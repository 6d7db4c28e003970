// What an Endpoint remembers of its blocks over a restart, in the journal of its leases: with a store that is away it
// goes on with them. Invariant: a block is only believed to be one's own for as long as nobody else may have taken it.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { describeError, NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import { BlockRecordSchema } from '../../protocols/nsm/gen/vwire_journal_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';

/** Tells these records from those of leases, whose keys are addresses. */
const keyPrefix = '#';

export interface OwnBlock {
  readonly key: string;
  readonly owner: string;
  readonly revision: number;
  readonly renewedAtMs: number;
}

export const blockRecordKey = (key: string): string => `${keyPrefix}${key}`;

export const isBlockRecord = (recordKey: string): boolean => recordKey.startsWith(keyPrefix);

export function encodeBlock(block: OwnBlock, bootId: string): Uint8Array {
  return toBinary(
    BlockRecordSchema,
    create(BlockRecordSchema, {
      version: formats.blockRecord,
      owner: block.owner,
      key: block.key,
      bootId,
      renewedAtMs: BigInt(Math.round(Math.max(0, block.renewedAtMs))),
      revision: BigInt(block.revision),
    }),
  );
}

export interface BlockRecordsSetup {
  readonly bootId: string;
  readonly holdMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** The blocks that nobody else can have taken meanwhile. */
export function decodeBlocks(
  records: ReadonlyMap<string, Uint8Array>,
  { bootId, holdMs, clock, log }: BlockRecordsSetup,
): readonly OwnBlock[] {
  return [...records].flatMap(([recordKey, bytes]) => {
    if (!isBlockRecord(recordKey)) return [];
    try {
      const record = fromBinary(BlockRecordSchema, bytes);
      if (record.version > formats.blockRecord) {
        throw new NsmError('DATA_LOSS', 'the journal holds a block that this version cannot read', {
          expected: `record version ${formats.blockRecord} or older`,
          found: `version ${record.version}`,
        });
      }
      const renewedAtMs = Number(record.renewedAtMs);
      if (record.bootId !== bootId || renewedAtMs + holdMs <= clock.nowMs()) return [];
      const { key, owner } = record;
      return [{ key, owner, revision: Number(record.revision), renewedAtMs }];
    } catch (error) {
      log.error('a journaled block could not be read; it is claimed anew', {
        block: recordKey,
        error: describeError(error),
      });
      return [];
    }
  });
}
