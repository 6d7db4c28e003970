// Protects a connection in each of its phases against each message: what is established stays so until it is over for
// good, what could not be closed is closed later, and what is told too late changes nothing.

import { afterEach, describe, expect, it } from 'vitest';
import { NsmError } from '../../../protocols/errors.ts';
import { farEndOf, isFarEndGone, withoutFarEnd } from '../../../protocols/nsm/far-end.ts';
import type { Hop } from '../../../actors/connection/hop.ts';
import {
  type Connection,
  ConnectionEventType,
  State,
} from '../../../protocols/nsm/gen/connection_pb.ts';
import { again, asked, closesAfterMs, type HopFixture, hopFixture } from './fixture.ts';

let fixture: HopFixture;
/** Thrown by the hop's next calls while set. */
let requestError: Error | undefined;
let closeError: Error | undefined;

afterEach(async () => {
  requestError = undefined;
  closeError = undefined;
  await fixture.end();
});

const away = () => new NsmError('UNAVAILABLE', 'the next hop is away');
const refused = () => new NsmError('PERMISSION_DENIED', 'the next hop refuses');

async function established(behave: Partial<Hop> = {}): Promise<Connection> {
  fixture = await hopFixture({
    async request({ connection }) {
      if (requestError !== undefined) throw requestError;
      return { connection, memory: { nextUrl: 'memory:next', nextName: 'next' } };
    },
    async close() {
      if (closeError !== undefined) throw closeError;
    },
    ...behave,
  });
  await fixture.watch();
  return fixture.request(asked(fixture.clock, 'c-0'));
}

/** A connection whose next hop has not heard of the Close. */
async function closing(): Promise<Connection> {
  const answer = await established();
  closeError = away();
  await fixture.close(answer);
  return answer;
}

/** What the monitor told after its initial transfer and the first Request. */
const toldSince = (): readonly string[] => fixture.events.slice(2);
const ownId = (answer: Connection) => answer.path?.pathSegments[1]?.id ?? '';
const stored = () => [...fixture.table.all()].map(({ connection }) => connection);

/** The next hop's view of the connection, as its monitor tells it. */
function entryOf(answer: Connection, change: Partial<Connection> = {}): Connection {
  const path = answer.path;
  if (path === undefined) throw new Error('no path');
  const pathSegments = [
    ...path.pathSegments,
    { ...path.pathSegments[0], name: 'next', id: 'next-id' },
  ] as (typeof path)['pathSegments'];
  return {
    ...answer,
    id: 'next-id',
    state: State.UP,
    path: { ...path, index: 2, pathSegments },
    ...change,
  };
}

async function say(
  answer: Connection,
  entry: Connection,
  event: ConnectionEventType = ConnectionEventType.UPDATE,
) {
  fixture.followed.get(ownId(answer))?.say({ type: 'nextHopChanged', entry, event });
  await fixture.clock.advance(0);
}

