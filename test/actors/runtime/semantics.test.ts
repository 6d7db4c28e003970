// Protects the details of the actor port: timers, stash, passivation, supervision, watch, overflow, views.

import { describe, expect, it } from 'vitest';
import type { ActorRef, Behavior, Supervision, Terminated } from '../../../actors/runtime/api.ts';
import { decideAfterCrash, supervision } from '../../../actors/runtime/supervision.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { fixture } from './fixture.ts';
import { turns, until } from './turns.ts';

type Step = (context: Parameters<Behavior<string[], Step>['receive']>[2], got: string[]) => unknown;

/** An actor that does what its messages say; the test sees its state. */
function scripted(
  got: string[],
  more: Partial<Behavior<string[], Step>> = {},
): Behavior<string[], Step> {
  return {
    initial: () => got,
    receive: async (state, step, context) => {
      await step(context, state);
      return state;
    },
    ...more,
  };
}

const note =
  (text: string): Step =>
  (_, got) =>
    got.push(text);

describe('timers', () => {
  it('replaces and cancels by name, even what is due and queued', async () => {
    const { system, clock, end } = fixture();
    const got: string[] = [];
    const ref = system.spawn(scripted(got), 'a');
    let release = (): void => {};
    ref.tell(({ timers }) => {
      timers.start('one', 10, note('old'));
      timers.start('one', 20, note('new'));
      timers.start('two', 10, note('cancelled'));
    });
    await turns();
    // All fall due while a handler holds the actor, which then cancels one of them.
    ref.tell(async ({ timers }) => {
      await new Promise<void>((resolve) => (release = resolve));
      timers.cancel('two');
    });
    ref.tell(note('user'));
    await clock.advance(100);
    expect(got).toEqual([]);
    release();
    await until('both notes', () => got.length === 2);
    expect(got).toEqual(['new', 'user']);
    await end();
  });

  it('deliver past a full mailbox', async () => {
    const { system, clock, end } = fixture();
    const got: string[] = [];
    const mailbox = { depthMax: 1, overflow: 'reject' } as const;
    const ref = system.spawn(scripted(got, { mailbox }), 'a');
    let release = (): void => {};
    ref.tell(({ timers }) => {
      timers.start('t', 10, note('timer'));
      return new Promise<void>((resolve) => (release = resolve));
    });
    await turns();
    ref.tell(note('queued'));
    ref.tell(note('too much'));
    await clock.advance(10);
    release();
    await until('both', () => got.length === 2);
    expect(got).toEqual(['timer', 'queued']);
    expect(system.deadLetters).toBe(1);
    await end();
  });
});

describe('stash', () => {
  it('gives messages back in order, before newer ones, and no more than the mailbox holds', async () => {
    const { system, end } = fixture({ mailbox: { depthMax: 3, overflow: 'reject' } });
    const got: string[] = [];
    let isOpen = false;
    const keep =
      (text: string): Step =>
      (context, state) =>
        isOpen ? state.push(text) : (context.stash(), context.stash());
    const ref = system.spawn(scripted(got), 'a');
    for (const text of ['1', '2', '3', '4']) {
      ref.tell(keep(text));
      await turns();
    }
    expect(system.tree()[0]?.stashDepth).toBe(3);
    expect(system.deadLetters).toBe(1);
    isOpen = true;
    ref.tell((context) => context.unstashAll());
    ref.tell(note('newer'));
    await until('all', () => got.length === 4);
    expect(got).toEqual(['1', '2', '3', 'newer']);
    await end();
  });
});

describe('supervision', () => {
  const quick: Supervision = {
    onCrash: 'restart',
    crashesMax: 2,
    windowMs: 1_000,
    whenExceeded: 'stop',
    backoffMs: 100,
    backoffMsMax: 150,
  };
  const crash: Step = () => {
    throw new Error('crash');
  };

  it('decides from its numbers', () => {
    expect(decideAfterCrash(quick, 1)).toEqual({ action: 'restart', backoffMs: 100 });
    expect(decideAfterCrash(quick, 2)).toEqual({ action: 'restart', backoffMs: 150 });
    expect(decideAfterCrash(quick, 3)).toEqual({ action: 'stop', backoffMs: 0 });
    expect(decideAfterCrash(supervision.registryDomain, 4).action).toBe('escalate');
    expect(decideAfterCrash(supervision.manager, 1).action).toBe('escalate');
  });

  it('restarts after the back-off with the mailbox kept, timers and children gone', async () => {
    const { system, clock, end } = fixture();
    const got: string[] = [];
    let lives = 0;
    const child: Behavior<null, null> = { initial: () => null, receive: (state) => state };
    const behavior = scripted(got, {
      supervision: quick,
      initial: (context) => {
        lives += 1;
        if (lives === 1) context.spawn(child, 'child');
        return got;
      },
    });
    const ref = system.spawn(behavior, 'a');
    ref.tell(({ timers }) => timers.start('t', 50, note('timer of the first life')));
    ref.tell(crash);
    ref.tell(note('kept'));
    await clock.advance(99);
    expect({ got, lives, actors: system.actorCount }).toEqual({ got: [], lives: 1, actors: 1 });
    await clock.advance(1);
    expect({ got, lives }).toEqual({ got: ['kept'], lives: 2 });
    await end();
  });

  it('stops beyond the limit, counting only the window', async () => {
    const { system, clock, end } = fixture();
    const ref = system.spawn(scripted([], { supervision: quick }), 'a');
    for (let round = 0; round < 4; round += 1) {
      ref.tell(crash);
      await clock.advance(1_200);
    }
    expect(system.actorCount).toBe(1);
    for (let round = 0; round < 3; round += 1) {
      ref.tell(crash);
      await clock.advance(160);
    }
    expect(system.actorCount).toBe(0);
    await end();
  });

  it('tries a failing initial again, within the same limits', async () => {
    const { system, clock, end } = fixture();
    let tries = 0;
    const behavior = scripted([], {
      supervision: quick,
      initial: () => {
        tries += 1;
        throw new Error('not yet');
      },
    });
    system.spawn(behavior, 'a');
    await clock.advance(500);
    expect({ tries, actors: system.actorCount }).toEqual({ tries: 3, actors: 0 });
    await end();
  });

  it('hands an escalation without parent to the process', async () => {
    const escalated: string[] = [];
    const { system, end } = fixture({
      onEscalation: (address, error) =>
        escalated.push(`${address.path.join('/')}: ${error.message}`),
    });
    const behavior = scripted([], { supervision: supervision.manager });
    system.spawn(behavior, 'nsmgr').tell(crash);
    await until('it is gone', () => system.actorCount === 0);
    expect(escalated).toEqual(['nsmgr: crash']);
    await end();
  });
});

