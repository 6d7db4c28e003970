// Closes at next hops that a connection has left, after a reselect or an attempt that failed, while its caller has
// the answer already. Invariants: a hop that cannot be reached is told again, with back-off, until it has heard or its
// own expiry has cleaned up; a Request to a hop that is being left goes out behind that Close, and ends the telling.

import { asNsmError, describeError, errorCodes } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Random } from '../../protocols/ports/random.ts';
import type { Call } from './hop.ts';

export interface Leaving {
  leave(url: string, connection: Connection): void;
  /** Resolves when the Close that is under way there has ended, or at the deadline. */
  settled(url: string, connectionId: string, deadlineMs: number): Promise<void>;
  /** The connection goes there again: that hop is not told any more. */
  returns(url: string, connectionId: string): void;
  /** Tells nobody any more, nor of what is left from now on: the next life does, from the recorded intents. */
  close(): void;
}

export interface LeavingSetup {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly close: (url: string, connection: Connection, call: Call) => Promise<void>;
}

/** Time for one Close; the same that a client of the reference gives a call. */
const leaveTimeoutMs = 15_000;
/** Pause before it is told again, doubled up to the longest, with up to half of it taken off at random. */
const againMs = 500;
const againMsMax = 15_000;
/** As long as tokens live as a rule: by then that hop has closed the connection by itself. */
const toldMsMax = 600_000;
/** Told at the same time; beyond it a hop is told once. */
const entriesMax = 10_000;

interface Entry {
  readonly url: string;
  readonly connection: Connection;
  readonly untilMs: number;
  attempts: number;
  telling: Promise<void> | undefined;
  pause: Timer | undefined;
}

export function createLeaving(setup: LeavingSetup): Leaving {
  return new Leavings(setup);
}

class Leavings implements Leaving {
  readonly #setup: LeavingSetup;
  readonly #entries = new Map<string, Entry>();
  #isClosed = false;

  constructor(setup: LeavingSetup) {
    this.#setup = setup;
  }

  leave(url: string, connection: Connection): void {
    this.returns(url, connection.id);
    if (this.#isClosed) return;
    const untilMs = this.#setup.clock.nowMs() + toldMsMax;
    const entry: Entry = {
      url,
      connection,
      untilMs,
      attempts: 0,
      telling: undefined,
      pause: undefined,
    };
    this.#entries.set(keyOf(url, connection.id), entry);
    this.#tell(entry);
  }

  async settled(url: string, connectionId: string, deadlineMs: number): Promise<void> {
    const telling = this.#entries.get(keyOf(url, connectionId))?.telling;
    if (telling === undefined) return;
    const { clock } = this.#setup;
    await new Promise<void>((resolve) => {
      const timer = clock.after(Math.max(0, deadlineMs - clock.nowMs()), resolve);
      void telling.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  returns(url: string, connectionId: string): void {
    const key = keyOf(url, connectionId);
    this.#entries.get(key)?.pause?.cancel();
    this.#entries.delete(key);
  }

  close(): void {
    this.#isClosed = true;
    for (const { pause } of this.#entries.values()) pause?.cancel();
    this.#entries.clear();
  }

  #tell(entry: Entry): void {
    entry.pause = undefined;
    entry.attempts += 1;
    entry.telling = this.#tryOnce(entry).then((isHeard) => {
      entry.telling = undefined;
      const key = keyOf(entry.url, entry.connection.id);
      if (this.#entries.get(key) !== entry) return;
      if (isHeard || !this.#mayTellAgain(entry)) this.#entries.delete(key);
      else entry.pause = this.#setup.clock.after(this.#pauseMs(entry), () => this.#tell(entry));
    });
  }

  async #tryOnce({ url, connection, attempts }: Entry): Promise<boolean> {
    const { clock, log, close } = this.#setup;
    const deadlineMs = clock.nowMs() + leaveTimeoutMs;
    const { signal } = new AbortController();
    try {
      await close(url, connection, { deadlineMs, signal, headers: {} });
      return true;
    } catch (thrown) {
      const error = asNsmError(thrown);
      const details = { connectionId: connection.id, url, error: describeError(error) };
      if (attempts === 1) log.info('a next hop that was left did not hear of it yet', details);
      return !errorCodes[error.code].retryable;
    }
  }

  #mayTellAgain({ untilMs }: Entry): boolean {
    return this.#setup.clock.nowMs() < untilMs && this.#entries.size <= entriesMax;
  }

  #pauseMs({ attempts }: Entry): number {
    const full = Math.min(againMsMax, againMs * 2 ** Math.min(16, attempts - 1));
    return full * (1 - this.#setup.random.integer(1000) / 2000);
  }
}

function keyOf(url: string, connectionId: string): string {
  return `${connectionId} ${url}`;
}
