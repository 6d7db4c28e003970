// What two ports cost the switch itself: one transaction with nothing in it but them, until ovs-vswitchd says that it is
// done. No way of making the ports of a wire one at a time is faster, whoever asks for them.

import { insert, mutate, select } from '../../protocols/ovs/ovsdb-operations.ts';
import { namedUuid, numberOf, setOf } from '../../protocols/ovs/ovsdb-values.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';

const budget = { timeoutMs: 20_000 };

export interface BarePorts {
  /** Of links that are there. One call at a time. */
  add(names: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export function openBarePorts(socketPath: string, bridge: string): BarePorts {
  const database = createOvsdbClient({ socketPath, host: unixHost });
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
    async add(names) {
      const ports = names.flatMap((name) => [
        insert('Interface', { name }, `interface_${name}`),
        insert('Port', { name, interfaces: namedUuid(`interface_${name}`) }, `port_${name}`),
        mutate(
          'Bridge',
          [['name', '==', bridge]],
          [['ports', 'insert', setOf(namedUuid(`port_${name}`))]],
        ),
      ]);
      const next = mutate('Open_vSwitch', [], [['next_cfg', '+=', 1]]);
      const results = await database.transact(
        [...ports, next, select('Open_vSwitch', [], ['next_cfg'])],
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
