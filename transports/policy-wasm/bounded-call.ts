// Runs a function that may not come to an end: V8 interrupts it when its time is over, WebAssembly and regular expressions
// included. It costs some 90 microseconds a call, since Node starts a thread that watches.

import { createContext, Script } from 'node:vm';

const call = new Script('work()');

/** Throws what `work` throws, and an error with the code ERR_SCRIPT_EXECUTION_TIMEOUT where it was interrupted. */
export function boundedCall<Result>(work: () => Result, timeoutMs: number): Result {
  const frame = frames.pop() ?? createContext({ work });
  frame['work'] = work;
  try {
    return call.runInContext(frame, { timeout: timeoutMs }) as Result;
  } finally {
    frame['work'] = undefined;
    frames.push(frame);
  }
}

/** Contexts that no call is in: one, unless calls nest. */
const frames: ReturnType<typeof createContext>[] = [];

export const isInterrupted = (thrown: unknown): boolean =>
  (thrown as NodeJS.ErrnoException | undefined)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
