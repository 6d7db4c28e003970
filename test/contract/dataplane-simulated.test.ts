// Protects the simulated data plane's likeness to the real ones: it passes the same contract.

import { createSimulatedDataplane } from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { systemClock } from '../../transports/process/system-clock.ts';
import type { DataplaneFixture } from './dataplane.ts';
import { dataplaneContract } from './dataplane.ts';

async function makeFixture(): Promise<DataplaneFixture> {
  const world = new SimulatedWorld();
  let plan: { kind: 'fail' | 'crash'; left: number } | undefined;
  let hasStruck = false;
  let foreign = 0;
  let namespaceCount = 0;
  const strike = (kind: 'fail' | 'crash') => (position: number) => {
    plan = { kind, left: position };
    hasStruck = false;
  };
  return {
    driver: ({ installation = 'ours', forwarder = 'first' } = {}) =>
      createSimulatedDataplane({
        world,
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
    tunnelIp: '127.0.0.1',
    close: async () => {},
  };
}

dataplaneContract('simulated', makeFixture, { wireCount: 1000 });
