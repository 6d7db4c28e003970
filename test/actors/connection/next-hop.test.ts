// Protects calls to next hops: one that fails is skipped, one that hangs cannot use up the time of the others, a
// refusal of all names each, and an answer about another connection is no answer.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { create } from '@bufbuild/protobuf';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import type { Call, NextHop } from '../../../actors/connection/hop.ts';
import { createNextHop } from '../../../actors/connection/next-hop.ts';
import { createOperations } from '../../../actors/connection/operations.ts';
import { NsmError } from '../../../protocols/errors.ts';
import type { Connection } from '../../../protocols/nsm/gen/connection_pb.ts';
import { NetworkService } from '../../../protocols/nsm/gen/networkservice_pb.ts';
import { kernelMechanism } from '../../../protocols/nsm/kernel-mechanism.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { type Listening, serve } from '../../../protocols/ports/rpc.ts';
import { createMemoryNetwork } from '../../../transports/memory/memory-network.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';
import { seededRandom } from '../runtime/fixture.ts';
import { call, connectionAt } from './hop-request.ts';

let clock: ManualClock;
let nextHop: NextHop;
let listening: Listening;
let closed: Connection[];
let answer: (connection: Connection) => Connection;
let closing: () => Promise<void>;

const asked = () => connectionAt(1, ['nsc', 'hop']);
const candidates = ['a', 'b', 'c'].map((name) => ({ name, url: `memory:${name}` }));

beforeEach(async () => {
  clock = createManualClock();
  const { dialer, listener } = createMemoryNetwork({ clock });
  const nextOperation = createOperations({ clock, bootId: 'boot', random: seededRandom(1) });
  nextHop = createNextHop({
    name: 'hop',
    dialer,
    clock,
    wallClock: clock,
    log: silentLog,
    random: seededRandom(1),
    nextOperation,
  });
  [closed, answer, closing] = [[], (connection) => connection, async () => {}];
  const service = serve(NetworkService, {
    request: async ({ connection }) => answer(connection ?? asked()),
    async close(connection) {
      closed.push(connection);
      await closing();
      return create(EmptySchema);
    },
  });
  listening = await listener.listen('memory:next', [service]);
});

