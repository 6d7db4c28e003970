// What a behaviour sees of its own actor. One per actor, and as small as can be: everything is looked up in the cell.

import { NsmError } from '../../protocols/errors.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type {
  ActorContext,
  ActorRef,
  ActorTimers,
  AskOptions,
  Behavior,
  ReplyTo,
  Terminated,
} from './api.ts';
import type { Cell } from './cell.ts';
import { actorStopped, terminate } from './lifecycle.ts';
import { LocalRef } from './refs.ts';
import { cancelAllTimers, cancelTimer, startTimer } from './timers.ts';
import { unwatch, watch } from './watch.ts';

export class CellContext<Message> implements ActorContext<Message>, ActorTimers<Message> {
  declare private readonly cell: Cell;

  constructor(cell: Cell) {
    this.cell = cell;
  }

  get self(): ActorRef<Message> {
    return this.cell.ref;
  }

  get clock(): Clock {
    return this.cell.runtime.clock;
  }

  get random(): Random {
    return this.cell.runtime.random;
  }

  get log(): Log {
    const { more, runtime, ref } = this.cell;
    more.log ??= runtime.log.child({ actor: ref.address.path.join('/') });
    return more.log;
  }

  get signal(): AbortSignal {
    const { more, isAlive } = this.cell;
    more.abort ??= new AbortController();
    if (!isAlive) more.abort.abort(actorStopped);
    return more.abort.signal;
  }

  get timers(): ActorTimers<Message> {
    return this;
  }

  get childCount(): number {
    return this.cell.children?.size ?? 0;
  }

  start(name: string, delayMs: number, message: Message): void {
    startTimer(this.cell, name, delayMs, message);
  }

  cancel(name: string): void {
    cancelTimer(this.cell, name);
  }

  cancelAll(): void {
    cancelAllTimers(this.cell);
  }

  spawn<State, ChildMessage>(
    behavior: Behavior<State, ChildMessage>,
    name: string,
  ): ActorRef<ChildMessage> {
    return this.cell.runtime.spawnBelow(this.cell, behavior, name);
  }

  child(name: string): ActorRef<never> | undefined {
    const child = this.cell.children?.get(name);
    return child?.isAlive === true ? child.ref : undefined;
  }

  watch(ref: ActorRef<never>, onTerminated: (event: Terminated) => Message): void {
    watch(this.cell, ref, onTerminated);
  }

  unwatch(ref: ActorRef<never>): void {
    unwatch(this.cell, ref);
  }

  stop(): void {
    void terminate(this.cell, 'stopped');
  }

  async stopChild(ref: ActorRef<never>): Promise<void> {
    if (!(ref instanceof LocalRef) || ref.cell.parent !== this.cell) {
      throw new NsmError('INVALID_ARGUMENT', 'only a child of its own can be stopped by an actor', {
        rule: 'stopChild',
        expected: `a child of ${String(this.cell.ref)}`,
        found: ref.address.path.join('/'),
      });
    }
    await terminate(ref.cell, 'stopped');
  }

  ask<TargetMessage, Reply>(
    target: ActorRef<TargetMessage>,
    build: (replyTo: ReplyTo<Reply>) => TargetMessage,
    options: AskOptions,
  ): Promise<Reply> {
    return this.cell.runtime.askFrom(this.cell, target, build, options);
  }

  stash(): void {
    this.cell.stashCurrent();
  }

  unstashAll(): void {
    this.cell.unstashAll();
  }
}
