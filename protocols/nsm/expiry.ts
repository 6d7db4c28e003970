// When things end: path tokens, connections, registrations. All arithmetic of time on the wire is here.
// Invariants: a Timestamp that is only passed on stays the object it was, odd nanoseconds included (milliseconds are
// for computing delays, never for writing a received time back); a delay is never negative.

import { create } from '@bufbuild/protobuf';
import { type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';
import type { Connection } from './gen/connection_pb.ts';

export { formatTokenExpiry, parseTokenExpiry } from './token-expiry.ts';

/** Milliseconds since 1970, with the nanoseconds as a fraction as far as a double holds them. */
export function timestampToEpochMs(timestamp: Timestamp): number {
  return Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6;
}

/** A new Timestamp of whole microseconds at most; `epochMs` is finite. */
export function timestampFromEpochMs(epochMs: number): Timestamp {
  const seconds = Math.floor(epochMs / 1000);
  const micros = Math.floor((epochMs - seconds * 1000) * 1000);
  return create(TimestampSchema, { seconds: BigInt(seconds), nanos: micros * 1000 });
}

/** Negative, zero or positive as `left` is before, at or after `right`, exact to the nanosecond. */
export function compareTimestamps(left: Timestamp, right: Timestamp): number {
  if (left.seconds !== right.seconds) return left.seconds < right.seconds ? -1 : 1;
  return left.nanos - right.nanos;
}

/** The earliest of those present, as the very object that was given; undefined where none is. */
export function earliest(...timestamps: readonly (Timestamp | undefined)[]): Timestamp | undefined {
  let first: Timestamp | undefined;
  for (const each of timestamps) {
    if (each !== undefined && (first === undefined || compareTimestamps(each, first) < 0)) {
      first = each;
    }
  }
  return first;
}

/**
 * Milliseconds until the first client of a connection refreshes it: a share of the shortest remaining life of all
 * segments, 1/3 where there is one segment, otherwise 0.2 + 0.2 * index / segments. 0 (at once) where a segment has
 * no expiry or it has passed.
 */
export function refreshDelayMs(connection: Connection, nowEpochMs: number): number {
  const path = connection.path;
  if (path === undefined || path.pathSegments.length === 0) return 0;
  let remainingMs = Infinity;
  for (const { expires } of path.pathSegments) {
    if (expires === undefined) return 0;
    remainingMs = Math.min(remainingMs, timestampToEpochMs(expires) - nowEpochMs);
  }
  const segments = path.pathSegments.length;
  const scale = segments === 1 ? 1 / 3 : 0.2 + (0.2 * Math.min(path.index, segments)) / segments;
  return Math.max(0, remainingMs * scale);
}

/** What is known when a server accepts a Request or a Register. */
export interface CallLifetime {
  /** Until the caller's token expires. */
  readonly expiresInMs: number;
  /** What remained of the call's deadline when it arrived; Infinity for none. */
  readonly callRemainingMs: number;
}

/**
 * Milliseconds until a server closes a connection (or removes a registration) that nobody refreshes. Like the
 * reference it ends earlier than the token by the call's own deadline, so that the Close still finds it valid; unlike
 * the reference it gives up at most a third of the life, so that a caller with a long deadline is not closed before
 * it could refresh. A caller without a deadline gives up nothing.
 */
export function closeDelayMs({ expiresInMs, callRemainingMs }: CallLifetime): number {
  const lifetimeMs = Math.max(0, expiresInMs);
  const asked = Number.isFinite(callRemainingMs) ? Math.max(0, callRemainingMs) : 0;
  return lifetimeMs - Math.min(asked, lifetimeMs / 3);
}

/** What bounds the life of a registration; the first two where a token was presented. */
export interface RegistrationBounds {
  readonly ownToken?: Timestamp;
  readonly callerToken?: Timestamp;
  readonly nowEpochMs: number;
  /** 60,000 in the reference's manager and registries. */
  readonly defaultLifetimeMs: number;
  /** What the entry says already, from the client or from the registry behind. */
  readonly present?: Timestamp;
}

/** The expiration time of a registry entry: the earliest of everything known (behaviour of the expire element). */
export function registrationExpiry(bounds: RegistrationBounds): Timestamp {
  const byDefault = timestampFromEpochMs(bounds.nowEpochMs + bounds.defaultLifetimeMs);
  return earliest(bounds.present, bounds.ownToken, bounds.callerToken, byDefault) ?? byDefault;
}

/** Milliseconds until an endpoint registers again: 2/3 of what remains. */
export function registrationRefreshDelayMs(expiresInMs: number): number {
  return (Math.max(0, expiresInMs) * 2) / 3;
}

/** True where the entry says an expiration that is not after `nowEpochMs`; an entry without one never expires. */
export function isExpired(expirationTime: Timestamp | undefined, nowEpochMs: number): boolean {
  return expirationTime !== undefined && timestampToEpochMs(expirationTime) <= nowEpochMs;
}
