// The Open vSwitch of each node of the demo: own processes in a folder of the demo's, in the namespace of the node, and,
// for a datapath in user space, a bridge that holds the underlay, since such a switch finds the way to a tunnel's other
// end only through its own bridges.

import { join } from 'node:path';
import { findFamily } from '../../dataplane/kernel/probe.ts';
import { insert, mutate } from '../../protocols/ovs/ovsdb-operations.ts';
import { namedUuid, setOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { createOpenVSwitch, type OvsPrograms } from '../../transports/process/open-vswitch.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import type { Environment, MeshNode } from './mesh.ts';
import { linkIn, moveAddress, underlayName } from './namespace-links.ts';
import type { Topology } from './topology.ts';

export interface DemoSwitches {
  readonly pids: readonly number[];
  /** What the forwarder of a node is told. */
  envOf(node: MeshNode): Environment;
  stop(): Promise<void>;
}

export interface SwitchPlace {
  readonly topology: Pick<Topology, 'nodes'>;
  readonly stateDir: string;
  readonly netlink: Netlink;
}

const none: DemoSwitches = { pids: [], envOf: () => ({}), stop: async () => {} };
const budget = { timeoutMs: 10_000 };
const underlayBridge = 'br-underlay';

/** None where no programs are given. */
export async function startSwitches(
  programs: OvsPrograms | undefined,
  place: SwitchPlace,
): Promise<DemoSwitches> {
  if (programs === undefined) return none;
  const { topology, stateDir, netlink } = place;
  const switches = new Map(
    topology.nodes.map(({ name, namespace }) => [
      name,
      createOpenVSwitch({
        programs,
        folder: join(stateDir, name, 'ovs'),
        spawn: (command, args, how) => spawnInNamespace(namespace.url, [command, ...args], how),
      }),
    ]),
  );
  const stop = async (): Promise<void> => {
    for (const each of switches.values()) await each.stop();
  };
  try {
    const isInKernel = (await findFamily(netlink, 'ovs_datapath', budget)) !== undefined;
    for (const node of topology.nodes) {
      const each = switches.get(node.name);
      await each?.start('database');
      await initialise(each?.databaseSocket ?? '');
      await each?.start('switch');
      if (!isInKernel) await holdUnderlay(netlink, node, each?.databaseSocket ?? '');
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    pids: [...switches.values()].flatMap(({ pids }) => [...pids.values()]),
    envOf: ({ name }) => ({
      VWIRE_DATAPLANE: 'ovs',
      VWIRE_OVS_DATABASE: switches.get(name)?.databaseSocket ?? '',
    }),
    stop,
  };
}

/** What ovs-vsctl's init does. */
async function initialise(socketPath: string): Promise<void> {
  const database = createOvsdbClient({ socketPath });
  try {
    await database.transact([insert('Open_vSwitch', {})], budget);
  } finally {
    await database.close();
  }
}

/** Puts the underlay's link on a bridge of its own, whose internal port takes over the address. */
async function holdUnderlay(netlink: Netlink, node: MeshNode, socketPath: string): Promise<void> {
  const { namespace, tunnelIp } = node;
  const database = createOvsdbClient({ socketPath });
  try {
    await database.transact(
      [
        insert('Interface', { name: underlayBridge, type: 'internal' }, 'internal'),
        insert('Port', { name: underlayBridge, interfaces: namedUuid('internal') }, 'own'),
        insert('Interface', { name: underlayName }, 'link'),
        insert('Port', { name: underlayName, interfaces: namedUuid('link') }, 'port'),
        insert(
          'Bridge',
          {
            name: underlayBridge,
            datapath_type: 'netdev',
            ports: setOf(namedUuid('own'), namedUuid('port')),
          },
          'bridge',
        ),
        mutate('Open_vSwitch', [], [['bridges', 'insert', setOf(namedUuid('bridge'))]]),
      ],
      budget,
    );
  } finally {
    await database.close();
  }
  await linkIn(netlink, namespace.url, underlayBridge, budget);
  await moveAddress(netlink, namespace.url, {
    address: `${tunnelIp}/24`,
    from: underlayName,
    to: underlayBridge,
  });
}