afterEach(async () => {
  await listening.close(0);
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

describe('an answer', () => {
  it('is what the next hop says, in the view of this hop', async () => {
    const sent = { connection: asked(), preferences: [kernelMechanism({})] };
    expect(await nextHop.request('memory:next', sent, call())).toEqual(sent.connection);
  });

  it.each([
    { what: 'id', change: (each: Connection): Connection => ({ ...each, id: 'other' }) },
    {
      what: 'index',
      change: (each: Connection): Connection =>
        each.path === undefined ? each : { ...each, path: { ...each.path, index: 0 } },
    },
  ])('about another $what is refused, naming both', async ({ change }) => {
    answer = change;
    const sent = { connection: asked(), preferences: [] };
    await expect(nextHop.request('memory:next', sent, call())).rejects.toMatchObject({
      code: 'UNKNOWN',
      details: { hop: 'hop', expected: 'id id-1 at path index 1', remedy: expect.any(String) },
    });
  });

  it('is not waited for when no time is left', async () => {
    await clock.advance(15_000);
    const sent = { connection: asked(), preferences: [] };
    await expect(nextHop.request('memory:next', sent, call())).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
  });
});

describe('a first Request without an answer', () => {
  const sent = { connection: asked(), preferences: [] };
  const failing = async (error: NsmError, connection = sent.connection): Promise<void> => {
    answer = () => {
      throw error;
    };
    const asking = nextHop.request('memory:next', { ...sent, connection }, call());
    await expect(asking).rejects.toMatchObject({ code: error.code });
    await settle();
  };

  it.each(['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'] as const)(
    'may have been established (%s): it is closed by the segment of this hop',
    async (code) => {
      await failing(new NsmError(code, 'whether the peer executed the call is not known'));
      expect(closed).toMatchObject([{ id: 'id-1', path: { index: 1 } }]);
    },
  );

  it('has nothing to close where the next hop refused it, or nobody was there', async () => {
    await failing(new NsmError('UNAVAILABLE', 'no', { hop: 'next' }));
    await failing(new NsmError('NOT_FOUND', 'no'));
    await failing(new NsmError('UNAVAILABLE', 'nobody', { rule: 'responders' }));
    expect(closed).toEqual([]);
  });

  it('is no refresh, which leaves what works, nor a client, which asks again', async () => {
    const lost = new NsmError('UNAVAILABLE', 'lost');
    await failing(lost, connectionAt(1, ['nsc', 'hop', 'next']));
    await failing(lost, connectionAt(0, ['nsc']));
    expect(closed).toEqual([]);
  });
});

describe('several candidates', () => {
  const failWith = (error: (name: string) => Error) => (candidate: { readonly name: string }) =>
    Promise.reject(error(candidate.name));

  it('are tried in order until one succeeds', async () => {
    const tried: string[] = [];
    const result = await nextHop.tryInOrder(candidates, call(), async ({ name }) => {
      tried.push(name);
      if (name !== 'b') throw new NsmError('UNAVAILABLE', 'away');
      return name;
    });
    expect([result, tried]).toEqual(['b', ['a', 'b']]);
  });

  it('get half of the time that is left, the last one all of it', async () => {
    const deadlines: number[] = [];
    const attempt = async (_: unknown, each: Call): Promise<never> => {
      deadlines.push(each.deadlineMs);
      await clock.advance(each.deadlineMs - clock.nowMs());
      throw new NsmError('DEADLINE_EXCEEDED', 'it hung');
    };
    await expect(nextHop.tryInOrder(candidates, call(), attempt)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    expect(deadlines).toEqual([7_500, 11_250, 15_000]);
  });

  it('get no more than they may hang, and one that is reached as one that hung comes last', async () => {
    const tried: string[] = [];
    const attempt = async ({ name }: { name: string }, each: Call): Promise<string> => {
      tried.push(name);
      if (name === 'c') return name;
      await clock.advance(each.deadlineMs - clock.nowMs());
      throw new NsmError('DEADLINE_EXCEEDED', 'it hung');
    };
    const lost = { url: 'memory:lost', hangMsMax: 700 };
    const among = [
      { name: 'a', ...lost },
      { name: 'b', ...lost },
      { name: 'c', url: 'memory:c' },
    ];
    expect(await nextHop.tryInOrder(among, call(), attempt)).toBe('c');
    expect(tried).toEqual(['a', 'c']);
    expect(clock.nowMs()).toBe(700);
    await expect(nextHop.tryInOrder(among.slice(0, 2), call(), attempt)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    expect(clock.nowMs()).toBe(700 + 700 + 3_500);
  });

  it('are all named where all refuse; the code is theirs where they agree', async () => {
    const trying = nextHop.tryInOrder(
      candidates,
      call(),
      failWith((name) => new NsmError('NOT_FOUND', `not at ${name}`)),
    );
    await expect(trying).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: '3 of 3 candidates failed, none succeeded',
      details: { found: expect.stringMatching(/a: .*not at a.* \| b: .*not at b.* \| c: /) },
    });
    const mixed = nextHop.tryInOrder(
      candidates,
      call(),
      failWith((name) => new NsmError(name === 'a' ? 'NOT_FOUND' : 'ABORTED', 'no')),
    );
    await expect(mixed).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });

  it('say it themselves where there is only one', async () => {
    const only = new NsmError('PERMISSION_DENIED', 'not you', { hop: 'nse' });
    const trying = nextHop.tryInOrder(
      candidates.slice(0, 1),
      call(),
      failWith(() => only),
    );
    await expect(trying).rejects.toBe(only);
  });

  it('are not tried any further by a caller that has gone, nor after a programmer’s error', async () => {
    const gone = new AbortController();
    const tried: string[] = [];
    const attempt = async ({ name }: { readonly name: string }): Promise<never> => {
      tried.push(name);
      gone.abort();
      throw new NsmError('CANCELLED', 'gave up');
    };
    const trying = nextHop.tryInOrder(candidates, { ...call(), signal: gone.signal }, attempt);
    await expect(trying).rejects.toBeInstanceOf(NsmError);
    expect(tried).toEqual(['a']);
    const broken = nextHop.tryInOrder(
      candidates,
      call(),
      failWith(() => new TypeError('broken')),
    );
    await expect(broken).rejects.toBeInstanceOf(TypeError);
  });
});

describe('leaving the next hop after a reselect', () => {
  const onwardMechanism = kernelMechanism({ interfaceName: 'e' });
  const previous = { connection: asked(), memory: { nextUrl: 'memory:next', onwardMechanism } };

  it('closes there what was agreed on there', async () => {
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:new' });
    await settle();
    expect(closed).toMatchObject([{ id: 'id-1', mechanism: onwardMechanism }]);
  });

  it('does nothing where the next hop is the same, or there was none', async () => {
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:next' });
    nextHop.leaveReplaced(undefined, { nextUrl: 'memory:new' });
    await settle();
    expect(closed).toEqual([]);
  });

  it('tells one that cannot be reached again, with pauses, until it has heard', async () => {
    let refusals = 5;
    closing = async () => {
      refusals -= 1;
      if (refusals >= 0) throw new NsmError('UNAVAILABLE', 'cut off');
    };
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:new' });
    await clock.advance(4_000);
    expect(closed.length).toBeGreaterThan(2);
    expect(closed.length).toBeLessThan(6);
    await clock.advance(20_000);
    expect(closed).toHaveLength(6);
    await clock.advance(60_000);
    expect(closed).toHaveLength(6);
  });

  it.each([
    { what: 'does not want to hear', error: new NsmError('PERMISSION_DENIED', 'not yours') },
  ])('tells one that $what once', async ({ error }) => {
    closing = () => Promise.reject(error);
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:new' });
    await clock.advance(60_000);
    expect(closed).toHaveLength(1);
  });

  it('tells one that is gone for good no longer than its expiry takes', async () => {
    nextHop.leaveReplaced({ ...previous, memory: { nextUrl: 'memory:nobody' } }, {});
    await clock.advance(590_000);
    expect(clock.pendingTimers).toBe(1);
    await clock.advance(60_000);
  });

  it('tells nobody any more whom the connection goes to again, nor at the end of the process', async () => {
    let isAway = true;
    closing = async () => {
      if (isAway) throw new NsmError('UNAVAILABLE', 'cut off');
    };
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:new' });
    await clock.advance(100);
    isAway = false;
    await nextHop.request('memory:next', { connection: asked(), preferences: [] }, call());
    await clock.advance(60_000);
    expect(closed).toHaveLength(1);
    isAway = true;
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:new' });
    await clock.advance(100);
    nextHop.stopLeaving();
    expect(clock.pendingTimers).toBe(0);
    nextHop.leaveReplaced(previous, { nextUrl: 'memory:new' });
    await settle();
    expect(clock.pendingTimers, 'left after the end').toBe(0);
  });

  it('goes before what is asked of it next, as long as that may wait', async () => {
    let release: () => void = () => {};
    closing = () => new Promise((resolve) => (release = resolve));
    const sent = { connection: asked(), preferences: [] };
    void nextHop.leave('memory:next', asked(), 0);
    let isAnswered = false;
    const asking = nextHop.request('memory:next', sent, call()).then(() => (isAnswered = true));
    await clock.advance(1_000);
    expect(isAnswered).toBe(false);
    release();
    await asking;

    void nextHop.leave('memory:next', asked(), 0);
    const short = { ...call(), deadlineMs: clock.nowMs() + 1_000 };
    const late = expect(nextHop.request('memory:next', sent, short)).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
    });
    await clock.advance(1_000);
    await late;
    await clock.advance(15_000);
  });
});
