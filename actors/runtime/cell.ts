// One actor: its mailbox and the loop that hands messages to its behaviour. Life and death are in lifecycle.ts.
// Invariants: one handler at a time; arrival order, due timers first; nothing is handled in any phase but `live`;
// an actor costs little while idle, so whatever is not always needed lives in `extras` and is made on demand.

import type { ActorAddress, ActorContext, Behavior, DeadLetter } from './api.ts';
import type { PendingAsk } from './ask.ts';
import { Extras } from './extras.ts';
import { armPassivation, onCrash } from './lifecycle.ts';
import { type NactNode, requestTurn } from './nact-tree.ts';
import { Notice, noMessage } from './notice.ts';
import { LocalRef } from './refs.ts';
import { Ring } from './ring.ts';
import type { Runtime } from './runtime.ts';

/** Messages handled before other actors and I/O get their turn. */
const batchMax = 128;
/** Slow handlers give way earlier; looked at every few messages. */
const sliceMs = 5;
const sliceCheckMask = 7;
/** A ring that a burst has made larger is given back once it is empty. */
const keptCapacity = 64;
/** In place of the current message once it has been set aside. */
const stashedMessage: unique symbol = Symbol('stashed message');

/** `starting` and `restarting` take messages and handle none. */
export type Phase = 'starting' | 'live' | 'restarting' | 'stopping' | 'stopped';
export type AnyBehavior = Behavior<unknown, unknown>;

export class Cell {
  phase: Phase = 'starting';
  /** True from the moment a turn has been asked for until the mailbox is found empty. */
  isScheduled = false;
  /** An asynchronous handler is in flight. */
  isAwaiting = false;
  /** Messages left in this batch. */
  private budget = 0;
  busyMs = 0;
  /** `noMessage` until `initial` has made one. */
  state: unknown = noMessage;
  current: unknown = noMessage;
  mailbox: Ring<unknown> | undefined;
  children: Map<string, Cell> | undefined;
  extras: Extras | undefined;
  node: NactNode | undefined;
  context: ActorContext<unknown> | undefined;
  readonly ref: LocalRef<unknown>;
  readonly runtime: Runtime;
  readonly parent: Cell | undefined;
  readonly name: string;
  /** Counts the actors of the system; the incarnation is made from it. */
  readonly serial: number;
  readonly behavior: AnyBehavior;

  constructor(runtime: Runtime, parent: Cell | undefined, name: string, behavior: AnyBehavior) {
    this.runtime = runtime;
    this.parent = parent;
    this.name = name;
    this.behavior = behavior;
    this.serial = runtime.nextSerial();
    this.ref = new LocalRef(this);
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
    return (urgent !== undefined && urgent.size > 0) || (this.mailbox?.size ?? 0) > 0;
  }

  /** Takes a message, or says why not; the caller makes the dead letter. */
  accept(message: unknown): DeadLetter['reason'] | undefined {
    if (!this.isAlive) return 'stopped';
    const mailbox = (this.mailbox ??= new Ring());
    const limits = this.behavior.mailbox ?? this.runtime.mailbox;
    if (mailbox.size >= limits.depthMax) {
      if (limits.overflow === 'reject' || !this.dropOldest(mailbox)) return 'overflow';
    }
    mailbox.push(message);
    if (!this.isScheduled) this.schedule();
    return undefined;
  }

  /** Takes a message of the runtime itself, to which the mailbox's bound does not apply. */
  acceptNotice(notice: Notice): void {
    if (!this.isAlive) return;
    if (notice.isUrgent) (this.more.urgent ??= new Ring()).push(notice);
    else (this.mailbox ??= new Ring()).push(notice);
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
    const mailbox = (this.mailbox ??= new Ring());
    for (const message of aside.reverse()) mailbox.unshift(message);
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
    const { clock } = this.runtime;
    const startMs = clock.nowMs();
    while (this.phase === 'live' && !this.isAwaiting) {
      if (!this.hasQueued) {
        this.rest();
        break;
      }
      if (this.budget <= 0 || this.isSliceOver(startMs)) {
        this.requestTurn();
        break;
      }
      this.budget -= 1;
      this.handle();
    }
    this.busyMs += clock.nowMs() - startMs;
  }

  private isSliceOver(startMs: number): boolean {
    if ((this.budget & sliceCheckMask) !== 0) return false;
    return this.runtime.clock.nowMs() - startMs > sliceMs;
  }

  private handle(): void {
    const urgent = this.extras?.urgent;
    const item =
      urgent !== undefined && urgent.size > 0
        ? urgent.shift()
        : (this.mailbox as Ring<unknown>).shift();
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
    this.busyMs += this.runtime.clock.nowMs() - handlerStartMs;
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
    if (this.mailbox !== undefined && this.mailbox.capacity > keptCapacity)
      this.mailbox = undefined;
    if (this.behavior.passivateAfterMs !== undefined) armPassivation(this);
  }

  /** False if there is nothing that may be dropped: notices may not. */
  private dropOldest(mailbox: Ring<unknown>): boolean {
    const notices: Notice[] = [];
    let isDropped = false;
    while (mailbox.size > 0 && !isDropped) {
      const oldest = mailbox.shift();
      if (oldest instanceof Notice) notices.push(oldest);
      else {
        this.refuse(oldest, 'overflow');
        isDropped = true;
      }
    }
    for (const notice of notices.reverse()) mailbox.unshift(notice);
    return isDropped;
  }

  private askOf(message: unknown): PendingAsk | undefined {
    const asks = this.extras?.asks;
    if (asks === undefined) return undefined;
    for (const ask of asks) if (ask.message === message) return ask;
    return undefined;
  }
}
