// How many connections of this process lead to each next hop by name, for the least-loaded choice. Counted as the table
// changes, so that it is exact for this process at once, and knows nothing of what others lead there.

import type { ConnectionTable, Intent } from '../../actors/connection/connection-table.ts';

export interface CountedTable extends ConnectionTable {
  loadOf(nextName: string): number;
}

export function withLoads(table: ConnectionTable): CountedTable {
  const loads = new Map<string, number>();
  const add = (intent: Intent | undefined, step: 1 | -1): void => {
    const name = intent?.memory.nextName;
    if (name === undefined) return;
    const load = (loads.get(name) ?? 0) + step;
    if (load > 0) loads.set(name, load);
    else loads.delete(name);
  };
  return {
    ...table,
    get size() {
      return table.size;
    },
    put(intent) {
      add(table.get(intent.connection.id), -1);
      add(intent, 1);
      return table.put(intent);
    },
    async delete(id) {
      const before = table.get(id);
      await table.delete(id);
      add(before, -1);
    },
    async load() {
      const intents = await table.load();
      loads.clear();
      for (const intent of table.all()) add(intent, 1);
      return intents;
    },
    loadOf: (name) => loads.get(name) ?? 0,
  };
}
