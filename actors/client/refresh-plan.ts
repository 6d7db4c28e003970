// When an established client refreshes: at the share of the shortest life that NSM says, but never in a tight loop.
// A hop whose clock is late answers with lives that are over already; asking it again at once would not mend its clock.

import { refreshDelayMs, timestampToEpochMs } from '../../protocols/nsm/expiry.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';

export interface RefreshPlan {
  readonly delayMs: number;
  /** Answers in a row that asked for a refresh sooner than a client may. */
  readonly hurried: number;
}

/** The shortest pause between two refreshes, doubled with each hurried answer up to the longest. */
const pauseMs = 1_000;
const pauseMsMax = 60_000;

/** `hurriedBefore`: of the plan made for the answer before this one; 0 for a first answer. */
export function planRefresh(
  connection: Connection,
  nowEpochMs: number,
  hurriedBefore: number,
): RefreshPlan {
  const delayMs = refreshDelayMs(connection, nowEpochMs);
  if (delayMs >= pauseMs) return { delayMs, hurried: 0 };
  const doubled = Math.min(pauseMsMax, pauseMs * 2 ** Math.min(16, hurriedBefore));
  // Hops that did say a life still end the connection by it, however wrong another's clock is.
  const mostMs = Math.max(pauseMs, shortestLifeMs(connection, nowEpochMs) / 3);
  return { delayMs: Math.min(doubled, mostMs), hurried: hurriedBefore + 1 };
}

/** Of the segments that still live; Infinity where none does. */
function shortestLifeMs(connection: Connection, nowEpochMs: number): number {
  let shortest = Infinity;
  for (const { expires } of connection.path?.pathSegments ?? []) {
    const leftMs = expires === undefined ? 0 : timestampToEpochMs(expires) - nowEpochMs;
    if (leftMs > 0) shortest = Math.min(shortest, leftMs);
  }
  return shortest;
}
