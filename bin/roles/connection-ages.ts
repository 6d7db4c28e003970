// Since when each connection of a hop has been established, for people. Kept beside the table and not in it: an age
// that nobody decides upon is not worth a place in the journal, so one from before a restart is unknown.

import type { ConnectionTable } from '../../actors/connection/connection-table.ts';
import type { Clock } from '../../protocols/ports/clock.ts';

export interface AgedTable extends ConnectionTable {
  /** Milliseconds since this process first established it; undefined where an earlier life did. */
  ageMs(id: string): number | undefined;
}

export function withAges(table: ConnectionTable, clock: Clock): AgedTable {
  const sinceMs = new Map<string, number>();
  return {
    ...table,
    get size() {
      return table.size;
    },
    put(intent) {
      const { id } = intent.connection;
      const isNew = table.get(id)?.established !== true;
      if (intent.established && isNew) sinceMs.set(id, clock.nowMs());
      return table.put(intent);
    },
    delete(id) {
      sinceMs.delete(id);
      return table.delete(id);
    },
    ageMs(id) {
      const since = sinceMs.get(id);
      return since === undefined ? undefined : clock.nowMs() - since;
    },
  };
}