describe('an established connection', () => {
  it('is refreshed, and follows its next hop', async () => {
    const answer = await established();
    await fixture.request(again(fixture.clock, answer));
    expect(fixture.steps).toEqual(['request', 'refresh']);
    expect(fixture.followed.get(ownId(answer))?.url).toBe('memory:next');
    expect(fixture.events).toEqual(['INITIAL_STATE_TRANSFER', 'UPDATE UP', 'UPDATE UP']);
    await fixture.close(answer);
    expect(fixture.followed.size).toBe(0);
  });

  it('listens to its next hop from before each Request on', async () => {
    const heard: boolean[] = [];
    const answer = await established({
      async request({ connection }) {
        heard.push(fixture.expected.has(connection.id));
        if (requestError !== undefined) throw requestError;
        return { connection, memory: { nextUrl: 'memory:next' } };
      },
    });
    requestError = away();
    const refresh = fixture.request(again(fixture.clock, answer));
    await expect(refresh).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await fixture.clock.advance(0);
    expect([...fixture.expected]).toEqual([]);
    expect(heard).toEqual([true, true]);
    await fixture.close(answer);
  });

  it('says DOWN once however often its refresh fails, and UP when one succeeds', async () => {
    const answer = await established();
    requestError = away();
    for (let turn = 0; turn < 2; turn += 1) {
      const refresh = fixture.request(again(fixture.clock, answer));
      await expect(refresh).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    }
    requestError = undefined;
    await fixture.request(again(fixture.clock, answer));
    expect(toldSince()).toEqual(['UPDATE DOWN', 'UPDATE UP']);
    await fixture.close(answer);
  });

  it('closes by itself on time, and after a refresh only from then on', async () => {
    const answer = await established();
    await fixture.clock.advance(closesAfterMs - 1_000);
    await fixture.request(again(fixture.clock, answer));
    await fixture.clock.advance(closesAfterMs - 1);
    expect(fixture.steps).toEqual(['request', 'refresh']);
    await fixture.clock.advance(1);
    expect(fixture.steps).toEqual(['request', 'refresh', 'close']);
    expect(fixture.events.at(-1)).toBe('DELETE UP');
    expect(fixture.table.size + fixture.directory.size).toBe(0);
  });

  it('counts its time from the arrival of a Request, not from its turn', async () => {
    let isSlow = false;
    const answer = await established({
      async request({ connection }) {
        if (isSlow) await new Promise<void>((resolve) => fixture.clock.after(10_000, resolve));
        return { connection, memory: {} };
      },
    });
    isSlow = true;
    const arrivedMs = fixture.clock.nowMs();
    const first = fixture.request(again(fixture.clock, answer));
    await Promise.all([first, fixture.request(again(fixture.clock, answer)).catch(() => {})]);
    await fixture.clock.advance(10_000);
    expect([...fixture.table.all()].map(({ closeAtMs }) => closeAtMs - arrivedMs)).toEqual([
      closesAfterMs,
    ]);
    isSlow = false;
    await fixture.close(answer);
  });

  it('ends when its wire is gone', async () => {
    const answer = await established();
    expect(fixture.directory.tell(ownId(answer), { type: 'wireGone', reason: 'test' })).toBe(true);
    await fixture.clock.advance(0);
    expect(fixture.steps).toEqual(['request', 'close']);
    expect(fixture.events.at(-1)).toBe('DELETE UP');
    expect(fixture.directory.tell(ownId(answer), { type: 'nextHopLost' })).toBe(false);
  });

  it('says DOWN once when the next hop is lost', async () => {
    const answer = await established();
    for (let turn = 0; turn < 2; turn += 1) {
      fixture.followed.get(ownId(answer))?.say({ type: 'nextHopLost' });
    }
    await fixture.clock.advance(0);
    expect(toldSince()).toEqual(['UPDATE DOWN']);
    await fixture.close(answer);
  });

  it('says that the far end is gone, also where the next hop was lost before, once', async () => {
    const answer = await established();
    fixture.followed.get(ownId(answer))?.say({ type: 'nextHopLost' });
    for (let turn = 0; turn < 2; turn += 1) {
      fixture.directory.tell(ownId(answer), { type: 'farEndGone', end: farEndOf(answer) });
    }
    await fixture.clock.advance(0);
    expect(toldSince()).toEqual(['UPDATE DOWN', 'UPDATE DOWN']);
    expect(stored().map(isFarEndGone)).toEqual([true]);
    await fixture.close(answer);
  });

  it('says nothing of a far end that it has left meanwhile', async () => {
    const answer = await established();
    fixture.directory.tell(ownId(answer), { type: 'farEndGone', end: 'another' });
    await fixture.clock.advance(0);
    expect(toldSince()).toEqual([]);
    await fixture.close(answer);
  });

  it('is forgotten with an error where the next hop refuses the Close for good', async () => {
    const answer = await established();
    closeError = refused();
    await expect(fixture.close(answer)).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    expect(fixture.table.size + fixture.directory.size).toBe(0);
    expect(fixture.events.at(-1)).toBe('DELETE UP');
  });
});

describe('what the next hop says about an established connection', () => {
  it('is relayed as this hop’s own view', async () => {
    const answer = await established();
    await say(answer, entryOf(answer, { state: State.DOWN }));
    expect(toldSince()).toEqual(['UPDATE DOWN']);
    const [own] = stored();
    expect(own).toMatchObject({ id: ownId(answer), state: State.DOWN, path: { index: 1 } });
    expect(own?.path?.pathSegments.map(({ name }) => name)).toEqual(['client', 'hop', 'next']);
    await fixture.close(answer);
  });

  it('of a far end that is gone is handed on, also after a DOWN', async () => {
    const answer = await established();
    const entry = entryOf(answer, { state: State.DOWN });
    await say(answer, entry);
    await say(answer, withoutFarEnd(entry, farEndOf(entry)) ?? entry);
    expect(toldSince()).toEqual(['UPDATE DOWN', 'UPDATE DOWN']);
    expect(stored().map(isFarEndGone)).toEqual([true]);
    await fixture.close(answer);
  });

  it('becomes DOWN where it is a deletion', async () => {
    const answer = await established();
    await say(answer, entryOf(answer), ConnectionEventType.DELETE);
    expect(toldSince()).toEqual(['UPDATE DOWN']);
    await fixture.close(answer);
  });

  it('is dropped where it is about another connection or tells nothing new', async () => {
    const answer = await established();
    await say(answer, entryOf(answer));
    const before = fixture.events.length;
    await say(answer, entryOf(answer));
    const other = entryOf(answer, { state: State.DOWN });
    const path = other.path;
    if (path === undefined) throw new Error('no path');
    await say(answer, { ...other, path: { ...path, index: 0 as number } });
    const pathSegments = path.pathSegments.map((each) => ({ ...each, id: 'other' }));
    await say(answer, { ...other, path: { ...path, pathSegments } });
    await say(answer, entryOf(answer), ConnectionEventType.INITIAL_STATE_TRANSFER);
    expect(fixture.events.slice(before)).toEqual([]);
    await fixture.close(answer);
  });
});

