// Protects what every actor relies on: order, one message at a time, asks that always end, and a complete stop.

import { describe, expect, it } from 'vitest';
import type { ActorRef, Behavior, ReplyTo } from '../../../actors/runtime/api.ts';
import { fixture } from './fixture.ts';
import { turns } from './turns.ts';

type Message = { type: 'add'; n: number } | { type: 'get'; replyTo: ReplyTo<readonly number[]> };

const collector: Behavior<readonly number[], Message> = {
  initial: () => [],
  receive: (state, message) => {
    if (message.type === 'add') return [...state, message.n];
    message.replyTo.tell(state);
    return state;
  },
};

const get = (ref: ActorRef<Message>) => (replyTo: ReplyTo<readonly number[]>) =>
  ({ type: 'get', replyTo }) as const satisfies Message & { ref?: typeof ref };

describe('actor system', () => {
  it('delivers in order and answers an ask', async () => {
    const { system, end } = fixture();
    const ref = system.spawn(collector, 'svc@domain/1');
    for (let n = 0; n < 300; n += 1) ref.tell({ type: 'add', n });
    const all = await system.ask(ref, get(ref), { timeoutMs: 1000 });
    expect(all).toEqual(Array.from({ length: 300 }, (_, n) => n));
    await end();
  });

  it('keeps an asynchronous handler alone until it settles', async () => {
    const { system, end } = fixture();
    let running = 0;
    let most = 0;
    const release: (() => void)[] = [];
    const ref = system.spawn<number, null>(
      {
        initial: () => 0,
        receive: async (state) => {
          running += 1;
          most = Math.max(most, running);
          await new Promise<void>((resolve) => release.push(resolve));
          running -= 1;
          return state + 1;
        },
      },
      'slow',
    );
    for (let n = 0; n < 5; n += 1) ref.tell(null);
    for (let n = 0; n < 5; n += 1) {
      await turns();
      expect(release.length).toBe(n + 1);
      release[n]?.();
    }
    await turns();
    expect(most).toBe(1);
    await end();
  });

  it('fails an ask of a stopped actor at once', async () => {
    const { system, end } = fixture();
    const ref = system.spawn<null, { replyTo: ReplyTo<never> } | 'stop'>(
      {
        initial: () => null,
        receive: (state, message, context) => {
          if (message === 'stop') context.stop();
          return state;
        },
      },
      'a',
    );
    const waiting = system.ask<{ replyTo: ReplyTo<never> } | 'stop', never>(
      ref,
      (replyTo) => ({ replyTo }),
      { timeoutMs: 1000 },
    );
    await turns();
    ref.tell('stop');
    await expect(waiting).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await end();
  });
});
