// A node for the tests of the Open vSwitch data plane that need packets: its switch, a driver, and, where the datapath is
// in user space and needs it, the underlay on a bridge of its own.

import { createWireEnds } from '../../../dataplane/kernel/wire-ends.ts';
import type { EgressNetworks } from '../../../dataplane/ovs/egress.ts';
import { createOvsDataplane } from '../../../dataplane/ovs/ovs.ts';
import { initialiseDatabase, holdUnderlay } from '../../../bin/demo/demo-switches.ts';
import type { Dataplane } from '../../../protocols/ports/dataplane.ts';
import type { Netlink } from '../../../protocols/ports/netlink.ts';
import type { OpenFlow } from '../../../protocols/ports/ovs.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import { createOpenFlowClient } from '../../../transports/openflow/openflow-client.ts';
import { createOvsdbClient } from '../../../transports/ovsdb/ovsdb-client.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { type OvsSandbox, startOvs } from '../../sandbox/ovs.ts';

export const owner = { installation: 'end-to-end', forwarder: 'node' };
export const bridge = 'br-nsm';

export interface OvsNode {
  readonly namespace: NetworkNamespace;
  readonly netlink: Netlink;
  readonly ovs: OvsSandbox;
  readonly dataplane: Dataplane;
  /** Another driver, as after a restart of the forwarder. */
  readonly driver: () => Dataplane;
  /** Bundles of flows that its drivers have sent. */
  readonly bundleCount: () => number;
  /** Puts the link named `underlay` on a bridge, which takes over its addresses; the kernel's datapath needs none. */
  holdUnderlay(addresses: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

export async function ovsNode(
  sandbox: Sandbox,
  networks: EgressNetworks = new Map(),
): Promise<OvsNode> {
  const ovs = await startOvs({ withSwitch: true, sandbox, node: sandbox.namespace() });
  await initialiseDatabase(ovs.databaseSocket);
  const namespace = ovs.node;
  const netlink = createNetlink({ namespace: namespace.url });
  const closes: (() => Promise<void>)[] = [];
  let bundles = 0;
  const openFlowClient = (): OpenFlow => {
    const client = createOpenFlowClient({ socketPath: ovs.bridgeSocket(bridge), host: unixHost });
    const commit = client.commit.bind(client);
    return Object.assign(client, {
      commit: (...call: Parameters<OpenFlow['commit']>) => {
        bundles += 1;
        return commit(...call);
      },
    });
  };
  const driver = (): Dataplane => {
    const database = createOvsdbClient({ socketPath: ovs.databaseSocket, host: unixHost });
    const openFlow = openFlowClient();
    const made = createOvsDataplane({
      ...owner,
      clock: systemClock,
      bridge,
      networks,
      datapathType: ovs.datapathType,
      ends: createWireEnds({ netlink, clock: systemClock, ...owner }),
      database,
      openFlow,
    });
    closes.push(async () => {
      await made.close();
      await openFlow.close();
      await database.close();
    });
    return made;
  };
  return {
    namespace,
    netlink,
    ovs,
    driver,
    bundleCount: () => bundles,
    dataplane: driver(),
    async holdUnderlay(addresses) {
      if (ovs.datapathType === 'system') return;
      await holdUnderlay(netlink, { namespace, addresses }, ovs.databaseSocket);
    },
    async close() {
      for (const close of closes) await close();
      await netlink.close();
      await ovs.close();
    },
  };
}
