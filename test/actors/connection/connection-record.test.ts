// Protects what a connection remembers: the intent is in the journal before the data plane is touched, a crashed actor
// and the next life of the process go on from it, and a failed refresh does not change it.

import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterEach, describe, expect, it } from 'vitest';
import type { Hop, HopMemory, LeftHop } from '../../../actors/connection/hop.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { formats } from '../../../protocols/formats.ts';
import type { Connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import { ConnectionRecordSchema } from '../../../protocols/nsm/gen/vwire_journal_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { again, asked, closesAfterMs, type HopFixture, hopFixture, lifetimeMs } from './fixture.ts';

let fixture: HopFixture;
let onRequest: Hop['request'];
let closed: HopMemory[] = [];
const errors: string[] = [];
const left: LeftHop[] = [];

afterEach(async () => {
  closed = [];
  errors.length = 0;
  left.length = 0;
  await fixture.end();
});

const memory: HopMemory = { nextUrl: 'memory:next', nextName: 'next' };
const elsewhere: HopMemory = { nextUrl: 'memory:elsewhere', nextName: 'elsewhere' };

async function start(): Promise<void> {
  onRequest = async ({ connection }) => ({ connection, memory });
  fixture = await hopFixture(
    {
      request: (request) => onRequest(request),
      close: async (_, each) => void closed.push(each),
      resume: (each) => void left.push(each),
    },
    { ...silentLog, error: (message) => void errors.push(message), child: () => silentLog },
  );
}

async function established(): Promise<Connection> {
  await start();
  return fixture.request(asked(fixture.clock, 'c-0'));
}

const ownId = (answer: Connection) => answer.path?.pathSegments[1]?.id ?? '';
const intents = () =>
  [...fixture.table.all()].map((intent) => [intent.memory.nextUrl, intent.established]);

describe('the record of a connection', () => {
  it('is in the journal before a first Request touches the data plane, as not yet established', async () => {
    await start();
    const sizes: number[] = [];
    onRequest = async (request) => {
      const { connection } = request;
      sizes.push((await fixture.journal.load()).size);
      await request.recordIntent(memory);
      sizes.push((await fixture.journal.load()).size);
      expect(intents()).toEqual([['memory:next', false]]);
      return { connection, memory };
    };
    const answer = await fixture.request(asked(fixture.clock, 'c-0'));
    expect(sizes).toEqual([0, 1]);
    expect(intents()).toEqual([['memory:next', true]]);
    await fixture.close(answer);
    expect((await fixture.journal.load()).size).toBe(0);
  });

  it('of a newer version is told, and left for who can read it', async () => {
    await established();
    const [own] = [...(await fixture.journal.load())];
    if (own === undefined) expect.fail('the connection has a record');
    const record = fromBinary(ConnectionRecordSchema, own[1]);
    record.version = formats.connectionRecord + 1;
    const newer = toBinary(ConnectionRecordSchema, record);
    await fixture.journal.put(own[0], newer);
    await fixture.restart();
    expect(errors).toEqual([
      'a journaled connection could not be read; its objects stay quarantined',
    ]);
    expect(intents()).toEqual([]);
    expect([...(await fixture.journal.load())]).toEqual([[own[0], newer]]);
  });

  it('is gone again where the first Request fails', async () => {
    await start();
    onRequest = async (request) => {
      await request.recordIntent(memory);
      throw new NsmError('UNAVAILABLE', 'the data plane is away');
    };
    const asking = fixture.request(asked(fixture.clock, 'c-0'));
    await expect(asking).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await fixture.clock.advance(0);
    expect((await fixture.journal.load()).size).toBe(0);
    expect(fixture.directory.size).toBe(0);
  });

  it('names whom a reselect was about to leave when it was cut off, for the next life once', async () => {
    const answer = await established();
    const leaving = { url: 'memory:next', connection: answer };
    for (const intent of fixture.table.all()) {
      await fixture.table.put({ ...intent, memory: { ...elsewhere, leaving } });
    }
    await fixture.restart();
    expect(left).toMatchObject([{ url: 'memory:next', connection: { id: answer.id } }]);
    onRequest = async ({ connection }) => ({ connection, memory: elsewhere });
    await fixture.request(again(fixture.clock, answer));
    await fixture.restart();
    expect(left).toHaveLength(1);
    expect(intents()).toEqual([['memory:elsewhere', true]]);
  });

  it('stays established while a refresh is under way, and as it was where that fails', async () => {
    const answer = await established();
    onRequest = async (request) => {
      await request.recordIntent(elsewhere);
      expect(intents()).toEqual([['memory:elsewhere', true]]);
      throw new NsmError('UNAVAILABLE', 'the data plane is away');
    };
    // Twice: the second time the connection is DOWN already.
    for (let turn = 0; turn < 2; turn += 1) {
      const refresh = fixture.request(again(fixture.clock, answer));
      await expect(refresh).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      expect(intents()).toEqual([['memory:next', true]]);
    }
    await fixture.restart();
    await fixture.close(answer);
    expect(closed).toEqual([memory]);
  });
});

describe('a crash in the middle of a Request', () => {
  const crash = (recorded?: HopMemory): void => {
    onRequest = async (request) => {
      if (recorded !== undefined) await request.recordIntent(recorded);
      throw new TypeError('a programmer’s error');
    };
  };
  const goesWell = (): void => {
    onRequest = async ({ connection }) => ({ connection, memory });
  };

  it('answers the caller, and the connection goes on from its record', async () => {
    const answer = await established();
    crash();
    const refresh = fixture.request(again(fixture.clock, answer));
    await expect(refresh).rejects.toMatchObject({ code: 'INTERNAL' });
    goesWell();
    await fixture.request(again(fixture.clock, answer));
    expect(fixture.steps).toEqual(['request', 'refresh', 'refresh']);
    await fixture.close(answer);
    expect(closed).toEqual([memory]);
  });

  it('costs no expiry, however often it happens', async () => {
    const answer = await established();
    crash();
    for (let turn = 0; turn < 8; turn += 1) {
      await expect(fixture.request(again(fixture.clock, answer))).rejects.toBeDefined();
    }
    await fixture.clock.advance(closesAfterMs);
    expect(closed).toEqual([memory]);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
    goesWell();
    const next = await fixture.request(again(fixture.clock, answer));
    await fixture.close(next);
  });

  it('of a first Request undoes what was recorded', async () => {
    await start();
    crash(elsewhere);
    const asking = fixture.request(asked(fixture.clock, 'c-0'));
    await expect(asking).rejects.toMatchObject({ code: 'INTERNAL' });
    await fixture.clock.advance(1_000);
    expect(closed).toEqual([elsewhere]);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
  });

  it('of a first Request that recorded nothing leaves nothing', async () => {
    await start();
    crash();
    const asking = fixture.request(asked(fixture.clock, 'c-0'));
    await expect(asking).rejects.toMatchObject({ code: 'INTERNAL' });
    await fixture.clock.advance(1_000);
    expect(closed).toEqual([]);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
  });
});

describe('the next life of the process', () => {
  it('goes on with what was established: same id, same expiry, followed next hop', async () => {
    const answer = await established();
    await fixture.clock.advance(100_000);
    await fixture.restart();
    expect(fixture.followed.get(ownId(answer))?.url).toBe('memory:next');
    expect(fixture.steps).toEqual(['request']);
    const left = closesAfterMs - fixture.clock.nowMs();
    await fixture.clock.advance(left - 100);
    expect(closed).toEqual([]);
    await fixture.clock.advance(200);
    expect(closed).toEqual([memory]);
  });

  it('recognises a refresh', async () => {
    const answer = await established();
    await fixture.restart();
    const refreshed = await fixture.request(again(fixture.clock, answer));
    expect(ownId(refreshed)).toBe(ownId(answer));
    expect(fixture.steps).toEqual(['request', 'refresh']);
    await fixture.close(refreshed);
  });

  /** The journal of a life that was killed while it built the connection. */
  async function halfBuilt(): Promise<ReadonlyMap<string, Uint8Array>> {
    await start();
    let finish: () => void = () => {};
    onRequest = async (request) => {
      await request.recordIntent(elsewhere);
      await new Promise<void>((resolve) => (finish = resolve));
      return { connection: request.connection, memory };
    };
    const asking = fixture.request(asked(fixture.clock, 'c-0'));
    asking.catch(() => {});
    await fixture.clock.advance(0);
    const crashed = new Map(await fixture.journal.load());
    finish();
    await fixture.close(await asking);
    closed = [];
    return crashed;
  }

  it('closes what was half built', async () => {
    for (const [id, bytes] of await halfBuilt()) await fixture.journal.put(id, bytes);
    await fixture.restart();
    await fixture.clock.advance(0);
    expect(closed).toEqual([elsewhere]);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
  });

  it('does not trust "half built" of a journal that lost a part: its end may be what is missing', async () => {
    for (const [id, bytes] of await halfBuilt()) await fixture.journal.put(id, bytes);
    Object.assign(fixture.journal, { isDamaged: true });
    await fixture.restart();
    await fixture.clock.advance(0);
    expect(closed).toEqual([]);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
  });

  it('after a boot gives what it finds one whole lifetime', async () => {
    await established();
    await fixture.clock.advance(300_000);
    await fixture.restart('another boot');
    await fixture.clock.advance(lifetimeMs - 1_000);
    expect(closed).toEqual([]);
    await fixture.clock.advance(1_000);
    expect(closed).toEqual([memory]);
  });

  it('says what it cannot read, leaves it where it is, and goes on with the rest', async () => {
    const answer = await established();
    await fixture.journal.put('broken', new Uint8Array([255, 255, 255]));
    await fixture.restart();
    expect(fixture.table.size).toBe(1);
    expect(errors).toEqual([
      'a journaled connection could not be read; its objects stay quarantined',
    ]);
    await fixture.close(answer);
    expect([...(await fixture.journal.load()).keys()]).toEqual(['broken']);
  });
});
