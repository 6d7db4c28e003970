// Asking: one message out, one answer back, by a deadline. The way back is the pending ask itself, so an answer
// cannot reach another caller. Invariants: settles exactly once; leaves no timer, listener or entry behind; a first
// answer that comes after the asker gave up is a dead letter.

import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { ActorRef, AskOptions, DeadLetter, ReplyTo } from './api.ts';
import type { Cell } from './cell.ts';
import { Due } from './deadlines.ts';
import type { Runtime } from './runtime.ts';

/** Both ends of the promise given to the asker. */
export interface Settle {
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = 'waiting' | 'answered' | 'givenUp';

export class PendingAsk extends Due implements ReplyTo<unknown> {
  message: unknown = undefined;
  /** Who must forget this ask when it is over. */
  asked: Cell | undefined = undefined;
  asker: Cell | undefined = undefined;
  /** Called once when the ask is over. */
  onOver: ((isAnswered: boolean) => void) | undefined = undefined;
  private outcome: Outcome = 'waiting';
  private onAbort: (() => void) | undefined = undefined;
  declare private readonly runtime: Runtime;
  declare private readonly target: ActorRef<never>;
  declare private readonly settle: Settle;
  declare private readonly options: AskOptions;

  constructor(runtime: Runtime, target: ActorRef<never>, options: AskOptions, settle: Settle) {
    super();
    this.runtime = runtime;
    this.target = target;
    this.settle = settle;
    this.options = options;
    runtime.deadlines.set(this, options.timeoutMs);
    const { signal } = options;
    if (signal !== undefined) {
      this.onAbort = () => this.cancel('the caller cancelled the ask');
      signal.addEventListener('abort', this.onAbort, { once: true });
    }
  }

  get isWaiting(): boolean {
    return this.outcome === 'waiting';
  }

  tell(reply: unknown): void {
    if (this.outcome === 'waiting') {
      this.end('answered');
      this.settle.resolve(reply);
    } else this.late(reply);
  }

  fail(error: NsmError): void {
    if (this.outcome === 'waiting') {
      this.end('answered');
      this.settle.reject(asNsmError(error));
    } else this.late(error);
  }

  /** Ends the ask without an answer; what is still answered afterwards is a late reply. */
  giveUp(error: NsmError): void {
    if (this.outcome !== 'waiting') return;
    this.end('givenUp');
    this.settle.reject(error);
  }

  cancel(message: string): void {
    this.giveUp(new NsmError('CANCELLED', message, this.whom()));
  }

  /** The message will not be handled. */
  refused(reason: DeadLetter['reason']): void {
    this.giveUp(refusalError(reason, this.whom()));
  }

  crashed(error: unknown): void {
    const details = { ...this.whom(), cause: error };
    this.giveUp(new NsmError('INTERNAL', 'the actor crashed on the message', details));
  }

  expire(): void {
    this.giveUp(
      new NsmError('DEADLINE_EXCEEDED', 'the actor did not answer in time', {
        ...this.whom(),
        expected: `an answer within ${this.options.timeoutMs} ms`,
      }),
    );
  }

  private late(reply: unknown): void {
    if (this.outcome !== 'givenUp') return;
    this.outcome = 'answered';
    this.runtime.deadLetter(this.target, reply, 'lateReply');
  }

  private end(outcome: Outcome): void {
    this.outcome = outcome;
    this.runtime.deadlines.cancel(this);
    if (this.onAbort !== undefined) this.options.signal?.removeEventListener('abort', this.onAbort);
    this.forgetIn('asks', this.asked);
    this.forgetIn('asked', this.asker);
    this.onOver?.(outcome === 'answered');
  }

  /** A set that is empty again goes too: most actors are asked now and then, and live long. */
  private forgetIn(which: 'asks' | 'asked', cell: Cell | undefined): void {
    const set = cell?.extras?.[which];
    if (cell?.extras === undefined || set === undefined) return;
    set.delete(this);
    if (set.size === 0) cell.extras[which] = undefined;
  }

  private whom(): { hop: string } {
    const { node, path } = this.target.address;
    return { hop: `${node}:/${path.join('/')}` };
  }
}

/** Has the ask fail when the actor that it went to ends. */
export function trackAsked(cell: Cell, ask: PendingAsk): void {
  const { more } = cell;
  (more.asks ??= new Set()).add(ask);
  ask.asked = cell;
}

/** Has the ask cancelled when the actor that made it stops. */
export function trackAsker(cell: Cell, ask: PendingAsk): void {
  const { more } = cell;
  (more.asked ??= new Set()).add(ask);
  ask.asker = cell;
}

/** What is wrong with the options, if anything. */
export function checkAskOptions(options: AskOptions): NsmError | undefined {
  if (!(options.timeoutMs > 0) || options.timeoutMs === Number.POSITIVE_INFINITY) {
    return new NsmError('INVALID_ARGUMENT', 'an ask needs a deadline', {
      rule: 'ask.timeoutMs',
      expected: 'a finite number above 0',
      found: String(options.timeoutMs),
    });
  }
  if (options.signal?.aborted === true) {
    return new NsmError('CANCELLED', 'the caller had cancelled the ask before it began');
  }
  return undefined;
}

function refusalError(reason: DeadLetter['reason'], whom: { hop: string }): NsmError {
  switch (reason) {
    case 'overflow':
      return new NsmError('RESOURCE_EXHAUSTED', "the actor's mailbox is full", {
        ...whom,
        rule: 'mailbox.depthMax',
        remedy: 'ask again later, or ask less often',
      });
    case 'noSuchActor':
    case 'stopped':
      return new NsmError('UNAVAILABLE', 'the actor is not there', { ...whom, found: reason });
    case 'unreachable':
    case 'undecodable':
    case 'lateReply':
      return new NsmError('UNAVAILABLE', 'the node of the actor cannot be reached', whom);
  }
}
