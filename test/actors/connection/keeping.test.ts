// Protects the expiry policy keep-while-alive: what nobody refreshes stays as long as it is seen to be alive, period by
// period, over a restart as well; it ends as soon as that is not so, and a refresh makes an ordinary connection of it.

import { afterEach, describe, expect, it } from 'vitest';
import type { Intent } from '../../../actors/connection/connection-table.ts';
import type { Finding, Keeper } from '../../../actors/connection/keeping.ts';
import { judge, refreshedFor } from '../../../actors/connection/keeping.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { type Connection, ConnectionEventType } from '../../../protocols/nsm/gen/connection_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { again, asked, closesAfterMs, type HopFixture, hopFixture } from './fixture.ts';

const alive: Finding = { kind: 'there' };
const gone: Finding = { kind: 'gone', why: 'test' };
const unknown: Finding = { kind: 'unknown', why: 'test' };

let fixture: HopFixture;
/** What the next look finds. */
let found: Finding;
let closeError: Error | undefined;

afterEach(async () => {
  closeError = undefined;
  await fixture.end();
});

async function established(keeper?: Keeper): Promise<Connection> {
  found = alive;
  fixture = await hopFixture(
    {
      request: ({ connection }) =>
        Promise.resolve({ connection, memory: { nextUrl: 'memory:next' } }),
      async close() {
        if (closeError !== undefined) throw closeError;
      },
    },
    silentLog,
    keeper ?? { behind: () => Promise.resolve(found) },
  );
  await fixture.watch();
  return fixture.request(asked(fixture.clock, 'c-0'));
}

const periods = () => [...fixture.table.all()].map(({ keeping }) => keeping?.periods);
const isOver = () => fixture.table.size + fixture.directory.size === 0;
const period = () => fixture.clock.advance(closesAfterMs);
const ownId = (answer: Connection) => answer.path?.pathSegments[1]?.id ?? '';

async function sayDeleted(answer: Connection): Promise<void> {
  const { path } = answer;
  if (path === undefined) throw new Error('no path');
  const entry: Connection = { ...answer, path: { ...path, index: 1 } };
  const event = ConnectionEventType.DELETE;
  fixture.followed.get(ownId(answer))?.say({ type: 'nextHopChanged', entry, event });
  await fixture.clock.advance(0);
}

