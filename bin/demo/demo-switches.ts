// The Open vSwitch of each node of the demo: own processes in a folder of the demo's, in the namespace of the node, and,
// for a datapath in user space, a bridge that holds the underlay, since such a switch finds the way to a tunnel's other
// end only through its own bridges.

import { join } from 'node:path';
import { findFamily } from '../../dataplane/kernel/probe.ts';
import { insert, mutate } from '../../protocols/ovs/ovsdb-operations.ts';
import { namedUuid, setOf } from '../../protocols/ovs/ovsdb-values.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import {
  createOpenVSwitch,
  type OpenVSwitch,
  type OvsPrograms,
} from '../../transports/process/open-vswitch.ts';
import { StartedProcesses } from '../../transports/process/process-identity.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import { unixHost } from '../../transports/unix-stream/unix-stream.ts';
import type { Environment, MeshNode } from './mesh.ts';
import { linkIn, moveAddresses, underlayName } from './namespace-links.ts';
import type { Topology } from './topology.ts';

export interface DemoSwitches {
  readonly started: StartedProcesses;
  /** By the node's name. */
  readonly byNode: ReadonlyMap<string, OpenVSwitch>;
  /** What the forwarder of a node is told. */
  envOf(node: MeshNode): Environment;
  stop(): Promise<void>;
}

export interface SwitchPlace {
  readonly topology: Pick<Topology, 'nodes'>;
  readonly stateDir: string;
  readonly netlink: Netlink;
}

const none: DemoSwitches = {
  started: new StartedProcesses(),
  byNode: new Map(),
  envOf: () => ({}),
  stop: async () => {},
};
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
      await initialiseDatabase(each?.databaseSocket ?? '');
      await each?.start('switch');
      if (isInKernel) continue;
      const { namespace, tunnelIp } = node;
      const held = { namespace, addresses: [`${tunnelIp}/24`] };
      await holdUnderlay(netlink, held, each?.databaseSocket ?? '');
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const started = new StartedProcesses();
  for (const { pids } of switches.values()) for (const pid of pids.values()) started.add(pid);
  return {
    byNode: switches,
    started,
    envOf: ({ name }) => ({
      VWIRE_DATAPLANE: 'ovs',
      VWIRE_OVS_DATABASE: switches.get(name)?.databaseSocket ?? '',
    }),
    stop,
  };
}

/** What ovs-vsctl's init does. */
export async function initialiseDatabase(socketPath: string): Promise<void> {
  const database = createOvsdbClient({ socketPath, host: unixHost });
  try {
    await database.transact([insert('Open_vSwitch', {})], budget);
  } finally {
    await database.close();
  }
}

/** Puts the underlay's link on a bridge of its own, whose internal port takes over the addresses. */
export async function holdUnderlay(
  netlink: Netlink,
  held: { readonly namespace: NetworkNamespace; readonly addresses: readonly string[] },
  socketPath: string,
): Promise<void> {
  const { namespace, addresses } = held;
  const database = createOvsdbClient({ socketPath, host: unixHost });
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
  await moveAddresses(netlink, namespace.url, {
    addresses,
    from: underlayName,
    to: underlayBridge,
  });
}
