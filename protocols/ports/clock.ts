// Time as the project sees it: one clock that everything which expires runs on, and one that only judges
// certificates and tokens and is shown to people.

/** A pending callback; cancelling one that has run or was cancelled does nothing. */
export interface Timer {
  cancel(): void;
}

/** Monotonic time. Never goes back, is not affected by a step of the wall clock. */
export interface Clock {
  /** Milliseconds since an arbitrary origin that is the same for the whole life of the process. */
  nowMs(): number;
  /** Runs `callback` once after `delayMs`; delays of any length are allowed (beyond 2^31-1 ms too). */
  after(delayMs: number, callback: () => void): Timer;
}

/** Wall-clock time. */
export interface WallClock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  epochMs(): number;
}