describe('what nobody refreshes', () => {
  it('is kept as long as it is alive, counted, and closed when it is not', async () => {
    await established();
    for (const count of [1, 2, 3]) {
      await period();
      expect(periods()).toEqual([count]);
    }
    expect(fixture.events, 'nobody is told of anything').toHaveLength(2);
    found = gone;
    await period();
    expect(isOver()).toBe(true);
    expect(fixture.steps).toEqual(['request', 'close']);
    expect(fixture.events.at(-1)).toBe('DELETE UP');
  });

  it('is kept for one period where its wire cannot be seen, not for two', async () => {
    let packets = 0n;
    await established({
      dataplane: () => Promise.resolve(found.kind === 'there' ? { ...found, packets } : found),
    });
    found = unknown;
    await period();
    found = alive;
    await period();
    [found, packets] = [unknown, 7n];
    await period();
    found = alive;
    await period();
    expect(periods()).toEqual([4]);
    found = unknown;
    await period();
    await period();
    expect(isOver()).toBe(true);
  });

  it('waits for a next hop that sees the wire and cannot be asked, for a day', async () => {
    await established();
    found = unknown;
    for (let day = 0; day < 2; day += 1) {
      await fixture.clock.advance(86_400_000 - closesAfterMs);
      expect(isOver()).toBe(false);
      found = alive;
      await period();
      found = unknown;
    }
    await fixture.clock.advance(86_400_000 + closesAfterMs);
    expect(isOver()).toBe(true);
  });

  it('is an ordinary connection again once it is refreshed', async () => {
    const answer = await established();
    await period();
    await fixture.request(again(fixture.clock, answer));
    expect(periods()).toEqual([0]);
    found = gone;
    await fixture.clock.advance(closesAfterMs - 1);
    expect(isOver()).toBe(false);
    await fixture.clock.advance(1);
    expect(isOver()).toBe(true);
  });

  it('ends at once with a Close, with its wire, and with a next hop that closes it', async () => {
    const ends: readonly ((answer: Connection) => Promise<unknown>)[] = [
      (answer) => fixture.close(answer),
      sayDeleted,
      async (answer) => {
        fixture.directory.tell(ownId(answer), { type: 'wireGone', reason: 'test' });
        await fixture.clock.advance(0);
      },
    ];
    for (const [index, end] of ends.entries()) {
      if (index > 0) await fixture.end();
      const answer = await established();
      await period();
      expect(periods()).toEqual([1]);
      await end(answer);
      expect(isOver(), `end ${index}`).toBe(true);
    }
  });

  it('is told as DOWN, and not closed, where its next hop closes it before its expiry', async () => {
    const answer = await established();
    await sayDeleted(answer);
    expect(fixture.events.at(-1)).toBe('UPDATE DOWN');
    await fixture.close(answer);
  });

  it('goes on with its period in the next life', async () => {
    const looks: Intent[] = [];
    let packets = 5n;
    const dataplane: Keeper['dataplane'] = (intent) => {
      looks.push(intent);
      return Promise.resolve({ kind: 'there', packets });
    };
    await established({ dataplane });
    await period();
    packets = 7n;
    await period();
    await fixture.clock.advance(closesAfterMs / 2);
    await fixture.restart();
    await fixture.clock.advance(closesAfterMs / 2 - 1_000);
    expect(periods()).toEqual([2]);
    await fixture.clock.advance(2_000);
    expect(looks.at(-1)?.keeping).toMatchObject({ periods: 2, packets: 7n });
    expect(isOver(), 'no packet came since').toBe(true);
  });

  it('expired while its hop was away: looks before anything is closed', async () => {
    await established();
    const [intent] = [...fixture.table.all()];
    if (intent === undefined) throw new Error('nothing is recorded');
    await fixture.table.put({ ...intent, closeAtMs: fixture.clock.nowMs() - 1 });
    await fixture.restart();
    await fixture.clock.advance(0);
    expect(periods()).toEqual([1]);
    found = gone;
    await period();
    expect(isOver()).toBe(true);
  });

  it('is forgotten at the expiry by a hop that has taken its part of the wire away', async () => {
    const answer = await established({ dataplane: () => Promise.resolve(found) });
    closeError = new NsmError('UNAVAILABLE', 'the next hop is away');
    await fixture.close(answer);
    expect(fixture.table.size).toBe(1);
    await fixture.clock.advance(closesAfterMs + 10_000);
    expect(isOver()).toBe(true);
  });

  it('tells a next hop that is away of its Close beyond the expiry', async () => {
    const answer = await established();
    closeError = new NsmError('UNAVAILABLE', 'the next hop is away');
    await fixture.close(answer);
    await period();
    expect(fixture.table.size).toBe(1);
    closeError = undefined;
    await fixture.clock.advance(10_000);
    expect(isOver()).toBe(true);
  });
});

describe('what is found', () => {
  const fresh = refreshedFor(60_000);
  const counted = (packets: bigint): Finding => ({ kind: 'there', packets });
  const looked = { ...fresh, packets: 5n };
  const behindOnly = (behind: Finding) => ({ behind, dataplane: undefined });
  const seen = (dataplane: Finding, behind?: Finding) => ({ behind, dataplane });

  it.each([
    ['a next hop that holds it', fresh, behindOnly(alive), 'keep'],
    ['a next hop that does not', fresh, behindOnly(gone), 'close'],
    ['packets for the first time', fresh, seen(counted(5n)), 'keep'],
    ['packets that moved', looked, seen(counted(6n)), 'keep'],
    ['packets that stand still', looked, seen(counted(5n)), 'close'],
    ['packets, without the next hop', looked, seen(counted(6n), unknown), 'keep'],
    ['packets of what the next hop has closed', looked, seen(counted(6n), gone), 'close'],
    ['no packets, though the next hop holds it', looked, seen(counted(5n), alive), 'close'],
    ['nothing at all', fresh, { behind: undefined, dataplane: undefined }, 'close'],
  ] as const)('%s', (_, keeping, findings, kind) => {
    expect(judge(keeping, findings).kind).toBe(kind);
  });

  it('keeps a count over a look that could not tell', () => {
    const verdict = judge(looked, seen(unknown));
    expect(verdict).toMatchObject({ kind: 'keep', keeping: { packets: 5n, doubts: 1 } });
    if (verdict.kind === 'keep')
      expect(judge(verdict.keeping, seen(counted(5n))).kind).toBe('close');
  });

  it('a period is as long as the last life, within bounds', () => {
    expect([1, 60_000, 1e9].map((ms) => refreshedFor(ms).periodMs)).toEqual([
      5_000, 60_000, 600_000,
    ]);
  });
});
