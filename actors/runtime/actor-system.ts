// The actor system: the root of the tree, the way in from outside the actors, and the end of everything.
// It is vwire's own runtime on nact's tree; actors/runtime/api.ts says what it guarantees.
// Invariant: after `stop` has resolved, no actor, timer, ask or nact node of it is left.

import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import { anyIncarnation } from '../../protocols/ports/actor-link.ts';
import type {
  ActorAddress,
  ActorCodec,
  ActorRef,
  ActorSystem,
  ActorSystemOptions,
  ActorView,
  AskOptions,
  Behavior,
  DeadLetter,
  MailboxOptions,
  ReplyTo,
  Terminated,
} from './api.ts';
import { checkAskOptions, PendingAsk, trackAsked, trackAsker } from './ask.ts';
import { type AnyBehavior, Cell } from './cell.ts';
import { CellContext } from './context.ts';
import { startLife, terminate } from './lifecycle.ts';
import { Deadlines } from './deadlines.ts';
import {
  isManyChildren,
  type NactNode,
  shardFor,
  spawnNode,
  startNursery,
  startTree,
  stopNode,
} from './nact-tree.ts';
import { LocalRef } from './refs.ts';
import { Remote } from './remote.ts';
import { AddressRef } from './remote-ref.ts';
import type { Addressed, Runtime } from './runtime.ts';
import { Scheduler } from './scheduler.ts';
import { viewOf } from './view.ts';
import { within } from './within.ts';

const defaultMailbox: MailboxOptions = { depthMax: 1_024, overflow: 'reject' };
const defaultStopHandlerMs = 5_000;
const defaultUnreachableAfterMs = 5_000;
/** How many actors an error names. */
const namedMax = 10;

export function createActorSystem(options: ActorSystemOptions): ActorSystem {
  return new System(options);
}

class System implements ActorSystem, Runtime {
  readonly name: string;
  readonly incarnation: string;
  readonly clock: Runtime['clock'];
  readonly random: Runtime['random'];
  readonly log: Runtime['log'];
  readonly mailbox: MailboxOptions;
  readonly stopHandlerMs: number;
  readonly scheduler = new Scheduler();
  readonly deadlines: Deadlines;
  readonly rootNode: NactNode = startTree();
  readonly roots = new Map<string, Cell>();
  isStopping = false;
  actorCount = 0;
  turns = 0;
  deadLetters = 0;
  private serial = 0;
  private stopped: Promise<unknown> | undefined;
  private readonly options: ActorSystemOptions;
  private readonly remote: Remote;

  constructor(options: ActorSystemOptions) {
    this.options = options;
    this.name = options.name;
    this.clock = options.clock;
    this.deadlines = new Deadlines(options.clock);
    this.random = options.random;
    this.log = options.log;
    this.incarnation = options.random.uuid();
    this.mailbox = options.mailbox ?? defaultMailbox;
    this.stopHandlerMs = options.stopHandlerMs ?? defaultStopHandlerMs;
    const unreachableAfterMs = options.unreachableAfterMs ?? defaultUnreachableAfterMs;
    this.remote = new Remote(this, options.link, unreachableAfterMs);
  }

  nextSerial(): number {
    this.serial += 1;
    return this.serial;
  }

  spawn<State, Message>(behavior: Behavior<State, Message>, name: string): ActorRef<Message> {
    return this.spawnBelow(undefined, behavior, name);
  }

  spawnBelow<State, Message>(
    parent: Cell | undefined,
    behavior: Behavior<State, Message>,
    name: string,
  ): ActorRef<Message> {
    this.checkSpawn(parent, name);
    const siblings = parent === undefined ? this.roots : (parent.children ??= new Map());
    const cell = new Cell(this, parent, name, behavior as unknown as AnyBehavior);
    cell.node = spawnNode(this.nodeFor(parent, name, siblings.size), name, cell);
    cell.context = new CellContext<unknown>(cell);
    siblings.set(name, cell);
    this.actorCount += 1;
    startLife(cell);
    return cell.ref as unknown as ActorRef<Message>;
  }

  ask<Message, Reply>(
    target: ActorRef<Message>,
    build: (replyTo: ReplyTo<Reply>) => Message,
    options: AskOptions,
  ): Promise<Reply> {
    return this.askFrom(undefined, target, build, options);
  }