describe('watch', () => {
  it('comes after the last words of the watched, and not after unwatch', async () => {
    const { system, end } = fixture();
    const got: string[] = [];
    const watcher = system.spawn(scripted(got), 'watcher');
    const watched = system.spawn(scripted([]), 'watched');
    const onEnd = (event: Terminated): Step =>
      note(`${event.address.path.join('/')} ${event.reason}`);
    watcher.tell((context) => context.watch(watched, onEnd));
    await turns();
    watched.tell((context) => {
      watcher.tell(note('last words'));
      context.stop();
    });
    await until('both', () => got.length === 2);
    expect(got).toEqual(['last words', 'watched stopped']);
    watcher.tell((context) => {
      context.watch(watched, onEnd);
      context.unwatch(watched);
    });
    watcher.tell(note('end'));
    await until('three', () => got.length === 3);
    expect(got[2]).toBe('end');
    await end();
  });
});

describe('mailbox', () => {
  it('drops the oldest where the behaviour says so, but no end of a watched actor', async () => {
    const { system, end, letters } = fixture();
    const got: string[] = [];
    const mailbox = { depthMax: 2, overflow: 'dropOldest' } as const;
    const ref = system.spawn(scripted(got, { mailbox }), 'a');
    const watched = system.spawn(scripted([]), 'watched');
    ref.tell((context) => context.watch(watched, () => note('ended')));
    await turns();
    let release = (): void => {};
    ref.tell(() => new Promise<void>((resolve) => (release = resolve)));
    await turns();
    watched.tell((context) => context.stop());
    await until('it ended', () => system.actorCount === 1);
    for (const text of ['1', '2', '3']) ref.tell(note(text));
    release();
    await until('two', () => got.length === 2);
    expect(got).toEqual(['ended', '3']);
    expect(letters.map((letter) => letter.reason)).toEqual(['overflow', 'overflow']);
    await end();
  });
});

describe('stop', () => {
  it('aborts the signal, waits for the handler, and refuses to spawn meanwhile', async () => {
    const { system, end } = fixture();
    const order: string[] = [];
    const idle: Behavior<null, null> = { initial: () => null, receive: (state) => state };
    const behavior = scripted([], { onStop: () => void order.push('onStop') });
    const ref = system.spawn(behavior, 'a');
    ref.tell(async (context) => {
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
      expect(() => context.spawn(idle, 'late')).toThrow(/while stopping/);
      order.push('handler');
    });
    await turns();
    await system.stop(1_000);
    expect(order).toEqual(['handler', 'onStop']);
    await end();
  });

  it('does not wait for ever for a handler, and says who would not stop', async () => {
    const { system, clock } = fixture({ stopHandlerMs: 1_000 });
    let release = (): void => {};
    const ref = system.spawn(scripted([]), 'stuck');
    ref.tell(() => new Promise<void>((resolve) => (release = resolve)));
    await turns();
    const early = system.stop(500).catch((error: unknown) => error as NsmError);
    await clock.advance(600);
    const error = await early;
    expect(error).toMatchObject({ code: 'DEADLINE_EXCEEDED', details: { found: 'stuck' } });
    const late = system.stop(5_000);
    await clock.advance(1_000);
    await late;
    release();
    expect({ actors: system.actorCount, timers: clock.armedCount }).toEqual({
      actors: 0,
      timers: 0,
    });
  });

  it('lets stopChild be awaited and the name be used again', async () => {
    const { system, end } = fixture();
    const got: string[] = [];
    const parent = system.spawn(scripted(got), 'parent');
    parent.tell(async (context, state) => {
      const child = context.spawn(scripted([]), 'child');
      const ended = context.stopChild(child);
      expect(context.child('child')).toBeUndefined();
      expect(() => context.spawn(scripted([]), 'child')).toThrow(NsmError);
      await ended;
      const again = context.spawn(scripted([]), 'child');
      state.push(String(again.address.incarnation !== child.address.incarnation));
      await context.stopChild(parent as ActorRef<never>).catch(() => state.push('not a child'));
    });
    await until('it is done', () => got.length === 2);
    expect(got).toEqual(['true', 'not a child']);
    await end();
  });

  it('cancels what the stopping actor had asked', async () => {
    const { system, end } = fixture();
    const got: string[] = [];
    const silent = system.spawn(scripted([]), 'silent');
    const asker = system.spawn(scripted(got), 'asker');
    asker.tell((context) => {
      void context
        .ask(silent, () => note('asked'), { timeoutMs: 10_000 })
        .catch((error: unknown) => got.push((error as NsmError).code));
      context.stop();
    });
    await until('cancelled', () => got.length === 1);
    expect(got).toEqual(['CANCELLED']);
    await end();
  });
});
