// One actor: its mailbox and the loop that hands messages to its behaviour. Life and death are in lifecycle.ts.
// Invariants: one handler at a time; arrival order, due timers first; nothing is handled in any phase but `live`;
// an actor costs little while idle, so whatever is not always needed lives in `extras` and is made on demand.

import type { ActorAddress, ActorContext, Behavior, DeadLetter } from './api.ts';
import type { PendingAsk } from './ask.ts';
import { Extras } from './extras.ts';
import { armPassivation, onCrash } from './lifecycle.ts';
import { Mailbox } from './mailbox.ts';
import { type NactNode, requestTurn } from './nact-tree.ts';
import { Notice, noMessage } from './notice.ts';
import { LocalRef } from './refs.ts';
import { Ring } from './ring.ts';
import type { Runtime } from './runtime.ts';

/** Messages handled before other actors and I/O get their turn. */
const batchMax = 128;
/** Slow handlers give way earlier; the clock is looked at every few messages, since it costs as much as one. */
const sliceMs = 5;
const sliceCheckMask = 7;
/** For the same reason only one turn in so many is measured, and counts for all of them. */
const measuredTurns = 16;
/** In place of the current message once it has been set aside. */
const stashedMessage: unique symbol = Symbol('stashed message');

/** `starting` and `restarting` take messages and handle none. */
export type Phase = 'starting' | 'live' | 'restarting' | 'stopping' | 'stopped';
export type AnyBehavior = Behavior<unknown, unknown>;

export class Cell extends Mailbox {
  // What every message touches comes first: V8 lays fields out in the order of assignment.
  declare phase: Phase;
  /** True from the moment a turn has been asked for until the mailbox is found empty. */
  declare isScheduled: boolean;
  /** An asynchronous handler is in flight. */
  declare isAwaiting: boolean;
  /** Messages left in this batch. */
  declare private budget: number;
  /** `noMessage` until `initial` has made one. */
  declare state: unknown;
  declare current: unknown;
  declare readonly behavior: AnyBehavior;
  declare readonly runtime: Runtime;
  declare node: NactNode | undefined;
  declare context: ActorContext<unknown> | undefined;
  declare extras: Extras | undefined;
  /** In whole microseconds, so that V8 needs no box for it. */
  declare busyUs: number;
  declare children: Map<string, Cell> | undefined;
  declare readonly ref: LocalRef<unknown>;
  declare readonly parent: Cell | undefined;
  declare readonly name: string;
  /** Counts the actors of the system; the incarnation is made from it. */
  declare readonly serial: number;

  constructor(runtime: Runtime, parent: Cell | undefined, name: string, behavior: AnyBehavior) {
    super();
    this.phase = 'starting';
    this.isScheduled = false;
    this.isAwaiting = false;
    this.budget = 0;
    this.state = noMessage;
    this.current = noMessage;
    this.behavior = behavior;
    this.runtime = runtime;
    this.node = undefined;
    this.context = undefined;
    this.extras = undefined;
    this.busyUs = 0;
    this.children = undefined;
    this.ref = new LocalRef(this);
    this.parent = parent;
    this.name = name;
    this.serial = runtime.nextSerial();
  }

  get address(): ActorAddress {
    const path: string[] = [this.name];
    for (let cell = this.parent; cell !== undefined; cell = cell.parent) path.push(cell.name);
    const { name: node, incarnation } = this.runtime;
    return {
      node,
      path: path.reverse(),
      incarnation: `${incarnation}-${this.serial.toString(36)}`,
    };
  }

  get more(): Extras {
    this.extras ??= new Extras();
    return this.extras;
  }

  get isAlive(): boolean {
    return this.phase !== 'stopping' && this.phase !== 'stopped';
  }

  get isBusy(): boolean {
    return this.isAwaiting || this.current !== noMessage;
  }

  get hasQueued(): boolean {
    const urgent = this.extras?.urgent;
    return !this.isEmpty || (urgent !== undefined && urgent.size > 0);
  }

  /** Takes a message, or says why not; the caller makes the dead letter. */
  accept(message: unknown): DeadLetter['reason'] | undefined {
    if (!this.isAlive) return 'stopped';
    const limits = this.behavior.mailbox ?? this.runtime.mailbox;
    if (this.depth >= limits.depthMax) {
      if (limits.overflow === 'reject' || !this.dropOldest()) return 'overflow';
    }
    this.pushLast(message);
    if (!this.isScheduled) this.schedule();
    return undefined;
  }

  /** Takes a message of the runtime itself, to which the mailbox's bound does not apply. */
  acceptNotice(notice: Notice): void {
    if (!this.isAlive) return;
    if (notice.isUrgent) (this.more.urgent ??= new Ring()).push(notice);
    else this.pushLast(notice);
    if (!this.isScheduled) this.schedule();
  }

