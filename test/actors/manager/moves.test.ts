// Protects what asking clients to move costs and whom it spares: however many there are they are asked a few at a time, one
// that cannot be judged holds up nobody else, nobody is closed before its grace is over or twice, and nothing is kept of
// who has gone.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ConnectionMessage } from '../../../actors/connection/connection.ts';
import type { Intent } from '../../../actors/connection/connection-table.ts';
import { type Judge, Moves } from '../../../actors/manager/moves.ts';
import { ConnectionSchema, State } from '../../../protocols/nsm/gen/connection_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { createManualClock, type ManualClock } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';

let clock: ManualClock;
let intents: Map<string, Intent>;
let told: { readonly id: string; readonly message: ConnectionMessage; readonly atMs: number }[];
let moves: Moves;

const graceMs = 10_000;
const move: Judge = async () => ({ kind: 'move', why: 'its Endpoint drains' });
const fine: Judge = async () => ({ kind: 'fine' });

beforeEach(() => {
  clock = createManualClock();
  [intents, told] = [new Map(), []];
  moves = new Moves({
    clock,
    random: seededRandom(1),
    log: silentLog,
    table: { get: (id) => intents.get(id) },
    graceMs,
    tell(id, message) {
      told.push({ id, message, atMs: clock.nowMs() });
      const intent = intents.get(id);
      if (message.type === 'wireGone') intents.delete(id);
      if (message.type !== 'wish' || intent === undefined) return;
      intents.set(id, { ...intent, connection: { ...intent.connection, state: message.wished } });
    },
  });
});

afterEach(() => {
  moves.close();
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

function connect(id: string, endpoint = 'e1'): void {
  const connection = create(ConnectionSchema, {
    id,
    state: State.UP,
    networkServiceEndpointName: endpoint,
  });
  const intent = { connection, preferences: [], memory: {}, closeAtMs: 0, established: true };
  intents.set(id, intent);
}

const of = (type: ConnectionMessage['type']) => told.filter(({ message }) => message.type === type);

describe('many connections that are to move', () => {
  it('are asked some at a time', async () => {
    for (let index = 0; index < 2_000; index += 1) {
      connect(`c${index}`);
      moves.consider(`c${index}`, move);
    }
    await clock.advance(1_000);
    // 64 per tick, a tick each 50 to 150 ms.
    expect(of('wish').length).toBeGreaterThan(64);
    expect(of('wish').length).toBeLessThan(64 * 20);
    await clock.advance(8_000);
    expect(new Set(of('wish').map(({ id }) => id)).size).toBe(2_000);
    expect(of('wish')).toHaveLength(2_000);
  });

  it('are not held up by one that cannot be judged', async () => {
    for (let index = 0; index < 10; index += 1) connect(`c${index}`);
    moves.consider('c0', move);
    await clock.advance(200);
    expect(of('wish')).toHaveLength(1);
    moves.consider('c1', async () => Promise.reject(new Error('the registry is away')));
    moves.consider('c2', move);
    await clock.advance(400);
    expect([...moves.stuck()]).toEqual([['c1', 'the registry is away']]);
    expect(of('wish').map(({ id }) => id)).toEqual(['c0', 'c2']);
  });
});

describe('a connection that is to move', () => {
  it('is closed after the grace, not before, and only once', async () => {
    connect('c1');
    moves.consider('c1', move);
    await clock.advance(graceMs - 100);
    expect(of('wireGone')).toEqual([]);
    moves.lookAgain();
    await clock.advance(50);
    expect(of('wireGone')).toEqual([]);
    await clock.advance(500);
    expect(of('wireGone')).toHaveLength(1);
    connect('c1');
    moves.consider('c1', move);
    await clock.advance(60_000);
    expect(of('wireGone')).toHaveLength(1);
    expect(moves.of('c1')).toMatchObject({
      phase: 'stuck',
      why: expect.stringMatching(/came back/),
    });
  });

  it('is asked again, not closed, where its client refreshed it instead', async () => {
    connect('c1');
    moves.consider('c1', move);
    for (let round = 1; round <= 5; round += 1) {
      await clock.advance(graceMs);
      connect('c1');
    }
    expect(of('wireGone')).toEqual([]);
    expect(of('wish').length).toBeGreaterThanOrEqual(4);
    await clock.advance(2 * graceMs + 500);
    expect(of('wireGone')).toHaveLength(1);
  });

  it('is forgotten once it has moved or ended', async () => {
    connect('c1');
    connect('c2');
    for (const id of intents.keys()) moves.consider(id, move);
    await clock.advance(300);
    connect('c1', 'e2');
    intents.delete('c2');
    await clock.advance(graceMs + 500);
    expect([moves.of('c1'), moves.of('c2')]).toEqual([undefined, undefined]);
    expect(of('wireGone')).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('is told to stay once it may', async () => {
    connect('c1');
    let judge: Judge = move;
    moves.consider('c1', (intent) => judge(intent));
    await clock.advance(300);
    judge = fine;
    moves.lookAgain();
    await clock.advance(300);
    expect(of('wish').map(({ message }) => message)).toEqual([
      { type: 'wish', wished: State.RESELECT_REQUESTED },
      { type: 'wish', wished: State.UP },
    ]);
    expect(moves.of('c1')).toBeUndefined();
  });

  it('that nobody knows is not considered', async () => {
    moves.consider('nobody', move);
    await clock.advance(1_000);
    expect(told).toEqual([]);
  });
});
