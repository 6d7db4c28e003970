// The actor port: everything the rest of the project sees of the actor runtime. nact stays behind it.
// Guarantees: one message at a time per actor, in arrival order, system messages first; an async handler holds
// the actor until it settles; a mailbox is bounded and says so (RESOURCE_EXHAUSTED) instead of growing; stop
// runs leaves first and can be awaited; a reference stays good across processes and names one incarnation.

import type { NsmError } from '../../protocols/errors.ts';
import type { ActorAddress, ActorLink } from '../../protocols/ports/actor-link.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';

export type { ActorAddress } from '../../protocols/ports/actor-link.ts';

declare const messageType: unique symbol;

/** A typed reference. The same reference works for an actor of another process. */
export interface ActorRef<in Message> {
  readonly address: ActorAddress;
  /** Never throws and never waits; what cannot be delivered is a dead letter. */
  tell(message: Message): void;
  readonly [messageType]?: (message: Message) => void;
}

/** The way back to an asker; exactly one of the two is called, later calls are ignored. */
export interface ReplyTo<in Reply> {
  tell(reply: Reply): void;
  fail(error: NsmError): void;
}

export interface AskOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Delivered to a watcher once the watched incarnation has ended, also when it had ended before the watch. It comes
 * after everything that the watched actor had sent to the watcher, and the mailbox's bound does not apply to it.
 */
export interface Terminated {
  readonly address: ActorAddress;
  readonly reason: 'stopped' | 'crashed' | 'unreachable';
}

/**
 * Named timers of one actor. Starting a name again replaces it; a replaced or cancelled timer never delivers, even
 * if it was due already. Due timers go ahead of queued messages and past the mailbox's bound. A restart cancels all.
 */
export interface ActorTimers<Message> {
  start(name: string, delayMs: number, message: Message): void;
  cancel(name: string): void;
  cancelAll(): void;
}

export interface ActorContext<Message> {
  readonly self: ActorRef<Message>;
  readonly clock: Clock;
  readonly random: Random;
  /** Bound to this actor's path. */
  readonly log: Log;
  /** Aborted when the actor is told to stop, so that a handler in flight can give up. */
  readonly signal: AbortSignal;
  readonly timers: ActorTimers<Message>;
  spawn<State, ChildMessage>(
    behavior: Behavior<State, ChildMessage>,
    name: string,
  ): ActorRef<ChildMessage>;
  /** The live child of that name, if any. */
  child(name: string): ActorRef<never> | undefined;
  readonly childCount: number;
  /** Delivers `onTerminated(...)` to this actor when the other ends. */
  watch(ref: ActorRef<never>, onTerminated: (event: Terminated) => Message): void;
  unwatch(ref: ActorRef<never>): void;
  /** Ends this actor after the current message: children first, then `onStop`. What is queued becomes dead letters. */
  stop(): void;
  /** Stops a child, leaves first; resolves when it is gone. */
  stopChild(ref: ActorRef<never>): Promise<void>;
  /** As `ActorSystem.ask`; it is also cancelled when this actor stops. Await it only where holding the actor is meant. */
  ask<TargetMessage, Reply>(
    target: ActorRef<TargetMessage>,
    build: (replyTo: ReplyTo<Reply>) => TargetMessage,
    options: AskOptions,
  ): Promise<Reply>;
  /** Sets the current message aside until `unstashAll`; at most as many as the mailbox holds, then it is a dead letter. */
  stash(): void;
  unstashAll(): void;
}

/** What the supervisor does when a handler throws (a programmer's error: operating errors are values). */
export interface Supervision {
  /**
   * `restart`: state from `initial` again; mailbox kept with the stash put back before it; children stopped, timers
   * and watches dropped. `resume`: next message, old state. `escalate`: this actor stops and its parent crashes in turn.
   * The message that crashed is gone; who asked it gets INTERNAL.
   */
  readonly onCrash: 'restart' | 'resume' | 'stop' | 'escalate';
  /** More crashes than this within the window and `whenExceeded` applies. */
  readonly crashesMax: number;
  readonly windowMs: number;
  readonly whenExceeded: 'stop' | 'escalate';
  /** Pause before a restarted actor takes messages again, doubled with each crash in the window up to the maximum. */
  readonly backoffMs: number;
  readonly backoffMsMax: number;
}

export interface MailboxOptions {
  readonly depthMax: number;
  /** `reject`: the new message is a dead letter, an ask fails with RESOURCE_EXHAUSTED. `dropOldest` suits telemetry. */
  readonly overflow: 'reject' | 'dropOldest';
}

