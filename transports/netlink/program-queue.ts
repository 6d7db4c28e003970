// The programs that wait for the netlink worker, and the worker itself.
// Invariants: bounded; programs start in the order of arrival; a waiting one can be cancelled, a started one runs
// to its end in the kernel whatever becomes of its caller.

import type { Worker } from 'node:worker_threads';

import { NsmError } from '../../protocols/errors.ts';
import type { Budget } from '../../protocols/ports/dataplane.ts';
import type { NetlinkOutcome, NetlinkStep } from '../../protocols/ports/netlink.ts';
import type { ProgramReply, ProgramRequest } from './program-worker.ts';
import { startWorker } from './start-worker.ts';

/** Programs handed to the worker at a time; the rest can still be cancelled. */
const inFlightMax = 8;

interface Pending {
  readonly id: number;
  readonly program: readonly NetlinkStep[];
  settle(result: NetlinkOutcome | NsmError): void;
}

export interface ProgramQueue {
  execute(program: readonly NetlinkStep[], budget: Budget): Promise<NetlinkOutcome>;
  close(): Promise<void>;
}

export function createProgramQueue(
  workerData: Readonly<Record<string, unknown>>,
  queueLengthMax: number,
): ProgramQueue {
  return new WorkerQueue(workerData, queueLengthMax);
}

class WorkerQueue implements ProgramQueue {
  readonly #workerData: Readonly<Record<string, unknown>>;
  readonly #queueLengthMax: number;
  readonly #waiting: Pending[] = [];
  readonly #inFlight = new Map<number, Pending>();
  #worker: Worker | undefined;
  #lastId = 0;
  #isClosed = false;

  constructor(workerData: Readonly<Record<string, unknown>>, queueLengthMax: number) {
    this.#workerData = workerData;
    this.#queueLengthMax = queueLengthMax;
  }

  execute(program: readonly NetlinkStep[], budget: Budget): Promise<NetlinkOutcome> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (this.#waiting.length >= this.#queueLengthMax) {
      const details = {
        rule: 'netlink queue',
        expected: `at most ${this.#queueLengthMax} waiting`,
      };
      const message = 'too many netlink programs wait';
      return Promise.reject(new NsmError('RESOURCE_EXHAUSTED', message, details));
    }
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const end = limit(budget, (error) => {
        const position = this.#waiting.findIndex((pending) => pending.id === id);
        if (position >= 0) this.#waiting.splice(position, 1);
        end();
        reject(error);
      });
      const settle = (result: NetlinkOutcome | NsmError) => {
        end();
        if (result instanceof NsmError) reject(result);
        else resolve(result);
      };
      this.#waiting.push({ id, program, settle });
      this.#pump();
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failAll(closedError());
    await this.#worker?.terminate();
  }

  #pump(): void {
    while (this.#inFlight.size < inFlightMax) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#inFlight.set(next.id, next);
      const request: ProgramRequest = { id: next.id, program: next.program };
      this.#runningWorker().postMessage(request);
    }
    if (this.#inFlight.size === 0) this.#worker?.unref();
    else this.#worker?.ref();
  }

  #runningWorker(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = startWorker(
      import.meta.url,
      '../../transports/netlink/program-worker',
      this.#workerData,
    );
    this.#worker = worker;
    worker.on('message', (reply: ProgramReply) => {
      const pending = this.#inFlight.get(reply.id);
      this.#inFlight.delete(reply.id);
      pending?.settle(
        reply.outcome ?? new NsmError('INTERNAL', `the netlink worker failed: ${reply.error}`),
      );
      this.#pump();
    });
    worker.on('error', (error) => {
      this.#worker = undefined;
      this.#failAll(new NsmError('UNAVAILABLE', `the netlink worker died: ${String(error)}`));
    });
    return worker;
  }

  #failAll(error: NsmError): void {
    const pending = [...this.#inFlight.values(), ...this.#waiting.splice(0)];
    this.#inFlight.clear();
    for (const entry of pending) entry.settle(error);
  }
}

export function closedError(): NsmError {
  return new NsmError('UNAVAILABLE', 'the netlink transport is closed');
}

/** Calls `give` once when the budget is used up; returns how to forget it. */
function limit(budget: Budget, giveUp: (error: NsmError) => void): () => void {
  const { signal } = budget;
  const onAbort = () => giveUp(new NsmError('CANCELLED', 'the netlink program was cancelled'));
  const timer = setTimeout(() => {
    const details = { rule: 'netlink deadline', expected: `${budget.timeoutMs} ms` };
    giveUp(new NsmError('DEADLINE_EXCEEDED', 'the netlink program took too long', details));
  }, budget.timeoutMs);
  timer.unref();
  if (signal?.aborted === true) queueMicrotask(onAbort);
  signal?.addEventListener('abort', onAbort, { once: true });
  return () => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  };
}
