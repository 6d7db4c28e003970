// Progress of anything that takes longer than a second, on stderr, so that stdout stays for results: a line that is
// rewritten on a terminal, a line at the start and the end elsewhere.

import { performance } from 'node:perf_hooks';

const patienceMs = 1000;

/** Runs `work`, shows that it goes on, and hands its result through. The title may tell how far it is. */
export async function withProgress<T>(
  title: string | (() => string),
  work: () => Promise<T>,
): Promise<T> {
  const titleNow = () => (typeof title === 'string' ? title : title());
  const sinceMs = performance.now();
  const isTerminal = process.stderr.isTTY;
  let shown = false;
  const elapsed = () => `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
  const timer = setInterval(() => {
    if (isTerminal) process.stderr.write(`\r\x1b[K${titleNow()} … ${elapsed()}`);
    else if (!shown) process.stderr.write(`${titleNow()} …\n`);
    shown = true;
  }, patienceMs);
  const finish = (outcome: string) => {
    clearInterval(timer);
    if (shown)
      process.stderr.write(
        `${isTerminal ? '\r\x1b[K' : ''}${titleNow()}: ${outcome}, ${elapsed()}\n`,
      );
  };
  try {
    const result = await work();
    finish('done');
    return result;
  } catch (error) {
    finish('failed');
    throw error;
  }
}
