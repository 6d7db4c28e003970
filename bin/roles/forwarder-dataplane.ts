// The data plane that a forwarder's configuration asks for, with its sockets.

import { findFamily } from '../../dataplane/kernel/probe.ts';
import { createKernelDataplane } from '../../dataplane/kernel/kernel.ts';
import { createWireEnds } from '../../dataplane/kernel/wire-ends.ts';
import { createOvsDataplane } from '../../dataplane/ovs/ovs.ts';
import type { Clock } from '../../protocols/ports/clock.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { createOpenFlowClient } from '../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../transports/ovsdb/ovsdb-client.ts';
import { bridgeSocketOf } from '../../transports/process/open-vswitch.ts';
import type { ForwarderConfig } from '../config/roles/forwarder.ts';

export interface OpenDataplane {
  readonly dataplane: Dataplane;
  /** After the data plane itself has been closed. */
  close(): Promise<void>;
}

const probeTimeoutMs = 5_000;

export async function openDataplane(
  config: Pick<
    ForwarderConfig,
    'name' | 'installation' | 'dataplane' | 'bridgeName' | 'ovsDatabase'
  >,
  system: { readonly netlink: Netlink; readonly clock: Clock },
): Promise<OpenDataplane> {
  const { name: forwarder, installation, bridgeName: bridge, ovsDatabase } = config;
  const owner = { forwarder, installation, ...system };
  if (config.dataplane === 'kernel') {
    return { dataplane: createKernelDataplane(owner), close: async () => {} };
  }
  const { netlink } = system;
  const module = await findFamily(netlink, 'ovs_datapath', { timeoutMs: probeTimeoutMs });
  const database = createOvsdbClient({ socketPath: ovsDatabase });
  const openFlow = createOpenFlowClient({ socketPath: bridgeSocketOf(ovsDatabase, bridge) });
  const dataplane = createOvsDataplane({
    ...owner,
    bridge,
    datapathType: module === undefined ? 'netdev' : 'system',
    ends: createWireEnds(owner),
    database,
    openFlow,
  });
  return {
    dataplane,
    async close() {
      await openFlow.close();
      await database.close();
    },
  };
}
