// What the tests over a real Open vSwitch have in common: a running one with a bridge, its clients, and how a port
// is added until the switch has applied it.

import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import type { OvsdbOperation } from '../../protocols/ovs/ovsdb-operations.ts';
import { expectNone, insert, mutate, select } from '../../protocols/ovs/ovsdb-operations.ts';
import type { OvsdbRow } from '../../protocols/ovs/ovsdb-values.ts';
import { mapOf, namedUuid, numberOf, setOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { OpenFlow, Ovsdb, OvsdbEvent } from '../../protocols/ports/ovs.ts';
import type { OvsSandbox } from '../sandbox/ovs.ts';
import { startOvs } from '../sandbox/ovs.ts';

export const budget = { timeoutMs: 10_000 };
export const bridge = 'br-test';

/** The rows of a monitor as they are now, and a way to wait for them. */
export interface RowsSeen {
  readonly events: readonly OvsdbEvent[];
  row(table: string, name: string): OvsdbRow | undefined;
  /** Resolves with the first result that is not undefined, looked for after every event. */
  until<Result>(what: string, look: (seen: RowsSeen) => Result | undefined): Promise<Result>;
}

export interface OvsFixture {
  readonly ovs: OvsSandbox;
  readonly database: Ovsdb;
  readonly flows: OpenFlow;
  readonly seen: RowsSeen;
  /** Commits the operations and waits until the switch has applied them. */
  apply(operations: readonly OvsdbOperation[]): Promise<void>;
  close(): Promise<void>;
}

const monitored = [
  { table: 'Open_vSwitch', columns: ['cur_cfg', 'next_cfg'] },
  { table: 'Interface', columns: ['name', 'ofport', 'error', 'external_ids'] },
  { table: 'Bridge', columns: ['name', 'fail_mode'] },
];

export function watchRows(database: Ovsdb): RowsSeen {
  const rows = new Map<string, { table: string; row: OvsdbRow }>();
  const events: OvsdbEvent[] = [];
  const waiting = new Set<() => void>();
  database.monitor(monitored, (event) => {
    events.push(event);
    if (event.kind === 'reset') rows.clear();
    const changes =
      event.kind === 'lost' ? [] : event.kind === 'reset' ? event.rows : event.changes;
    for (const change of changes) {
      if (change.kind === 'deleted') rows.delete(change.uuid);
      else rows.set(change.uuid, { table: change.table, row: change.row });
    }
    for (const look of waiting) look();
  });
  const seen: RowsSeen = {
    events,
    row: (table, name) =>
      [...rows.values()].find(
        (entry) => entry.table === table && (name === '' || entry.row['name'] === name),
      )?.row,
    until: (what, look) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(attempt);
          reject(new Error(`not within ${budget.timeoutMs} ms: ${what}`));
        }, budget.timeoutMs);
        const attempt = (): void => {
          const found = look(seen);
          if (found === undefined) return;
          clearTimeout(timer);
          waiting.delete(attempt);
          resolve(found);
        };
        waiting.add(attempt);
        attempt();
      }),
  };
  return seen;
}

/** A row of the table with this configuration number or a later one: the switch has applied it. */
export function appliedConfiguration(seen: RowsSeen, wanted: number): true | undefined {
  const current = numberOf(seen.row('Open_vSwitch', '')?.['cur_cfg']);
  return current !== undefined && current >= wanted ? true : undefined;
}

/** A port whose interface is of a kind that needs no device: `patch`, to a peer that need not exist. */
export function addPort(name: string, requestedPort: number, owner: string): OvsdbOperation[] {
  const row = {
    name,
    type: 'patch',
    options: mapOf({ peer: `${name}-peer` }),
    ofport_request: requestedPort,
    external_ids: mapOf({ owner }),
  };
  return [
    expectNone('Interface', [['name', '==', name]], 'name'),
    insert('Interface', row, 'interface'),
    insert('Port', { name, interfaces: namedUuid('interface') }, 'port'),
    mutate('Bridge', [['name', '==', bridge]], [['ports', 'insert', setOf(namedUuid('port'))]]),
  ];
}

const bridgeOperations = (datapathType: string): readonly OvsdbOperation[] => [
  insert('Interface', { name: bridge, type: 'internal' }, 'interface'),
  insert('Port', { name: bridge, interfaces: namedUuid('interface') }, 'port'),
  insert(
    'Bridge',
    { name: bridge, datapath_type: datapathType, fail_mode: 'secure', ports: namedUuid('port') },
    'bridge',
  ),
  mutate('Open_vSwitch', [], [['bridges', 'insert', setOf(namedUuid('bridge'))]]),
];

export async function startBridge(): Promise<OvsFixture> {
  const ovs = await startOvs({ withSwitch: true });
  const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
  const flows = createOpenFlowClient({ socketPath: ovs.bridgeSocket(bridge), host: unixHost });
  const seen = watchRows(database);
  const apply: OvsFixture['apply'] = async (operations) => {
    const results = await database.transact(
      [
        ...operations,
        mutate('Open_vSwitch', [], [['next_cfg', '+=', 1]]),
        select('Open_vSwitch', [], ['next_cfg']),
      ],
      budget,
    );
    const wanted = numberOf(results.at(-1)?.rows[0]?.['next_cfg']) ?? 0;
    await seen.until(`configuration ${wanted}`, (now) => appliedConfiguration(now, wanted));
  };
  const close = async (): Promise<void> => {
    await flows.close();
    await database.close();
    await ovs.close();
  };
  try {
    await database.transact([insert('Open_vSwitch', {})], budget);
    await apply(bridgeOperations(ovs.datapathType));
    await flows.features(budget);
  } catch (error) {
    await close();
    throw error;
  }
  return { ovs, database, flows, seen, apply, close };
}
