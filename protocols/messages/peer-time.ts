// How a deadline crosses between two processes whose clocks nobody has compared, so that a call which a stopped bus
// delivers late is never begun after its caller gave up.
//
// A duration alone cannot do it (nobody knows how long it lay on the bus) and a wall-clock stamp is not to be trusted.
// So the caller translates its deadline into the callee's monotonic clock. Every frame of the callee carries its
// clock at sending, s; the caller reads it at r of its own clock. Whatever the crossing took, the callee's clock
// showed at least s at that instant, so `s - r` is a lower bound of (callee's clock - caller's clock), and a deadline
// translated with a lower bound is never later than the true one. What is given away is one crossing of the best
// frame seen. The bound is lowered with its age, since clocks drift. A callee that is not yet known, or was started
// again (the call names the instance that it was timed for), refuses to begin and answers with its clock: one more
// crossing for the first call to an instance, one crossing for every call after that.

import type { Frame } from './call-envelope.ts';

/** Two machines' monotonic clocks part by less than this share: the kernel slews a clock by at most 500 ppm. */
const driftShareMax = 0.001;

/** Who sent a frame, when by its own clock, and which envelope it reads. */
type FrameOrigin = Pick<Frame, 'instance' | 'sentAt' | 'version'>;

/** What a caller knows of one callee's clock, and of what it reads. Mutable; one per component called. */
export class PeerTime {
  #instance: string | undefined;
  #version = 1;
  #offsetMs = 0;
  #measuredAtMs = 0;

  get instance(): string | undefined {
    return this.#instance;
  }

  /** Version of the envelope that this instance reads. */
  get version(): number {
    return this.#version;
  }

  /** A frame was read at `nowMs` of our clock. */
  observe({ instance, sentAt, version = 1 }: FrameOrigin, nowMs: number): void {
    this.#version = version;
    const boundMs = sentAt - nowMs;
    if (instance === this.#instance && this.#boundAt(nowMs) >= boundMs) return;
    this.#instance = instance;
    this.#offsetMs = boundMs;
    this.#measuredAtMs = nowMs;
  }

  /** Our time `atMs` on the callee's clock, never later than the truth. */
  translate(atMs: number, nowMs: number): number {
    return atMs + this.#boundAt(nowMs);
  }

  #boundAt(nowMs: number): number {
    return this.#offsetMs - (nowMs - this.#measuredAtMs) * driftShareMax;
  }
}
