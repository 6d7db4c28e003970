// Lets the event loop turn often enough for queued messages to be handled. It waits for turns, not for time.

export async function turns(count = 8): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

/** Turns until the condition holds; throws after a bounded number of turns, naming what was awaited. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000; turn += 1) {
    if (holds()) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  throw new Error(`never came true: ${what}`);
}