describe('a connection that is still to be closed behind this hop', () => {
  it('is over for everybody here at once', async () => {
    const answer = await closing();
    expect(fixture.events.at(-1)).toBe('DELETE UP');
    expect([...fixture.table.all()].map((intent) => intent.established)).toEqual([false]);
    expect(fixture.followed.size).toBe(0);
    await fixture.close(answer);
    closeError = undefined;
    await fixture.clock.advance(200);
    expect(fixture.steps).toEqual(['request', 'close', 'close']);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
    expect(fixture.events.filter((event) => event.startsWith('DELETE')).length).toBe(1);
  });

  it('is told to the next hop again and again, ever more rarely, until it would have expired there', async () => {
    await closing();
    await fixture.clock.advance(10_000);
    const early = fixture.steps.length;
    expect(early).toBeGreaterThan(5);
    await fixture.clock.advance(60_000);
    const perMinute = fixture.steps.length - early;
    expect(perMinute).toBeGreaterThanOrEqual(6);
    expect(perMinute).toBeLessThanOrEqual(13);
    await fixture.clock.advance(closesAfterMs);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
    const end = fixture.steps.length;
    await fixture.clock.advance(closesAfterMs);
    expect(fixture.steps.slice(end)).toEqual([]);
  });

  it('is given up where the next hop refuses for good', async () => {
    await closing();
    closeError = refused();
    await fixture.clock.advance(200);
    expect(fixture.table.size + fixture.directory.size).toBe(0);
  });

  it('heeds nothing that comes too late', async () => {
    const answer = await closing();
    const before = fixture.events.length;
    const late = entryOf(answer, { state: State.DOWN });
    fixture.directory.tell(ownId(answer), {
      type: 'nextHopChanged',
      entry: late,
      event: ConnectionEventType.UPDATE,
    });
    fixture.directory.tell(ownId(answer), { type: 'nextHopLost' });
    fixture.directory.tell(ownId(answer), { type: 'wireGone', reason: 'test' });
    await fixture.clock.advance(0);
    expect(fixture.events.slice(before)).toEqual([]);
    expect(fixture.steps).toEqual(['request', 'close']);
    closeError = undefined;
    await fixture.clock.advance(200);
    expect(fixture.directory.size).toBe(0);
  });

  it('begins a new life with a Request, and is then not closed any more', async () => {
    const answer = await closing();
    const second = await fixture.request(again(fixture.clock, answer));
    expect(fixture.steps).toEqual(['request', 'close', 'request']);
    await fixture.clock.advance(30_000);
    expect(fixture.steps).toEqual(['request', 'close', 'request']);
    expect(stored().map(({ state }) => state)).toEqual([State.UP]);
    closeError = undefined;
    await fixture.close(second);
  });

  it('goes on to be closed where that Request fails', async () => {
    const answer = await closing();
    requestError = away();
    const request = fixture.request(again(fixture.clock, answer));
    await expect(request).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    closeError = undefined;
    await fixture.clock.advance(200);
    expect(fixture.steps).toEqual(['request', 'close', 'request', 'close']);
    expect(fixture.directory.size).toBe(0);
  });
});

describe('the same id', () => {
  it('can be asked for at any moment of its Close', async () => {
    let onClosing: () => void = () => {};
    const answer = await established({ close: async () => onClosing() });
    const { directory, clock } = fixture;
    const { signal } = new AbortController();
    const call = { deadlineMs: clock.nowMs() + 60_000, signal, headers: {} };
    const connection = { ...answer, id: ownId(answer) };
    for (let microtasks = 0; microtasks < 60; microtasks += 1) {
      const asking = new Promise<Connection>((resolve, reject) => {
        onClosing = () => {
          let turn = Promise.resolve();
          for (let each = 0; each < microtasks; each += 1) turn = turn.then(() => {});
          const ask = () =>
            directory.request({ connection, preferences: [], closeAtMs: call.deadlineMs, call });
          turn.then(ask).then(resolve, reject);
        };
      });
      await fixture.run(directory.close(ownId(answer), call));
      await expect(fixture.run(asking), `after ${microtasks} turns`).resolves.toMatchObject({
        id: ownId(answer),
      });
    }
    onClosing = () => {};
    await fixture.close(answer);
  });
});