  /** A message that will not be handled: a dead letter, and who asked it is told. */
  refuse(message: unknown, reason: DeadLetter['reason']): void {
    if (message instanceof Notice) return;
    this.runtime.deadLetter(this.ref, message, reason);
    this.askOf(message)?.refused(reason);
  }

  stashCurrent(): void {
    const message = this.current;
    if (message === noMessage || message === stashedMessage) return;
    this.current = stashedMessage;
    const stash = (this.more.stash ??= new Ring());
    const { depthMax } = this.behavior.mailbox ?? this.runtime.mailbox;
    if (stash.size >= depthMax) this.refuse(message, 'overflow');
    else stash.push(message);
  }

  unstashAll(): void {
    const stash = this.extras?.stash;
    if (stash === undefined || stash.size === 0) return;
    const aside: unknown[] = [];
    while (stash.size > 0) aside.push(stash.shift());
    for (const message of aside.reverse()) this.pushFirst(message);
    if (!this.isScheduled) this.schedule();
  }

  /** Begins or goes on to handle messages. */
  goLive(): void {
    this.phase = 'live';
    if (this.hasQueued) this.schedule();
    else this.isScheduled = false;
  }

  requestTurn(): void {
    if (this.node !== undefined) requestTurn(this.node);
  }

  runTurn(): void {
    this.budget = batchMax;
    this.drain();
  }

  private schedule(): void {
    this.isScheduled = true;
    this.runtime.scheduler.add(this);
  }

  private drain(): void {
    const { runtime } = this;
    runtime.turns += 1;
    if (runtime.turns % measuredTurns !== 0) {
      this.handleBatch();
      return;
    }
    const startMs = runtime.clock.nowMs();
    this.handleBatch();
    this.countBusy(startMs, measuredTurns);
  }

  private handleBatch(): void {
    let sliceStartMs = -1;
    while (this.phase === 'live' && !this.isAwaiting) {
      if (!this.hasQueued) {
        this.rest();
        return;
      }
      if ((this.budget & sliceCheckMask) === 0) {
        const nowMs = this.budget === batchMax ? -1 : this.runtime.clock.nowMs();
        if (sliceStartMs < 0) sliceStartMs = nowMs;
        if (this.budget === 0 || nowMs - sliceStartMs > sliceMs) {
          this.requestTurn();
          return;
        }
      }
      this.budget -= 1;
      this.handle();
    }
  }

  private handle(): void {
    const urgent = this.extras?.urgent;
    const item = urgent !== undefined && urgent.size > 0 ? urgent.shift() : this.takeFirst();
    this.current = item;
    try {
      if (item instanceof Notice) this.current = item.take();
      if (this.current === noMessage) return;
      const context = this.context as ActorContext<unknown>;
      const next = this.behavior.receive(this.state, this.current, context);
      if (next instanceof Promise) {
        this.awaitHandler(next);
        return;
      }
      this.state = next;
      this.current = noMessage;
    } catch (error) {
      this.crashed(error);
    }
  }

  private awaitHandler(next: Promise<unknown>): void {
    this.isAwaiting = true;
    const startMs = this.runtime.clock.nowMs();
    next.then(
      (state) => {
        this.state = state;
        this.current = noMessage;
        this.goOn(startMs);
      },
      (error: unknown) => {
        this.isAwaiting = false;
        this.crashed(error);
        this.goOn(startMs);
      },
    );
  }

  private goOn(handlerStartMs: number): void {
    this.isAwaiting = false;
    this.countBusy(handlerStartMs, 1);
    if (this.phase === 'live') this.drain();
    else this.extras?.onHandlerEnd?.();
  }

  private crashed(error: unknown): void {
    const message = this.current;
    this.current = noMessage;
    this.askOf(message)?.crashed(error);
    onCrash(this, error);
  }

  private rest(): void {
    this.isScheduled = false;
    this.giveBackRing();
    if (this.behavior.passivateAfterMs !== undefined) armPassivation(this);
  }

  /** False if there is nothing that may be dropped: notices may not. */
  private dropOldest(): boolean {
    const notices: Notice[] = [];
    let oldest = this.takeFirst();
    for (; oldest instanceof Notice; oldest = this.takeFirst()) notices.push(oldest);
    for (const notice of notices.reverse()) this.pushFirst(notice);
    if (oldest === noMessage) return false;
    this.refuse(oldest, 'overflow');
    return true;
  }

  private countBusy(sinceMs: number, weight: number): void {
    this.busyUs += Math.round((this.runtime.clock.nowMs() - sinceMs) * 1_000) * weight;
  }

  private askOf(message: unknown): PendingAsk | undefined {
    const asks = this.extras?.asks;
    if (asks === undefined) return undefined;
    for (const ask of asks) if (ask.message === message) return ask;
    return undefined;
  }
}
