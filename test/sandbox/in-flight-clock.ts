// Real time in which the wait for what is on its way through an end that another replaces is as long as a test wants:
// none, or until the test has seen what it came for.

import { inFlightMs } from '../../dataplane/kernel/in-flight.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import { systemClock } from '../../transports/process/system-clock.ts';

export interface InFlightClock extends Clock {
  /** From now on whoever waits does so until `release`. */
  hold(): void;
  /** Resolves once somebody waits. */
  held(): Promise<void>;
  release(): void;
}

export function createInFlightClock(): InFlightClock {
  let isHeld = false;
  const callbacks = new Set<() => void>();
  let tell: () => void = () => {};
  const release = (): void => {
    isHeld = false;
    for (const callback of callbacks) callback();
    callbacks.clear();
  };
  return {
    nowMs: () => systemClock.nowMs(),
    after(delayMs, callback) {
      if (delayMs !== inFlightMs) return systemClock.after(delayMs, callback);
      callbacks.add(callback);
      if (!isHeld) queueMicrotask(release);
      tell();
      return { cancel: () => void callbacks.delete(callback) };
    },
    hold: () => void (isHeld = true),
    held: () =>
      new Promise((resolve) => {
        tell = resolve;
        if (callbacks.size > 0) resolve();
      }),
    release,
  };
}