/** How an actor behaves. `receive` returns the next state. */
export interface Behavior<State, Message> {
  /** Run at spawn and at every restart; a throw here counts as a crash. */
  readonly initial: (context: ActorContext<Message>) => State;
  readonly receive: (
    state: State,
    message: Message,
    context: ActorContext<Message>,
  ) => State | Promise<State>;
  /**
   * Best effort: correctness must not depend on it. Not run when there is no state: `initial` never succeeded, or
   * the actor was stopped while it waited to be restarted.
   */
  readonly onStop?: (state: State, context: ActorContext<Message>) => void | Promise<void>;
  readonly supervision?: Supervision;
  readonly mailbox?: MailboxOptions;
  /** Stops the actor after this long without a message. */
  readonly passivateAfterMs?: number;
}

/** One row of the tree view. */
export interface ActorView {
  readonly address: ActorAddress;
  readonly mailboxDepth: number;
  readonly stashDepth: number;
  readonly childCount: number;
  readonly crashes: number;
  /** Time spent in handlers; for synchronous ones an estimate from a share of the turns. */
  readonly busyMs: number;
  readonly children: readonly ActorView[];
}

export interface DeadLetter {
  readonly target: ActorAddress;
  readonly message: unknown;
  readonly reason:
    | 'noSuchActor'
    | 'stopped'
    | 'overflow'
    | 'unreachable'
    | 'lateReply'
    | 'undecodable';
}

export interface ActorSystemOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** For behaviours that say nothing; by default 1,024 messages, `reject`. */
  readonly mailbox?: MailboxOptions;
  readonly onDeadLetter?: (letter: DeadLetter) => void;
  /** An actor without parent escalated and has been told to stop: the process should end. */
  readonly onEscalation?: (address: ActorAddress, error: NsmError) => void;
  /** How long a stop waits for a handler in flight, and again for `onStop`; 5,000 ms by default. */
  readonly stopHandlerMs?: number;
  /** The way to other processes; without it, references to other nodes are unreachable. */
  readonly link?: ActorLink;
  /** A node that has not been heard for this long, the link being up, counts as unreachable; 5,000 ms by default. */
  readonly unreachableAfterMs?: number;
}

/**
 * How the messages of one kind of actor cross processes. `decode` and `decodeReply` throw INVALID_ARGUMENT for bytes
 * that they do not understand. A message that carries a `ReplyTo` is encoded without it and gets another one
 * at the other end; `replyTo` is absent when the message was told, not asked.
 */
export interface ActorCodec<Message, Reply = unknown> {
  encode(message: Message): Uint8Array;
  decode(bytes: Uint8Array, replyTo: ReplyTo<Reply> | undefined): Message;
  encodeReply(reply: Reply): Uint8Array;
  decodeReply(bytes: Uint8Array): Reply;
}

export interface ActorSystem {
  readonly name: string;
  spawn<State, Message>(behavior: Behavior<State, Message>, name: string): ActorRef<Message>;
  /**
   * Sends a message built around the way back and waits for the one reply. Errors: DEADLINE_EXCEEDED, CANCELLED,
   * RESOURCE_EXHAUSTED (mailbox full), UNAVAILABLE (the actor is not there or ended before it answered), or what
   * the actor failed it with.
   */
  ask<Message, Reply>(
    target: ActorRef<Message>,
    build: (replyTo: ReplyTo<Reply>) => Message,
    options: AskOptions,
  ): Promise<Reply>;
  /** Resolves when other nodes can reach this one, at once without a link; rejects as the link does. */
  readonly linked: Promise<void>;
  /** Makes an actor reachable from other nodes, for as long as it lives. */
  exportActor<Message, Reply>(ref: ActorRef<Message>, codec: ActorCodec<Message, Reply>): void;
  /**
   * The reference for an address of any node. The incarnation `*` (`anyIncarnation`) means whichever life is there
   * when a message arrives.
   */
  refOf<Message, Reply>(
    address: ActorAddress,
    codec: ActorCodec<Message, Reply>,
  ): ActorRef<Message>;
  tree(): readonly ActorView[];
  readonly deadLetters: number;
  readonly actorCount: number;
  /** Stops everything, leaves first, within the deadline; throws DEADLINE_EXCEEDED naming what would not stop. */
  stop(timeoutMs: number): Promise<void>;
}
