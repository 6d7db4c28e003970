// Waiting with a deadline on the injected clock.

import type { Clock } from '../../protocols/ports/clock.ts';

/** True if the promise settled in time, rejecting as it does; false when the time was over first. */
export function within(clock: Clock, timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(timeoutMs, () => resolve(false));
    work.then(
      () => {
        timer.cancel();
        resolve(true);
      },
      (error: unknown) => {
        timer.cancel();
        reject(error);
      },
    );
  });
}
