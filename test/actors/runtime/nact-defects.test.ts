// Protects the runtime from the reproduced defects of nact 7.6.2, one test per defect that concerns a runtime.
// Two of the known ones are about nact's persistence, which is not used.

import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import type { ActorRef, Behavior, ReplyTo, Supervision } from '../../../actors/runtime/api.ts';
import type { NsmError } from '../../../protocols/errors.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { fixture } from './fixture.ts';
import { turns, until } from './turns.ts';

const dayMs = 86_400_000;

const always = (onCrash: Supervision['onCrash']): Supervision => ({
  onCrash,
  crashesMax: 1_000,
  windowMs: 60_000,
  whenExceeded: 'stop',
  backoffMs: 0,
  backoffMsMax: 0,
});

/** An actor with children below it, down to `depth`, that notes its end. */
function family(ended: string[], depth: number): Behavior<null, 'work'> {
  return {
    initial: (context) => {
      if (depth > 0) {
        context.spawn(family(ended, depth - 1), 'a');
        context.spawn(family(ended, depth - 1), 'b');
      }
      return null;
    },
    receive: (state) => state,
    onStop: (_, context) => void ended.push(context.self.address.path.join('/')),
  };
}

describe('defects of nact that the runtime is free of', () => {
  it('1: stopping a parent stops all below it first, and nothing queued is handled', async () => {
    const { system, end, letters } = fixture();
    const ended: string[] = [];
    let handled = 0;
    let child: ActorRef<null> | undefined;
    const parent = system.spawn<null, 'stop'>(
      {
        initial: (context) => {
          context.spawn(family(ended, 2), 'family');
          const busy: Behavior<null, null> = {
            initial: () => null,
            receive: async (state) => {
              handled += 1;
              await turns(2);
              return state;
            },
          };
          child = context.spawn(busy, 'busy');
          return null;
        },
        receive: (state, _, context) => {
          context.stop();
          return state;
        },
        onStop: () => void ended.push('parent'),
      },
      'parent',
    );
    for (let n = 0; n < 20; n += 1) child?.tell(null);
    await until('the child works', () => handled === 1);
    parent.tell('stop');
    await until('everything ended', () => system.actorCount === 0);
    expect(handled).toBe(1);
    expect(letters.length).toBe(19);
    expect(ended.length).toBe(8);
    for (const [index, path] of ended.entries()) {
      const below = ended.filter((other) => other !== path && other.startsWith(`${path}/`));
      for (const other of below) expect(ended.indexOf(other)).toBeLessThan(index);
    }
    expect(ended.at(-1)).toBe('parent');
    await end();
  });

  it('2: an escalation that the parent resumes from wedges nobody', async () => {
    const { system, end } = fixture();
    type Message = 'crash' | { replyTo: ReplyTo<string> };
    const child: Behavior<null, 'crash'> = {
      initial: () => null,
      receive: () => {
        throw new Error('child');
      },
      supervision: always('escalate'),
    };
    const parent = system.spawn<null, Message>(
      {
        initial: () => null,
        receive: (state, message, context) => {
          if (message === 'crash') context.spawn(child, 'child').tell('crash');
          else message.replyTo.tell(`children: ${context.childCount}`);
          return state;
        },
        supervision: always('resume'),
      },
      'parent',
    );
    for (let round = 0; round < 3; round += 1) {
      parent.tell('crash');
      await until(
        'the child is gone',
        () => system.tree()[0]?.crashes === round + 1 && system.actorCount === 1,
      );
    }
    const count = (replyTo: ReplyTo<string>): Message => ({ replyTo });
    expect(await system.ask(parent, count, { timeoutMs: 1_000 })).toBe('children: 0');
    expect(system.tree()[0]?.crashes).toBe(3);
    await end();
  });

  it('3: one handler at a time, whatever crashes and restarts happen around it', async () => {
    const { system, end } = fixture();
    const running = new Map<string, number>();
    let most = 0;
    let handled = 0;
    const child = (name: string): Behavior<null, number> => ({
      initial: () => null,
      receive: async (state, n) => {
        running.set(name, (running.get(name) ?? 0) + 1);
        most = Math.max(most, running.get(name) ?? 0);
        await turns(1);
        running.set(name, (running.get(name) ?? 0) - 1);
        handled += 1;
        if (n % 7 === 0) throw new Error('now and then');
        return state;
      },
      supervision: always(n3[name] ?? 'restart'),
    });
    const n3: Record<string, Supervision['onCrash']> = { a: 'restart', b: 'resume' };
    const refs = ['a', 'b'].map((name) => system.spawn(child(name), name));
    for (let n = 1; n <= 50; n += 1) for (const ref of refs) ref.tell(n);
    await until('all handled', () => handled === 100);
    expect(most).toBe(1);
    await end();
  });

  it('4: 100,000 asks at once each get their own answer', async () => {
    const { system, end } = fixture({ mailbox: { depthMax: 100_000, overflow: 'reject' } });
    type Message = { readonly n: number; readonly replyTo: ReplyTo<number> };
    const echo = system.spawn<Message[], Message>(
      {
        initial: () => [],
        receive: (held, message) => {
          held.push(message);
          if (held.length === 100_000) for (const { n, replyTo } of held) replyTo.tell(n);
          return held;
        },
      },
      'echo',
    );
    const asks = Array.from({ length: 100_000 }, (_, n) =>
      system.ask(echo, (replyTo: ReplyTo<number>) => ({ n, replyTo }), { timeoutMs: 60_000 }),
    );
    const answers = await Promise.all(asks);
    expect(answers.every((answer, n) => answer === n)).toBe(true);
    await end();
  });

  it('5: every actor has a name of its own', async () => {
    const { system, end } = fixture();
    const idle: Behavior<null, null> = { initial: () => null, receive: (state) => state };
    system.spawn(idle, 'x');
    expect(() => system.spawn(idle, 'x')).toThrow(/there or still stopping/);
    expect(() => system.spawn(idle, '')).toThrow(/cannot have this name/);
    expect(system.actorCount).toBe(1);
    for (const name of ['!', '!1', 'x/y', 'x:y', 'x y', 'svc@dom', '\u{1F600}', '\uD800']) {
      expect(system.spawn(idle, name).address.path).toEqual([name]);
    }
    await end();
  });

  it('6: durations beyond 2^31 ms do not fire early', async () => {
    const system = createActorSystem({
      name: 'long',
      clock: systemClock,
      random: systemRandom,
      log: silentLog,
    });
    const got: string[] = [];
    const ref = system.spawn<null, string>(
      {
        initial: (context) => {
          context.timers.start('far', 60 * dayMs, 'timer');
          return null;
        },
        receive: (state, message) => {
          got.push(message);
          return state;
        },
        passivateAfterMs: 30 * dayMs,
      },
      'long',
    );
    let isOver = false;
    const asked = system
      .ask(ref, () => 'ask', { timeoutMs: 50 * dayMs })
      .catch((error: unknown) => {
        isOver = true;
        return (error as NsmError).code;
      });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect({ got, isOver, actors: system.actorCount }).toEqual({
      got: ['ask'],
      isOver: false,
      actors: 1,
    });
    await system.stop(1_000);
    expect(await asked).toBe('UNAVAILABLE');
  });

  it('7: no failure of an ending actor is an unhandled rejection', async () => {
    const { system, end } = fixture();
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown): void => void unhandled.push(reason);
    process.on('unhandledRejection', onUnhandled);
    const failing: Behavior<null, null> = {
      initial: () => null,
      receive: async (_, __, context) => {
        context.stop();
        await turns(1);
        throw new Error('after the stop');
      },
      onStop: async () => {
        await turns(1);
        throw new Error('in onStop');
      },
      supervision: always('escalate'),
    };
    const parent: Behavior<null, null> = {
      initial: () => null,
      receive: (state, _, context) => {
        context.spawn(failing, 'child').tell(null);
        context.stop();
        return state;
      },
      onStop: () => {
        throw new Error('in onStop, at once');
      },
    };
    system.spawn(parent, 'parent').tell(null);
    system.spawn(failing, 'top').tell(null);
    await until('all ended', () => system.actorCount === 0);
    await turns();
    process.off('unhandledRejection', onUnhandled);
    expect(unhandled).toEqual([]);
    await end();
  });

  it("8: no message runs in another sender's asynchronous context", async () => {
    const storage = new AsyncLocalStorage<string>();
    const { system, end } = fixture();
    const seen: (string | undefined)[] = [];
    const ref = system.spawn<null, 'sync' | 'async'>(
      {
        initial: () => null,
        receive: (state, message) => {
          seen.push(storage.getStore());
          if (message === 'sync') return state;
          return turns(1).then(() => {
            seen.push(storage.getStore());
            return state;
          });
        },
      },
      'traced',
    );
    for (const sender of ['one', 'two', 'three']) {
      storage.run(sender, () => {
        ref.tell('sync');
        ref.tell('async');
      });
    }
    await until('all handled', () => seen.length === 9);
    expect(seen.filter((store) => store !== undefined)).toEqual([]);
    await end();
  });

  it('9: the log is always there, bound to the path', async () => {
    const bound: unknown[] = [];
    const log = { ...silentLog, child: (fields: object) => (bound.push(fields), silentLog) };
    const { system, end } = fixture({ log });
    system.spawn<null, null>(
      {
        initial: (context) => {
          context.log.info('started');
          return null;
        },
        receive: (state) => state,
      },
      'svc@dom',
    );
    expect(bound).toEqual([{ actor: 'svc@dom' }]);
    await end();
  });

  it('10: a parent of 10,000 has few children in nact, where each costs it on every turn', async () => {
    const { system, end } = fixture();
    const idle: Behavior<null, null> = { initial: () => null, receive: (state) => state };
    system.spawn<null, null>(
      {
        initial: (context) => {
          for (let n = 0; n < 10_000; n += 1) context.spawn(idle, `child-${n}`);
          return null;
        },
        receive: (state) => state,
      },
      'parent-of-many',
    );
    const most = mostChildrenIn(nactTreeWith('parent-of-many'));
    expect(most.ofTurnTakers).toBeLessThanOrEqual(64);
    expect(most.ofAll).toBeLessThanOrEqual(300);
    expect(system.tree()[0]?.childCount).toBe(10_000);
    await end();
  });

  it('11: idling out needs no timer of its own kind and spares a busy actor', async () => {
    const { system, clock, end } = fixture();
    let release = (): void => {};
    const ref = system.spawn<null, null>(
      {
        initial: () => null,
        receive: (state) => new Promise((resolve) => (release = () => resolve(state))),
        passivateAfterMs: 1_000,
      },
      'idle',
    );
    await clock.advance(900);
    ref.tell(null);
    await clock.advance(5_000);
    expect(system.actorCount).toBe(1);
    release();
    await clock.advance(999);
    expect(system.actorCount).toBe(1);
    await clock.advance(1_001);
    expect(system.actorCount).toBe(0);
    expect(clock.armedCount).toBe(0);
    await end();
  });

  it('14: a reference accepts only its own messages, and nothing else is a reference', async () => {
    const { system, end } = fixture();
    const ref = system.spawn<null, 'a' | 'b'>(
      { initial: () => null, receive: (state) => state },
      'typed',
    );
    // @ts-expect-error: not a message of this actor.
    ref.tell('c');
    // @ts-expect-error: a reference to another kind of actor.
    const other: ActorRef<number> = ref;
    const narrower: ActorRef<'a'> = ref;
    expect([other, narrower]).toEqual([ref, ref]);
    await end();
  });

  it('15: a mailbox is bounded, and says so', async () => {
    const { system, end, letters } = fixture({ mailbox: { depthMax: 50, overflow: 'reject' } });
    let release = (): void => {};
    const ref = system.spawn<null, number>(
      {
        initial: () => null,
        receive: (state) => new Promise((resolve) => (release = () => resolve(state))),
      },
      'slow',
    );
    ref.tell(0);
    await turns();
    for (let n = 0; n < 10_000; n += 1) ref.tell(n);
    expect(system.tree()[0]?.mailboxDepth).toBe(50);
    expect(system.deadLetters).toBe(9_950);
    expect(letters.every((letter) => letter.reason === 'overflow')).toBe(true);
    const stopping = end();
    release();
    await stopping;
  });
});

interface NactActor {
  readonly children: Map<string, NactActor>;
}

/** nact keeps its systems in a table by name; the runtime's are counted up. */
function nactTreeWith(name: string): NactActor {
  const require = createRequire(import.meta.url);
  const table = require('nact/lib/system-map') as {
    find(name: string): NactActor | undefined;
  };
  for (let n = 1; n < 10_000; n += 1) {
    const found = table.find(`vwire-${n}`)?.children.get(name);
    if (found !== undefined) return found;
  }
  throw new Error(`no nact actor ${name}`);
}

function mostChildrenIn(actor: NactActor): { ofAll: number; ofTurnTakers: number } {
  let ofAll = actor.children.size;
  let ofTurnTakers = actor.children.size;
  for (const [name, child] of actor.children) {
    const below = mostChildrenIn(child);
    ofAll = Math.max(ofAll, below.ofAll);
    if (!name.startsWith('!')) ofTurnTakers = Math.max(ofTurnTakers, below.ofTurnTakers);
  }
  return { ofAll, ofTurnTakers };
}
