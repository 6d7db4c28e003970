// What the parts of one actor system share. Internal to the runtime: users see ActorSystem.

import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type {
  ActorAddress,
  ActorRef,
  AskOptions,
  Behavior,
  DeadLetter,
  MailboxOptions,
  ReplyTo,
  Terminated,
} from './api.ts';
import type { Cell } from './cell.ts';
import type { Deadlines } from './deadlines.ts';
import type { NactNode } from './nact-tree.ts';
import type { Scheduler } from './scheduler.ts';

/** Anything that knows its address; addresses are made only when asked for. */
export interface Addressed {
  readonly address: ActorAddress;
}

export interface Runtime {
  readonly name: string;
  /** Of this life of the system; every actor's incarnation begins with it. */
  readonly incarnation: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly mailbox: MailboxOptions;
  readonly stopHandlerMs: number;
  readonly scheduler: Scheduler;
  readonly deadlines: Deadlines;
  readonly rootNode: NactNode;
  /** Actors without parent. */
  readonly roots: Map<string, Cell>;
  readonly isStopping: boolean;
  actorCount: number;
  /** Turns that actors have had. */
  turns: number;
  nextSerial(): number;
  spawnBelow<State, Message>(
    parent: Cell | undefined,
    behavior: Behavior<State, Message>,
    name: string,
  ): ActorRef<Message>;
  askFrom<Message, Reply>(
    asker: Cell | undefined,
    target: ActorRef<Message>,
    build: (replyTo: ReplyTo<Reply>) => Message,
    options: AskOptions,
  ): Promise<Reply>;
  /** Calls back once when the actor of that reference has ended; returns how to lose interest. */
  watch(ref: ActorRef<never>, onEnd: (reason: Terminated['reason']) => void): () => void;
  find(address: ActorAddress): Cell | undefined;
  deadLetter(target: Addressed, message: unknown, reason: DeadLetter['reason']): void;
  escalated(cell: Cell, error: unknown): void;
}
