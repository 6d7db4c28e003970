// Protects the blocks of addresses that an Endpoint goes on with after a restart: those that it may still own, whichever
// release wrote them down, and no others.

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { blockRecordKey, decodeBlocks, encodeBlock } from '../../../actors/nse/block-records.ts';
import { formats } from '../../../protocols/formats.ts';
import { BlockRecordSchema } from '../../../protocols/nsm/gen/vwire_journal_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock } from '../../sandbox/manual-clock.ts';

const block = { key: 'pool/10.0.0.0', owner: 'me', revision: 7, renewedAtMs: 0 };

function decoded(version: number) {
  const told: string[] = [];
  const record = fromBinary(BlockRecordSchema, encodeBlock(block, 'boot'));
  const bytes = toBinary(BlockRecordSchema, create(BlockRecordSchema, { ...record, version }));
  const blocks = decodeBlocks(new Map([[blockRecordKey(block.key), bytes]]), {
    bootId: 'boot',
    holdMs: 1_000,
    clock: createManualClock(),
    log: { ...silentLog, error: (message) => void told.push(message) },
  });
  return { blocks, told };
}

test('a block of this format or an earlier one is gone on with', () => {
  for (const version of [formats.blockRecord, formats.blockRecord - 1]) {
    expect(decoded(version)).toEqual({ blocks: [block], told: [] });
  }
});

test('a block of a later format is told and claimed anew', () => {
  expect(decoded(formats.blockRecord + 1)).toEqual({
    blocks: [],
    told: ['a journaled block could not be read; it is claimed anew'],
  });
});
