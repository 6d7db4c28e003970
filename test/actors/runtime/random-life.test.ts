// Protects the runtime's invariants under seeded random sequences of spawn, tell, ask, crash, stop and time: one
// handler at a time, order per sender, every ask settled, leaves before their parents, nothing left at the end.
// A failing seed is printed with the assertion and replays exactly.

import { expect, it } from 'vitest';
import type { ActorContext, ActorRef, Behavior, ReplyTo } from '../../../actors/runtime/api.ts';
import type { NsmError } from '../../../protocols/errors.ts';
import type { Random } from '../../../protocols/ports/random.ts';
import { fixture, seededRandom } from './fixture.ts';
import { turns } from './turns.ts';

type Message =
  | { readonly type: 'number'; readonly sender: number; readonly n: number }
  | { readonly type: 'ask'; readonly answer: boolean; readonly replyTo: ReplyTo<string> }
  | { readonly type: 'slow' | 'crash' | 'stop' | 'spawn' | 'stash' | 'unstash' | 'timer' };

interface World {
  readonly random: Random;
  readonly alive: Map<string, ActorRef<Message>>;
  /** Incarnations in the order of their ends. */
  readonly trace: string[];
  readonly problems: string[];
  spawned: number;
}

interface Life {
  running: number;
  /** Last number seen, by sender. */
  readonly last: Map<number, number>;
}

function member(world: World): Behavior<Life, Message> {
  // Shared by all lives of the actor, so that it sees two handlers of two lives at once.
  const life: Life = { running: 0, last: new Map() };
  return {
    initial: (context) => {
      if (world.random.integer(20) === 0) throw new Error('initial');
      world.alive.set(keyOf(context), context.self);
      return life;
    },
    receive: (state, message, context) => {
      state.running += 1;
      if (state.running !== 1) world.problems.push(`two handlers in ${keyOf(context)}`);
      try {
        return act(world, state, message, context);
      } finally {
        if (message.type !== 'slow') state.running -= 1;
      }
    },
    onStop: (_, context) => {
      const own = keyOf(context);
      world.trace.push(own);
      if (context.childCount > 0) world.problems.push(`children outlived ${own}`);
      world.alive.delete(own);
    },
    supervision: {
      onCrash:
        (['restart', 'resume', 'stop', 'escalate'] as const)[world.random.integer(4)] ?? 'stop',
      crashesMax: 3,
      windowMs: 1_000,
      whenExceeded: 'stop',
      backoffMs: world.random.integer(3) * 10,
      backoffMsMax: 100,
    },
    mailbox: { depthMax: 40, overflow: world.random.integer(2) === 0 ? 'reject' : 'dropOldest' },
    ...(world.random.integer(5) === 0 ? { passivateAfterMs: 300 } : {}),
  };
}

function act(
  world: World,
  state: Life,
  message: Message,
  context: ActorContext<Message>,
): Life | Promise<Life> {
  switch (message.type) {
    case 'number':
      if ((state.last.get(message.sender) ?? -1) >= message.n) {
        world.problems.push(`order of ${message.sender} in ${keyOf(context)}`);
      }
      state.last.set(message.sender, message.n);
      return state;
    case 'ask':
      if (message.answer) message.replyTo.tell('yes');
      return state;
    case 'slow':
      return slow(world, state);
    case 'crash':
      throw new Error('crash');
    case 'stop':
      context.stop();
      return state;
    case 'spawn':
      world.spawned += 1;
      if (context.self.address.path.length < 5) context.spawn(member(world), `n@${world.spawned}`);
      return state;
    case 'stash':
      context.stash();
      return state;
    case 'unstash':
      context.unstashAll();
      return state;
    case 'timer':
      context.timers.start(`t${world.random.integer(3)}`, world.random.integer(200), {
        type: 'slow',
      });
      return state;
  }
}

async function slow(world: World, state: Life): Promise<Life> {
  await turns(world.random.integer(3));
  state.running -= 1;
  if (world.random.integer(4) === 0) throw new Error('slow crash');
  return state;
}

function keyOf(context: ActorContext<Message>): string {
  return context.self.address.path.join('/');
}

async function run(seed: number): Promise<{ trace: string[]; problems: string[]; asks: string[] }> {
  const random = seededRandom(seed);
  const { system, clock, end } = fixture({ random: seededRandom(seed + 1), stopHandlerMs: 60_000 });
  const world: World = { random, alive: new Map(), trace: [], problems: [], spawned: 0 };
  const asks: Promise<string>[] = [];
  const types = [
    'slow',
    'crash',
    'stop',
    'spawn',
    'spawn',
    'spawn',
    'stash',
    'unstash',
    'timer',
  ] as const;
  for (let step = 0; step < 400; step += 1) {
    const refs = Array.from(world.alive.values());
    const ref = refs[random.integer(Math.max(1, refs.length))];
    const what = random.integer(10);
    if (ref === undefined || (what === 0 && refs.length < 30)) {
      world.spawned += 1;
      system.spawn(member(world), `top:${world.spawned}`);
    } else if (what < 4) {
      const sender = random.integer(3);
      ref.tell({ type: 'number', sender, n: step });
    } else if (what < 6) {
      const answer = random.integer(4) > 0;
      asks.push(
        system
          .ask<Message, string>(ref, (replyTo) => ({ type: 'ask', answer, replyTo }), {
            timeoutMs: 1 + random.integer(500),
          })
          .catch((error: unknown) => (error as NsmError).code),
      );
    } else if (what < 9) {
      ref.tell({ type: types[random.integer(types.length)] ?? 'slow' });
    } else {
      await clock.advance(random.integer(60));
    }
    if (random.integer(6) === 0) await turns(1);
  }
  await clock.advance(1_000);
  const answers = await Promise.all(asks);
  await end();
  return { trace: world.trace, problems: world.problems, asks: answers };
}

const seeds = Array.from({ length: 40 }, (_, index) => index + 1);

it.each(seeds)('keeps its invariants through random lives, seed %i', async (seed) => {
  const first = await run(seed);
  expect(first.problems).toEqual([]);
  const known = ['yes', 'DEADLINE_EXCEEDED', 'UNAVAILABLE', 'RESOURCE_EXHAUSTED', 'INTERNAL'];
  expect(first.asks.filter((outcome) => !known.includes(outcome))).toEqual([]);
  if (seed % 10 === 0) expect(await run(seed)).toEqual(first);
});
