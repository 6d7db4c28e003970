// The two runtimes that are compared, brought to one shape: bare nact and vwire's runtime on top of it.
// Both run synchronous handlers and the same message objects, so that the ratio shows the runtime alone.

import * as nact from 'nact';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { ActorRef, Behavior, ReplyTo } from '../../actors/runtime/api.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { silentLog } from '../../protocols/ports/log.ts';

export type Target = unknown;

export interface Message {
  readonly replyTo?: unknown;
}

export interface Contestant {
  readonly name: string;
  /** Actors of one kind share their code, as real ones do; `onMessage` is called for each message. */
  kind(onMessage: () => void): (name: string) => Target;
  tell(target: Target, message: Message): void;
  ask(target: Target): Promise<unknown>;
  stop(): Promise<void>;
}

const deadlineMs = 30_000;
/** Short, because one of its answers can get lost and the round must then be done again. */
const nactDeadlineMs = 3_000;
const clock: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    const handle = setTimeout(callback, delayMs);
    return { cancel: () => clearTimeout(handle) };
  },
};

let systems = 0;

export function bareNact(): Contestant {
  systems += 1;
  const root = nact.start({ name: `bare-${systems}` } as unknown as string);
  const spawned: nact.Ref<Message>[] = [];
  return {
    name: 'nact',
    kind: (onMessage) => {
      const receive = (state: number, message: Message): number => {
        if (message.replyTo !== undefined) nact.dispatch(message.replyTo as nact.Ref<number>, 1);
        onMessage();
        return state + 1;
      };
      return (name) => {
        const ref = nact.spawn(root, receive, name, { initialState: 0 });
        spawned.push(ref);
        return ref;
      };
    },
    tell: (target, message) => nact.dispatch(target as nact.Ref<Message>, message),
    ask: (target) =>
      nact.query(
        target as nact.Ref<Message>,
        (replyTo: nact.Ref<number>) => ({ replyTo }),
        nactDeadlineMs,
      ),
    stop: async () => {
      for (const ref of spawned) nact.stop(ref);
      nact.stop(root);
    },
  };
}

export function vwireRuntime(): Contestant {
  systems += 1;
  const system = createActorSystem({
    name: `bench-${systems}`,
    clock,
    random: {
      uuid: () => crypto.randomUUID(),
      integer: (max) => Math.floor(Math.random() * max),
    },
    log: silentLog,
    mailbox: { depthMax: 2 ** 20, overflow: 'reject' },
  });
  type Ref = ActorRef<Message>;
  return {
    name: 'vwire',
    kind: (onMessage) => {
      const behavior: Behavior<number, Message> = {
        initial: () => 0,
        receive: (state, message) => {
          if (message.replyTo !== undefined) (message.replyTo as ReplyTo<number>).tell(1);
          onMessage();
          return state + 1;
        },
      };
      return (name) => system.spawn(behavior, name);
    },
    tell: (target, message) => (target as Ref).tell(message),
    ask: (target) =>
      system.ask(target as Ref, (replyTo: ReplyTo<number>) => ({ replyTo }), {
        timeoutMs: deadlineMs,
      }),
    stop: () => system.stop(deadlineMs),
  };
}
