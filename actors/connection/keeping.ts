// What becomes of a connection whose expiry has come and that nobody has refreshed. Expiry policy `close`, the
// reference's: it is closed. `keep-while-alive`: it is kept for another period as long as the data plane shows that its
// wire is alive. Where that cannot be seen it is kept for one period, never for two in a row; a hop that has no data
// plane waits for the one that has.
// Invariants: news of the bus are no evidence; a refresh ends the keeping, and so does a next hop that has closed it.

import { ConnectionEventType } from '../../protocols/nsm/gen/connection_pb.ts';
import { isOfNextHop } from '../../protocols/nsm/monitor-selector.ts';
import type { Log } from '../../protocols/ports/log.ts';
import type { ActorContext } from '../runtime/api.ts';
import type { Intent } from './connection-table.ts';
import type { Call } from './hop.ts';
import type { NextHopNews } from './views.ts';

/** How far a connection has been kept beyond its expiry. */
export interface Keeping {
  readonly periodMs: number;
  /** So far; 0: it is refreshed as usual. */
  readonly periods: number;
  /** What the data plane had counted at the last look. */
  readonly packets?: bigint;
  /** Looks in a row, the last one included, that could not tell. Default 0. */
  readonly doubts?: number;
}

/** What is found where one looks. `packets`: those that show life, counted since the wire was made. */
export type Finding =
  | { readonly kind: 'there'; readonly packets?: bigint }
  | { readonly kind: 'gone'; readonly why: string }
  | { readonly kind: 'unknown'; readonly why: string };

/** Looks after one connection, within the call's time. Never rejects. */
export type Look = (intent: Intent, call: Call) => Promise<Finding>;

/** Where a hop looks before it keeps a connection: at least one of the two. */
export interface Keeper {
  /** Whether the hop behind holds it still. Absent at the last hop. */
  readonly behind?: Look;
  /** What this hop sees of the data plane. Absent where it has none: then the hop behind is followed. */
  readonly dataplane?: Look;
}

/** As long as the last life was, within these: a look costs little, and nothing dead stays for long. */
const periodMsMin = 5_000;
const periodMsMax = 600_000;
/** How long a hop without a data plane waits for a next hop that cannot be asked: its process may be away, the wire not. */
const doubtMsMax = 86_400_000;
/** Time for one look. */
const lookTimeoutMs = 2_000;

export function refreshedFor(lifeMs: number): Keeping {
  return { periodMs: Math.min(periodMsMax, Math.max(periodMsMin, lifeMs)), periods: 0 };
}

export type Verdict =
  | { readonly kind: 'keep'; readonly keeping: Keeping; readonly why: string }
  | { readonly kind: 'close'; readonly why: string };

interface Found {
  readonly behind: Finding | undefined;
  readonly dataplane: Finding | undefined;
}

/** Whether it is kept for another period. Pure. */
export function judge(keeping: Keeping, { behind, dataplane }: Found): Verdict {
  if (behind?.kind === 'gone') return { kind: 'close', why: behind.why };
  const found = dataplane ?? behind;
  const doubtsMax = dataplane === undefined ? doubtMsMax / keeping.periodMs : 1;
  if (found === undefined) return { kind: 'close', why: 'there is nothing to judge it by' };
  if (found.kind === 'gone') return { kind: 'close', why: found.why };
  const { periodMs } = keeping;
  const periods = keeping.periods + 1;
  if (found.kind === 'unknown') return doubtful(keeping, doubtsMax, found.why);
  const { packets } = found;
  const kept = { periodMs, periods };
  if (packets === undefined) return { kind: 'keep', keeping: kept, why: 'the next hop holds it' };
  if (keeping.packets === undefined) {
    const why = 'its packets are counted for the first time';
    return { kind: 'keep', keeping: { ...kept, packets }, why };
  }
  if (packets === keeping.packets) return { kind: 'close', why: 'no packet came for a period' };
  const why = `${packets - keeping.packets} packets came since the last look`;
  return { kind: 'keep', keeping: { ...kept, packets }, why };
}

function doubtful(keeping: Keeping, doubtsMax: number, why: string): Verdict {
  const doubts = (keeping.doubts ?? 0) + 1;
  if (doubts > doubtsMax) return { kind: 'close', why };
  return { kind: 'keep', keeping: { ...keeping, periods: keeping.periods + 1, doubts }, why };
}

export interface KeepingSetup {
  readonly id: string;
  readonly log: Log;
  /** Present: the policy is `keep-while-alive`. */
  readonly keeper?: Keeper;
}

export type Kept =
  | { readonly intent: Intent }
  | { readonly intent?: undefined; readonly reason: string };

/** The intent with a later end, or why it is to be closed now; undefined where the process ends: its next life looks. */
export async function keepLonger(
  { id, log, keeper }: KeepingSetup,
  { clock, signal }: ActorContext<never>,
  intent: Intent,
): Promise<Kept | undefined> {
  if (keeper === undefined) return { reason: 'expired' };
  const call = { deadlineMs: clock.nowMs() + lookTimeoutMs, signal, headers: {} };
  const [behind, dataplane] = await Promise.all([
    keeper.behind?.(intent, call),
    keeper.dataplane?.(intent, call),
  ]);
  if (signal.aborted) return undefined;
  // One from before the policy was chosen says no period.
  const before = intent.keeping ?? refreshedFor(periodMsMax);
  const verdict = judge(before, { behind, dataplane });
  if (verdict.kind === 'close') return { reason: `expired: ${verdict.why}` };
  const { keeping, why } = verdict;
  const { periods, periodMs: forMs } = keeping;
  log.warn('kept beyond its expiry', { connectionId: id, periods, forMs, why });
  return { intent: { ...intent, keeping, closeAtMs: clock.nowMs() + forMs } };
}

/** The hop behind a connection that is being kept says that it has closed it. */
export function isClosedBehind(
  { connection, keeping }: Intent,
  { entry, event }: NextHopNews,
): boolean {
  const isKept = (keeping?.periods ?? 0) > 0;
  return event === ConnectionEventType.DELETE && isKept && isOfNextHop(connection, entry);
}
