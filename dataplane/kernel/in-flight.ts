// What an end has sent before another took its place: answers on their way through a queue, a switch in user space, or
// from the node at the other end of a tunnel. They reach the client because the end stays until they have passed.

import type { Clock } from '../../protocols/ports/clock.ts';

/** A round trip across a continent, or a busy machine's queue; longer would hold up who waits for the wire. */
export const inFlightMs = 100;

export const untilPassed = (clock: Clock): Promise<void> =>
  new Promise((resolve) => {
    clock.after(inFlightMs, resolve);
  });
