// Calls about one name, one after another in the order of their arrival; calls about other names do not wait.
// NSM concept: begin. Invariants: a caller that gives up stops waiting; what waits per name is bounded.

import { NsmError } from '../../../protocols/errors.ts';

const waitingMax = 16;

interface Line {
  tail: Promise<void>;
  count: number;
}

export class InOrder {
  #lines = new Map<string, Line>();

  async run<Result>(
    name: string,
    signal: AbortSignal,
    work: () => Promise<Result>,
  ): Promise<Result> {
    const line = this.#lines.get(name) ?? { tail: Promise.resolve(), count: 0 };
    if (line.count >= waitingMax) {
      throw new NsmError('RESOURCE_EXHAUSTED', 'too many calls about one name wait', {
        rule: 'registry-calls-per-name',
        expected: `at most ${waitingMax}`,
        found: name.slice(0, 120),
      });
    }
    const before = line.tail;
    let leave: () => void = () => {};
    const after = new Promise<void>((resolve) => {
      leave = resolve;
    });
    line.count += 1;
    // Whoever comes next waits for all before it, also where this caller gives up early.
    line.tail = Promise.all([before, after]).then(() => {});
    this.#lines.set(name, line);
    try {
      await turn(before, signal);
      return await work();
    } finally {
      leave();
      line.count -= 1;
      if (line.count === 0) this.#lines.delete(name);
    }
  }
}

async function turn(before: Promise<void>, signal: AbortSignal): Promise<void> {
  let onAbort: () => void = () => {};
  const givenUp = new Promise<never>((_, reject) => {
    onAbort = () => reject(new NsmError('CANCELLED', 'the caller gave up waiting for its turn'));
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    await Promise.race([before, givenUp]);
  } finally {
    signal.removeEventListener('abort', onAbort);
    givenUp.catch(() => {});
  }
}
