// A node for the tests of the VPP data plane that need packets: its VPP, and drivers.

import { dirname, join } from 'node:path';
import { createWireEnds } from '../../../dataplane/kernel/wire-ends.ts';
import { createVppDataplane, type VppDataplaneOptions } from '../../../dataplane/vpp/vpp.ts';
import type { Dataplane } from '../../../protocols/ports/dataplane.ts';
import type { TunnelKeys } from '../../../protocols/ports/tunnel-keys.ts';
import { filePathOf } from '../../../transports/netlink/namespace-url.ts';
import { createMemoryJournal } from '../../../transports/journal/memory-journal.ts';
import { createNetlink } from '../../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../../transports/netlink/network-namespace.ts';
import type { PrivateVpp } from '../../../transports/process/private-vpp.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import { createVppClient } from '../../../transports/vpp-api-client/vpp-api-client.ts';
import { createVppStatistics } from '../../../transports/vpp-api-client/vpp-statistics.ts';
import { createKeyFiles } from '../../../transports/tunnel-keys/key-files.ts';
import { openTunnelKeys } from '../../../transports/tunnel-keys/tunnel-keys.ts';
import { unixHost } from '../../../transports/unix-stream/unix-stream.ts';
import type { Sandbox } from '../../sandbox/namespaces.ts';
import { startVppNode } from '../../sandbox/vpp.ts';

const owner = { installation: 'end-to-end', forwarder: 'node' };

export interface VppNode {
  readonly namespace: NetworkNamespace;
  readonly vpp: PrivateVpp;
  readonly dataplane: Dataplane;
  /** Those of which the drivers have the secrets. */
  readonly keys: TunnelKeys;
  /** Another driver, as after a restart of the forwarder. */
  readonly driver: () => Dataplane;
  close(): Promise<void>;
}

export async function vppNode(
  sandbox: Sandbox,
  options: Pick<VppDataplaneOptions, 'accessRules' | 'networks'> = {},
): Promise<VppNode> {
  const started = await startVppNode({ sandbox });
  const { vpp, node: namespace } = started;
  const keys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: true });
  const netlink = createNetlink({ namespace: namespace.url });
  const closes: (() => Promise<void>)[] = [];
  const driver = (): Dataplane => {
    const client = createVppClient({ socketPath: vpp.apiSocket, host: unixHost });
    const statistics = createVppStatistics({
      socketPath: vpp.statisticsSocket,
      clock: systemClock,
    });
    const made = createVppDataplane({
      ...owner,
      ...options,
      clock: systemClock,
      ends: createWireEnds({ netlink, clock: systemClock, ...owner }),
      vpp: client,
      statistics,
      netlink,
      hasTrunks: true,
      hasUplink: true,
      pathOf: filePathOf,
      secrets: keys,
      keyFiles: createKeyFiles(join(dirname(vpp.apiSocket), 'keys')),
    });
    closes.push(async () => {
      await made.close();
      await client.close();
      statistics.close();
    });
    return made;
  };
  return {
    namespace,
    vpp,
    keys,
    driver,
    dataplane: driver(),
    async close() {
      for (const each of closes) await each();
      await netlink.close();
      await started.close();
    },
  };
}
