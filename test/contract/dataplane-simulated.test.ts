// Protects the simulated data plane's likeness to the real ones: it passes the same contract.

import { createSimulatedDataplane } from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import { openTunnelKeys } from '../../transports/tunnel-keys/tunnel-keys.ts';
import { dataplaneContract } from './dataplane.ts';
import { dataplaneDamageContract } from './dataplane-damage.ts';
import { dataplaneRemoteContract } from './dataplane-remote.ts';
import { dataplaneTakeOverContract } from './dataplane-take-over.ts';
import type { DataplaneFixture } from './dataplane-fixture.ts';

async function makeFixture(): Promise<DataplaneFixture> {
  const tunnelKeys = await openTunnelKeys({ journal: createMemoryJournal(), ipsec: false });
  const world = new SimulatedWorld();
  let plan: { kind: 'fail' | 'crash'; left: number } | undefined;
  let hasStruck = false;
  const owner = 'ours first';
  let foreign = 0;
  let namespaceCount = 0;
  const strike = (kind: 'fail' | 'crash') => (position: number) => {
    plan = { kind, left: position };
    hasStruck = false;
  };
  return {
    driver: ({ installation = 'ours', forwarder = 'first', tagVersion = 1 } = {}) =>
      createSimulatedDataplane({
        world,
        tagVersion,
        mechanisms: ['KERNEL', 'VXLAN', 'WIREGUARD'],
        clock: systemClock,
        installation,
        forwarder,
        fault: () => {
          if (plan === undefined || hasStruck || plan.left-- > 0) return undefined;
          hasStruck = true;
          return plan.kind;
        },
      }),
    namespace() {
      namespaceCount++;
      const url = `file:///simulated/${namespaceCount}`;
      return { url, close: () => world.removeNamespace(url) };
    },
    interfaceIn: async ({ url }, name) => world.interfaceIn(url, name),
    setInterfaceUp: async ({ url }, name, isUp) => world.setInterfaceUp(url, name, isUp),
    objectCount: async () => world.objectCount(),
    async addForeign({ url }) {
      world.addForeignInterface(url, 'foreign');
      foreign++;
    },
    foreignCount: async () => foreign,
    failAt: strike('fail'),
    crashAt: strike('crash'),
    hasStruck: () => hasStruck,
    heal() {
      plan = undefined;
    },
    async harm(harm, { id }, side) {
      if (harm === 'deleted') world.deleteEnd(owner, id, side);
      else if (harm === 'unjoined') world.unjoin(owner, id);
      else world.harmEnd(owner, id, side, harm);
    },
    deleteInterface: async ({ url }, name) => world.deleteInterface(url, name),
    tunnelIp: '127.0.0.1',
    tunnelKeys,
    close: async () => {},
  };
}

dataplaneContract('simulated', makeFixture, { wireCount: 1000 });
dataplaneDamageContract('simulated', makeFixture);
dataplaneTakeOverContract('simulated', makeFixture);
dataplaneRemoteContract('simulated', makeFixture, 'vxlan');
dataplaneRemoteContract('simulated', makeFixture, 'wireguard');
