// Protects wires over Open vSwitch, with real switches and nothing mocked: what ./switched-wires.ts says, and that a
// database that is killed costs no packet either.

import { expect } from 'vitest';

import { select } from '../../protocols/ovs/ovsdb-operations.ts';
import { entriesOf, textOf } from '../../protocols/ovs/ovsdb-values.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import type { OpenVSwitch } from '../../transports/process/open-vswitch.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import { describeMesh, type TestMesh } from '../sandbox/mesh.ts';
import { switchedWires, type Victim } from './switched-wires.ts';

const budget = { timeoutMs: 10_000 };

function switchOf({ switches, nodes }: TestMesh, node: 0 | 1): OpenVSwitch {
  const found = switches.byNode.get(nodes[node].name);
  if (found === undefined) expect.fail('the node has no switch');
  return found;
}

/** Names of ports and tunnels that wires have on a node. */
async function portsOf(mesh: TestMesh, node: 0 | 1): Promise<string[]> {
  const database = createOvsdbClient({
    socketPath: switchOf(mesh, node).databaseSocket,
    host: unixHost,
  });
  try {
    const [answer] = await database.transact([select('Interface', [])], budget);
    return (answer?.rows ?? [])
      .filter((row) => row['type'] !== 'internal')
      .filter((row) => entriesOf(row['external_ids']).has('vwire-installation'))
      .map((row) => textOf(row['name']) ?? '');
  } finally {
    await database.close();
  }
}

const database: Victim = [
  'the database',
  async (mesh) => {
    await switchOf(mesh, 0).signal('database', 'SIGKILL');
    await switchOf(mesh, 0).start('database');
  },
];

async function restart(mesh: TestMesh): Promise<void> {
  await switchOf(mesh, 0).signal('switch', 'SIGKILL');
  await switchOf(mesh, 0).start('switch');
}

describeMesh(
  'wires over Open vSwitch',
  (mesh) => switchedWires(mesh, { victims: [database], restart, portsOf }),
  { withOpenVSwitch: true },
);
