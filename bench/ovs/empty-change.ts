// What a change costs the switch that changes nothing: from the new number of the configuration until ovs-vswitchd has
// looked through all that it has and says that it is done. No way of changing anything is faster.

import { mutate, select } from '../../protocols/ovs/ovsdb-operations.ts';
import { numberOf } from '../../protocols/ovs/ovsdb-values.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';

const budget = { timeoutMs: 20_000 };

export interface EmptyChange {
  /** One at a time. */
  run(): Promise<void>;
  close(): Promise<void>;
}

export function watchConfiguration(socketPath: string): EmptyChange {
  const database = createOvsdbClient({ socketPath });
  let applied = 0;
  let look: () => void = () => {};
  database.monitor([{ table: 'Open_vSwitch', columns: ['cur_cfg'] }], (event) => {
    for (const change of event.kind === 'changed' ? event.changes : []) {
      if (change.kind !== 'deleted') applied = numberOf(change.row['cur_cfg']) ?? 0;
    }
    look();
  });
  return {
    close: () => database.close(),
    async run() {
      const results = await database.transact(
        [
          mutate('Open_vSwitch', [], [['next_cfg', '+=', 1]]),
          select('Open_vSwitch', [], ['next_cfg']),
        ],
        budget,
      );
      const wanted = numberOf(results.at(-1)?.rows[0]?.['next_cfg']) ?? 0;
      await new Promise<void>((resolve) => {
        look = () => {
          if (applied >= wanted) resolve();
        };
        look();
      });
    },
  };
}
