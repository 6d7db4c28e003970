// Closes at next hops that a connection has left, after a reselect or an attempt that failed, while its caller has
// the answer already. Invariants: one attempt on this hop's own time, since what that hop does not hear its own expiry
// cleans up; a Request to a hop that is being left goes out behind that Close.

import { describeError } from '../../protocols/errors.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { Call } from './hop.ts';

export interface Leaving {
  leave(url: string, connection: Connection): void;
  /** Resolves when that hop has been left, or at the deadline. */
  settled(url: string, connectionId: string, deadlineMs: number): Promise<void>;
}

export interface LeavingSetup {
  readonly clock: Clock;
  readonly log: Log;
  readonly close: (url: string, connection: Connection, call: Call) => Promise<void>;
}

/** Time for one Close; the same that a client of the reference gives a call. */
const leaveTimeoutMs = 15_000;

export function createLeaving({ clock, log, close }: LeavingSetup): Leaving {
  const underWay = new Map<string, Promise<void>>();
  const keyOf = (url: string, connectionId: string): string => `${connectionId} ${url}`;

  const tell = async (url: string, connection: Connection): Promise<void> => {
    const deadlineMs = clock.nowMs() + leaveTimeoutMs;
    const { signal } = new AbortController();
    try {
      await close(url, connection, { deadlineMs, signal, headers: {} });
    } catch (error) {
      log.info('the next hop that was left did not hear of it; its expiry cleans up', {
        connectionId: connection.id,
        url,
        error: describeError(error),
      });
    }
  };

  return {
    leave(url, connection) {
      const key = keyOf(url, connection.id);
      const telling = tell(url, connection).then(() => {
        if (underWay.get(key) === telling) underWay.delete(key);
      });
      underWay.set(key, telling);
    },
    async settled(url, connectionId, deadlineMs) {
      const telling = underWay.get(keyOf(url, connectionId));
      if (telling === undefined) return;
      await new Promise<void>((resolve) => {
        const timer = clock.after(Math.max(0, deadlineMs - clock.nowMs()), resolve);
        void telling.then(() => {
          timer.cancel();
          resolve();
        });
      });
    },
  };
}
