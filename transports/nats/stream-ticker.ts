// One timer for all streams of a dialer or listener: each turn every stream sends its heartbeat if it has been
// quiet and checks that its peer has not been. It runs only while there are streams.

import type { Clock, Timer } from '../../protocols/ports/clock.ts';

export interface Ticking {
  tick(nowMs: number): void;
}

/** Beats that a peer may miss before it counts as gone. */
export const beatsMissedMax = 3;

export class StreamTicker {
  readonly #clock: Clock;
  readonly beatMs: number;
  readonly #streams = new Set<Ticking>();
  #timer: Timer | undefined;

  constructor(clock: Clock, beatMs: number) {
    this.#clock = clock;
    this.beatMs = beatMs;
  }

  /** A peer that was last heard of at `heardAtMs` counts as gone. */
  isSilent(heardAtMs: number, nowMs: number): boolean {
    return nowMs - heardAtMs > this.beatMs * beatsMissedMax;
  }

  add(stream: Ticking): void {
    this.#streams.add(stream);
    if (this.#timer === undefined) this.#arm();
  }

  delete(stream: Ticking): void {
    this.#streams.delete(stream);
    if (this.#streams.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer = this.#clock.after(this.beatMs, () => {
      this.#timer = undefined;
      const nowMs = this.#clock.nowMs();
      for (const stream of this.#streams) stream.tick(nowMs);
      if (this.#streams.size > 0 && this.#timer === undefined) this.#arm();
    });
  }
}
