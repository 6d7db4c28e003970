// Protects what an Endpoint remembers of clients that are away: its next life keeps their addresses as long as this one
// would have, a record that cannot be read costs that one alone and is told, and a journal that refuses costs no wire.

import { create, toBinary } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { Leases } from '../../../actors/nse/leases.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { requirePrefix } from '../../../protocols/ipam/address.ts';
import { PointToPointPools } from '../../../protocols/ipam/point-to-point.ts';
import { LeaseRecordSchema } from '../../../protocols/nsm/gen/vwire_journal_pb.ts';
import type { Journal } from '../../../protocols/ports/journal.ts';
import { type Log, silentLog } from '../../../protocols/ports/log.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { connectionAt } from '../connection/hop-request.ts';

const keepMs = 60_000;
let clock: ManualClock;
let journal: Journal;
let told: string[];

beforeEach(() => {
  clock = createManualClock();
  journal = createMemoryJournal();
  told = [];
});

async function nextLife(change: { bootId?: string; cidr?: string } = {}): Promise<Leases> {
  const { bootId = 'boot', cidr = '10.0.0.0/24' } = change;
  const note = (message: string): void => void told.push(message);
  const log: Log = { ...silentLog, warn: note, error: note };
  const pools = new PointToPointPools([[requirePrefix(cidr, 'test')]]);
  const leases = new Leases({ clock, bootId, keepMs, log, pools, policy: 'strict', journal });
  leases.restoreIdle(await journal.load());
  return leases;
}

let connections = 0;

async function cameAndWent(leases: Leases, client: string): Promise<readonly string[]> {
  connections += 1;
  const connection = connectionAt(1, [client, 'nse'], { id: `connection-${connections}` });
  const assignment = await leases.assign(connection, 1_000);
  leases.book.settle(assignment);
  await leases.release(connection.id);
  return assignment.ipContext.srcIpAddrs;
}

describe('an Endpoint that was killed', () => {
  it('knows the addresses of clients that were away, and forgets one that came back', async () => {
    const before = await nextLife();
    const [a, b] = [await cameAndWent(before, 'a'), await cameAndWent(before, 'b')];
    const after = await nextLife();
    expect(after.book.idleCount).toBe(2);
    expect(await cameAndWent(after, 'b')).toEqual(b);
    expect(await cameAndWent(after, 'c')).not.toEqual(a);
    expect(await cameAndWent(await nextLife(), 'a')).toEqual(a);
    expect((await journal.load()).size).toBe(3);
  });

  it('keeps them no longer than this life would have', async () => {
    const before = await nextLife();
    await cameAndWent(before, 'a');
    await clock.advance(keepMs);
    expect((await nextLife()).book.idleCount).toBe(0);
    expect((await journal.load()).size).toBe(0);
  });

  it('keeps what another boot wrote for a whole time: its clock says nothing here', async () => {
    await clock.advance(keepMs * 10);
    await cameAndWent(await nextLife(), 'a');
    clock = createManualClock();
    const after = await nextLife({ bootId: 'another' });
    expect(after.book.idleCount).toBe(1);
    await clock.advance(keepMs);
    after.book.forgetOld(clock.nowMs());
    expect(after.book.idleCount).toBe(0);
  });

  it('lets go what lies in none of its prefixes any more', async () => {
    await cameAndWent(await nextLife(), 'a');
    expect((await nextLife({ cidr: '10.9.0.0/24' })).book.idleCount).toBe(0);
    expect((await journal.load()).size).toBe(0);
  });
});

describe('a journal of leases', () => {
  it.each([
    ['cut off', new Uint8Array([0x12, 0xff, 0x01])],
    ['of a newer version', toBinary(LeaseRecordSchema, create(LeaseRecordSchema, { version: 9 }))],
    [
      'of half a pair',
      toBinary(
        LeaseRecordSchema,
        create(LeaseRecordSchema, { version: 1, srcAddresses: ['10.0.0.1/32'] }),
      ),
    ],
    [
      'of no addresses',
      toBinary(
        LeaseRecordSchema,
        create(LeaseRecordSchema, {
          version: 1,
          srcAddresses: ['10.0.0.0/30'],
          dstAddresses: ['nonsense'],
        }),
      ),
    ],
  ])('with a record %s tells it and loses nothing else', async (_, bytes) => {
    const a = await cameAndWent(await nextLife(), 'a');
    await journal.put('10.0.0.77/32', bytes);
    const after = await nextLife();
    expect(told).toEqual(['a journaled lease could not be read; its addresses are free']);
    expect(await cameAndWent(after, 'a')).toEqual(a);
  });

  it('that refuses is told, and the lease holds in this life', async () => {
    const full = new NsmError('DATA_LOSS', 'the disk is full');
    journal = { ...journal, put: () => Promise.reject(full) };
    const leases = await nextLife();
    const a = await cameAndWent(leases, 'a');
    expect(told).toEqual(['the journal of leases refused a change']);
    expect(await cameAndWent(leases, 'a')).toEqual(a);
  });
});
