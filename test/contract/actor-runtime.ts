// What a reference to an actor promises, wherever the actor lives: run over references inside one system and over
// references between two systems on a real bus. A host brings the two sides.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type {
  ActorRef,
  ActorSystem,
  Behavior,
  DeadLetter,
  ReplyTo,
  Terminated,
} from '../../actors/runtime/api.ts';
import { type Hold, type Probe, probeBehavior } from './actor-runtime-probe.ts';

export interface RuntimeSides {
  /** Where the test asks and watches from. */
  readonly near: ActorSystem;
  /** Where the probe lives; may be the same. */
  readonly far: ActorSystem;
  readonly farLetters: DeadLetter[];
  /** The far actor as the near side sees it. */
  see(ref: ActorRef<Probe>): ActorRef<Probe>;
  end(): Promise<void>;
}

const ask = { timeoutMs: 5_000 };
type Numbers = ReplyTo<readonly number[]>;

export function actorRuntimeContract(name: string, start: () => Promise<RuntimeSides>): void {
  describe(`actor runtime: ${name}`, () => {
    let sides: RuntimeSides;
    let hold: Hold;
    let probe: ActorRef<Probe>;
    const get = (): Promise<readonly number[]> =>
      sides.near.ask(probe, (replyTo: Numbers): Probe => ({ type: 'get', replyTo }), ask);
    const askFor = (type: 'refuse' | 'crashAsked' | 'never' | 'answerTwice' | 'answerLate') =>
      sides.near.ask(probe, (replyTo: Numbers): Probe => ({ type, replyTo }), ask);

    beforeEach(async () => {
      sides = await start();
      hold = { release: () => {}, late: [] };
      probe = sides.see(sides.far.spawn(probeBehavior(hold), 'probe@a/b:c'));
    });

    afterEach(async () => {
      hold.release();
      await sides.end();
    });

    it('keeps the order of one sender', async () => {
      for (let n = 0; n < 50; n += 1) probe.tell({ type: 'add', n });
      expect(await get()).toEqual(Array.from({ length: 50 }, (_, n) => n));
    });

    it('carries a refusal with its code and details', async () => {
      const refusal = { code: 'PERMISSION_DENIED', message: 'no', details: { rule: 'probe' } };
      await expect(askFor('refuse')).rejects.toMatchObject(refusal);
    });

    it('fails an ask whose message crashed the actor, and goes on after the restart', async () => {
      probe.tell({ type: 'add', n: 1 });
      await expect(askFor('crashAsked')).rejects.toMatchObject({ code: 'INTERNAL' });
      expect(await get()).toEqual([]);
    });

    it('gives up at the deadline', async () => {
      const asked = sides.near.ask(
        probe,
        (replyTo: Numbers): Probe => ({ type: 'never', replyTo }),
        {
          timeoutMs: 50,
        },
      );
      await expect(asked).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    });

    it('gives up when the caller cancels', async () => {
      const controller = new AbortController();
      const asked = sides.near.ask(
        probe,
        (replyTo: Numbers): Probe => ({ type: 'answerLate', replyTo }),
        {
          timeoutMs: 5_000,
          signal: controller.signal,
        },
      );
      const refused = expect(asked).rejects.toMatchObject({ code: 'CANCELLED' });
      await get();
      controller.abort();
      await refused;
      await get();
      hold.late[0]?.tell([1]);
      expect(sides.farLetters.map((letter) => letter.reason)).toEqual(['lateReply']);
    });

    it('takes the first of two answers', async () => {
      expect(await askFor('answerTwice')).toEqual([1]);
      expect(await get()).toEqual([]);
    });

    it('fails an ask at once when the actor ends before it answered', async () => {
      const asked = expect(askFor('never')).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      probe.tell({ type: 'stop' });
      await asked;
      await expect(get()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    });

    it('refuses an ask when the mailbox is full', async () => {
      probe.tell({ type: 'wait' });
      for (let n = 0; n < 101; n += 1) probe.tell({ type: 'add', n });
      await expect(askFor('never')).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
      expect(sides.farLetters.every((letter) => letter.reason === 'overflow')).toBe(true);
    });

    it('answers 500 asks at once, each with its own answer', async () => {
      const behavior: Behavior<null, { n: number; replyTo: ReplyTo<readonly number[]> }> = {
        initial: () => null,
        receive: async (state, message) => {
          message.replyTo.tell([message.n]);
          return state;
        },
      };
      const echo = sides.far.spawn(behavior, 'echo');
      const seen = sides.see(echo as unknown as ActorRef<Probe>) as unknown as typeof echo;
      const answers = Array.from({ length: 500 }, (_, n) =>
        sides.near.ask(seen, (replyTo: Numbers) => ({ n, replyTo }), ask),
      );
      expect((await Promise.all(answers)).map(([n]) => n)).toEqual(
        Array.from({ length: 500 }, (_, n) => n),
      );
    });

    it('tells a watcher once of a stop, of a crash, and of an end before the watch', async () => {
      const events = watchFrom(sides.near);
      events.watch(probe);
      await get();
      probe.tell({ type: 'stop' });
      expect(await events.next()).toEqual({ address: probe.address, reason: 'stopped' });
      events.watch(probe);
      expect(await events.next()).toMatchObject({ reason: 'stopped' });

      const other = sides.see(sides.far.spawn(probeBehavior(hold), 'other'));
      events.watch(other);
      other.tell({ type: 'crash' });
      other.tell({ type: 'crash' });
      expect(await events.next()).toEqual({ address: other.address, reason: 'crashed' });
    });

    it('means one life of the actor, not its successor of the same name', async () => {
      probe.tell({ type: 'stop' });
      await expect(get()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      const heir = sides.see(sides.far.spawn(probeBehavior(hold), 'probe@a/b:c'));
      expect(heir.address.path).toEqual(probe.address.path);
      expect(heir.address.incarnation).not.toBe(probe.address.incarnation);
      await expect(get()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      probe.tell({ type: 'add', n: 1 });
      const of = (replyTo: Numbers): Probe => ({ type: 'get', replyTo }) as const;
      expect(await sides.near.ask(heir, of, ask)).toEqual([]);
    });
  });
}

/** A watching actor whose events the test takes one by one. */
export function watchFrom(system: ActorSystem): {
  watch(ref: ActorRef<never>): void;
  next(): Promise<Terminated>;
} {
  const events: Terminated[] = [];
  let wake = (): void => {};
  type Message = { readonly watch: ActorRef<never> } | { readonly event: Terminated };
  const watcher = system.spawn<null, Message>(
    {
      initial: () => null,
      receive: (state, message, context) => {
        if ('watch' in message) context.watch(message.watch, (event) => ({ event }));
        else {
          events.push(message.event);
          wake();
        }
        return state;
      },
    },
    'watcher',
  );
  return {
    watch: (ref) => watcher.tell({ watch: ref }),
    next: async () => {
      if (events.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return events.shift() as Terminated;
    },
  };
}
