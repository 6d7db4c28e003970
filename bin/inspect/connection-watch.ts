// What a manager's monitor says, as people read it: which connections there are, and what has just become of one. Pure.
// A refresh changes times and tokens alone; it is told apart, since it happens to every connection every few minutes.

import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventType,
} from '../../protocols/nsm/gen/connection_pb.ts';
import type { ConnectionDetail } from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import { byWay, type ConnectionView, connectionView } from './connection-view.ts';

export type ChangeKind = 'PRESENT' | 'NEW' | 'CHANGED' | 'REFRESHED' | 'CLOSED';

export interface ConnectionChange {
  readonly event: ChangeKind;
  readonly connection: ConnectionView;
}

interface Known {
  readonly connection: Connection;
  /** When the manager established it, in ms since 1970; null where it does not know. */
  readonly sinceEpochMs: number | null;
}

export class ConnectionWatch {
  #known = new Map<string, Known>();

  /** `details`: by the id of the manager's own segment, for the ages of those that were there before. */
  apply(
    event: ConnectionEvent,
    nowEpochMs: number,
    details: ReadonlyMap<string, ConnectionDetail> = new Map(),
  ): readonly ConnectionChange[] {
    const isInitial = event.type === ConnectionEventType.INITIAL_STATE_TRANSFER;
    return Object.values(event.connections).map((connection) => {
      const before = this.#known.get(connection.id);
      if (event.type === ConnectionEventType.DELETE) {
        this.#known.delete(connection.id);
        return {
          event: 'CLOSED',
          connection: shown({ ...unknownAge, ...before, connection }, nowEpochMs),
        };
      }
      const ageMs = details.get(connection.id)?.ageMs;
      const sinceFound = ageMs === undefined ? null : nowEpochMs - Number(ageMs);
      const sinceEpochMs = before?.sinceEpochMs ?? (isInitial ? sinceFound : nowEpochMs);
      const known = { connection, sinceEpochMs };
      this.#known.set(connection.id, known);
      return { event: kindOf(before, connection, isInitial), connection: shown(known, nowEpochMs) };
    });
  }

  /** All that there are, by id. */
  rows(nowEpochMs: number): readonly ConnectionView[] {
    return [...this.#known.values()].map((known) => shown(known, nowEpochMs)).toSorted(byWay);
  }
}

const unknownAge = { sinceEpochMs: null };

function shown({ connection, sinceEpochMs }: Known, nowEpochMs: number): ConnectionView {
  const view = connectionView(connection, undefined, nowEpochMs);
  return { ...view, ageMs: sinceEpochMs === null ? null : Math.max(0, nowEpochMs - sinceEpochMs) };
}

function kindOf(before: Known | undefined, now: Connection, isInitial: boolean): ChangeKind {
  if (before === undefined) return isInitial ? 'PRESENT' : 'NEW';
  return timeless(before.connection) === timeless(now) ? 'REFRESHED' : 'CHANGED';
}

/** Everything but what a refresh renews. */
function timeless(connection: Connection): string {
  const { path, expiresInMs: _, ...view } = connectionView(connection, undefined, 0);
  return JSON.stringify({ ...view, path: path.map(({ name, id }) => [name, id]) });
}
