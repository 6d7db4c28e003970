// Makes an operation happen once, in order, although a bus may deliver it late or twice. One guard per listening
// component. Per key it keeps the highest (incarnation, epoch) seen and refuses an older one; a repeated id is
// answered from the pending or recorded answer. A key belongs to one sender (as a rule its connection id): the
// incarnations of two senders cannot be compared. Bounded: beyond the bounds the entries unused for longest go.

import { NsmError } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Operation } from '../ports/rpc.ts';
import { LastUsed } from './last-used.ts';

export interface OperationGuardOptions {
  readonly clock: Clock;
  /** How long a key is remembered after its last use; the default is NSM's token lifetime of 10 minutes. */
  readonly keepKeyMs?: number;
  readonly keysMax?: number;
  /** How long an answer is kept for a duplicate: longer than any call waits. */
  readonly keepAnswerMs?: number;
  readonly answersMax?: number;
}

export interface OperationGuard {
  /**
   * Runs `execute` unless the operation is old or a duplicate. Errors: ABORTED for an older epoch, and for a
   * duplicate whose answer is kept no longer; otherwise what `execute` failed with. An execution that `isAbandoned`
   * says was given up by its caller leaves no answer: the same id may run again.
   */
  run<Answer>(
    scope: string,
    operation: Operation,
    execute: () => Promise<Answer>,
    isAbandoned: () => boolean,
  ): Promise<Answer>;
  readonly keyCount: number;
  readonly answerCount: number;
}

interface KeyEntry {
  incarnation: number;
  epoch: number;
  /** Executed, or being executed; undefined where its caller gave it up. */
  lastId: string | undefined;
  keepUntilMs: number;
}

interface AnswerEntry {
  readonly answer: Promise<unknown>;
  /** Without end while it is executed. */
  keepUntilMs: number;
}

export function createOperationGuard(options: OperationGuardOptions): OperationGuard {
  return new Guard(options);
}

/** With the largest usual answer, a path of six segments with tokens, some 12 MB of them per listener. */
const answersMaxDefault = 2048;

/** Thrown inside the guard alone: the execution that a duplicate joined was given up by its own caller. */
const abandoned = Symbol('abandoned');

class Guard implements OperationGuard {
  readonly #clock: Clock;
  readonly #keepKeyMs: number;
  readonly #keepAnswerMs: number;
  readonly #keys: LastUsed<KeyEntry>;
  readonly #answers: LastUsed<AnswerEntry>;

  constructor(options: OperationGuardOptions) {
    this.#clock = options.clock;
    this.#keepKeyMs = options.keepKeyMs ?? 600_000;
    this.#keepAnswerMs = options.keepAnswerMs ?? 60_000;
    this.#keys = new LastUsed({
      keepMs: this.#keepKeyMs,
      entriesMax: options.keysMax ?? 100_000,
    });
    this.#answers = new LastUsed({
      keepMs: this.#keepAnswerMs,
      entriesMax: options.answersMax ?? answersMaxDefault,
    });
  }

  get keyCount(): number {
    return this.#keys.size;
  }

  get answerCount(): number {
    return this.#answers.size;
  }

  async run<Answer>(
    scope: string,
    operation: Operation,
    execute: () => Promise<Answer>,
    isAbandoned: () => boolean,
  ): Promise<Answer> {
    const answerName = `${scope} ${operation.id}`;
    for (;;) {
      const nowMs = this.#clock.nowMs();
      this.#keys.forgetOld(nowMs);
      this.#answers.forgetOld(nowMs);
      const recorded = this.#answers.get(answerName, nowMs);
      if (recorded === undefined) break;
      try {
        return (await recorded.answer) as Answer;
      } catch (error) {
        if (error !== abandoned) throw error;
        if (isAbandoned()) throw givenUp();
      }
    }
    const entry = this.#admit(`${scope} ${operation.key}`, operation);
    return await this.#execute(answerName, execute, () => {
      if (!isAbandoned()) return false;
      if (entry.lastId === operation.id) entry.lastId = undefined;
      return true;
    });
  }

  #admit(name: string, operation: Operation): KeyEntry {
    const nowMs = this.#clock.nowMs();
    const seen = this.#keys.get(name, nowMs);
    if (seen !== undefined) refuseOld(seen, operation);
    const entry: KeyEntry = {
      incarnation: operation.incarnation,
      epoch: operation.epoch,
      lastId: operation.id,
      keepUntilMs: nowMs + this.#keepKeyMs,
    };
    this.#keys.put(name, entry);
    return entry;
  }

  async #execute<Answer>(
    name: string,
    execute: () => Promise<Answer>,
    isAbandoned: () => boolean,
  ): Promise<Answer> {
    const running = execute();
    const shared = running.then(
      (answer) => answer,
      (error: unknown) => {
        throw isAbandoned() ? abandoned : error;
      },
    );
    // A duplicate may never come, so a failure here is not an unhandled one.
    shared.catch(() => {});
    const entry: AnswerEntry = { answer: shared, keepUntilMs: Infinity };
    this.#answers.put(name, entry);
    try {
      const answer = await running;
      this.#record(name, entry);
      return answer;
    } catch (error) {
      if (isAbandoned()) this.#answers.delete(name);
      else this.#record(name, entry);
      throw error;
    }
  }

  #record(name: string, entry: AnswerEntry): void {
    const nowMs = this.#clock.nowMs();
    if (this.#answers.get(name, nowMs) !== entry) return;
    entry.keepUntilMs = nowMs + this.#keepAnswerMs;
    this.#answers.put(name, entry);
  }
}

function refuseOld(seen: KeyEntry, operation: Operation): void {
  const older =
    operation.incarnation < seen.incarnation ||
    (operation.incarnation === seen.incarnation && operation.epoch < seen.epoch);
  const same = operation.incarnation === seen.incarnation && operation.epoch === seen.epoch;
  if (older) {
    throw new NsmError('ABORTED', 'a newer operation on the same key came first', {
      rule: 'operation-epoch',
      expected: `incarnation ${seen.incarnation}, epoch from ${seen.epoch}`,
      found: `incarnation ${operation.incarnation}, epoch ${operation.epoch}`,
      connectionId: operation.key,
    });
  }
  if (same && seen.lastId === operation.id) {
    throw new NsmError('ABORTED', 'the operation was executed and its answer is kept no longer', {
      rule: 'operation-answer',
      found: `operation ${operation.id}`,
      remedy: 'send a new operation with a higher epoch',
      connectionId: operation.key,
    });
  }
}

function givenUp(): NsmError {
  return new NsmError('CANCELLED', 'the caller gave the operation up');
}