  askFrom<Message, Reply>(
    asker: Cell | undefined,
    target: ActorRef<Message>,
    build: (replyTo: ReplyTo<Reply>) => Message,
    options: AskOptions,
  ): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      const wrong = checkAskOptions(options);
      if (wrong !== undefined) {
        reject(wrong);
        return;
      }
      const settle = { resolve: resolve as (reply: unknown) => void, reject };
      const ask = new PendingAsk(this, target, options, settle);
      if (asker !== undefined) trackAsker(asker, ask);
      try {
        ask.message = build(ask);
      } catch (error) {
        ask.giveUp(asNsmError(error));
        return;
      }
      this.sendAsk(ask, target, options.timeoutMs);
    });
  }

  get linked(): Promise<void> {
    return this.remote.linked;
  }

  exportActor<Message, Reply>(ref: ActorRef<Message>, codec: ActorCodec<Message, Reply>): void {
    if (!(ref instanceof LocalRef) || ref.cell.runtime !== this) {
      throw new NsmError('INVALID_ARGUMENT', 'only an actor of this system can be exported', {
        rule: 'exportActor',
        found: ref.address.path.join('/'),
      });
    }
    ref.cell.more.codec = codec as unknown as ActorCodec<unknown>;
  }

  refOf<Message, Reply>(
    address: ActorAddress,
    codec: ActorCodec<Message, Reply>,
  ): ActorRef<Message> {
    const cell = address.node === this.name ? this.find(address) : undefined;
    if (cell !== undefined && address.incarnation !== anyIncarnation) {
      return cell.ref as unknown as ActorRef<Message>;
    }
    return new AddressRef(this.remote, address, codec as unknown as ActorCodec<unknown>);
  }

  watch(ref: ActorRef<never>, onEnd: (reason: Terminated['reason']) => void): () => void {
    const cell = this.cellOf(ref);
    if (cell === undefined && ref.address.node !== this.name) {
      return this.remote.watch(ref.address, onEnd);
    }
    if (cell === undefined) {
      onEnd('stopped');
      return () => {};
    }
    if (cell.phase === 'stopped') {
      onEnd(cell.more.endReason);
      return () => {};
    }
    const watchers = (cell.more.watchers ??= new Set());
    watchers.add(onEnd);
    return () => void watchers.delete(onEnd);
  }

  deadLetter(target: Addressed, message: unknown, reason: DeadLetter['reason']): void {
    this.deadLetters += 1;
    const { onDeadLetter } = this.options;
    if (onDeadLetter === undefined) return;
    try {
      onDeadLetter({ target: target.address, message, reason });
    } catch (error) {
      this.log.error('the dead letter hook failed', { error: describeError(error) });
    }
  }

  escalated(cell: Cell, error: unknown): void {
    const { onEscalation } = this.options;
    this.log.error('an actor without parent escalated', { actor: cell.ref.toString() });
    try {
      onEscalation?.(cell.address, asNsmError(error));
    } catch (thrown) {
      this.log.error('the escalation hook failed', { error: describeError(thrown) });
    }
  }

  tree(): readonly ActorView[] {
    return Array.from(this.roots.values(), viewOf);
  }

  async stop(timeoutMs: number): Promise<void> {
    this.isStopping = true;
    this.stopped ??= this.stopAll();
    if (await within(this.clock, timeoutMs, this.stopped)) return;
    const left = this.leaves();
    throw new NsmError('DEADLINE_EXCEEDED', 'actors would not stop', {
      hop: this.name,
      expected: `everything stopped within ${timeoutMs} ms`,
      found: left.slice(0, namedMax).join(', ') + (left.length > namedMax ? ', ...' : ''),
    });
  }

  private async stopAll(): Promise<void> {
    await Promise.all(Array.from(this.roots.values(), (cell) => terminate(cell, 'stopped')));
    await this.remote.close();
    this.scheduler.close();
    stopNode(this.rootNode);
  }

  private checkSpawn(parent: Cell | undefined, name: string): void {
    if (this.isStopping || parent?.isAlive === false) {
      throw new NsmError('FAILED_PRECONDITION', 'nothing can be spawned while stopping', {
        rule: 'spawn',
        found: `${parent === undefined ? this.name : String(parent.ref)} is stopping`,
      });
    }
    if ((parent === undefined ? this.roots : parent.children)?.has(name) === true) {
      throw new NsmError('ALREADY_EXISTS', 'an actor of that name is there or still stopping', {
        rule: 'spawn',
        found: parent === undefined ? name : `${String(parent.ref)} / ${name}`,
        remedy: 'use the actor that is there, or await its stop',
      });
    }
  }

  private nodeFor(parent: Cell | undefined, name: string, siblingCount: number): NactNode {
    if (parent === undefined) return this.rootNode;
    const node = parent.node as NactNode;
    if (!isManyChildren(siblingCount)) return node;
    return shardFor((parent.more.nursery ??= startNursery(node)), name);
  }

  private sendAsk(ask: PendingAsk, target: ActorRef<never>, timeoutMs: number): void {
    const cell = this.cellOf(target);
    if (cell === undefined) {
      if (target instanceof AddressRef && target.address.node !== this.name) {
        this.remote.ask(target, ask, timeoutMs);
        return;
      }
      ask.refused('noSuchActor');
      this.deadLetter(target, ask.message, 'noSuchActor');
      return;
    }
    const refusal = cell.accept(ask.message);
    if (refusal === undefined) {
      if (ask.isWaiting) trackAsked(cell, ask);
      return;
    }
    ask.refused(refusal);
    this.deadLetter(target, ask.message, refusal);
  }

  private cellOf(ref: ActorRef<never>): Cell | undefined {
    if (ref instanceof LocalRef) return ref.cell;
    return ref.address.node === this.name ? this.find(ref.address) : undefined;
  }

  find(address: ActorAddress): Cell | undefined {
    let cell: Cell | undefined;
    for (const name of address.path) {
      cell = (cell === undefined ? this.roots : cell.children)?.get(name);
      if (cell === undefined) return undefined;
    }
    if (cell === undefined || address.incarnation === anyIncarnation) return cell;
    return cell.address.incarnation === address.incarnation ? cell : undefined;
  }

  private leaves(): string[] {
    const found: string[] = [];
    const visit = (cell: Cell): void => {
      const { children } = cell;
      if (children === undefined || children.size === 0) found.push(cell.address.path.join('/'));
      else for (const child of children.values()) visit(child);
    };
    for (const cell of this.roots.values()) visit(cell);
    return found;
  }
}
