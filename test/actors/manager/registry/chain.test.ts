// Protects the whole way of a registration over a real binding: Endpoint, manager, registry, and back down to a
// forwarder's discovery; through a registry that is stopped and comes back empty.

import { afterEach, describe, expect, it } from 'vitest';
import { createDiscovery } from '../../../../actors/discovery/discovery.ts';
import { spawnEndpointRegistration } from '../../../../actors/endpoint/endpoint-registration.ts';
import { createManagerRegistry } from '../../../../actors/manager/registry/manager-registry.ts';
import { registryClients } from '../../../../actors/registry/registry-clients.ts';
import { createActorSystem } from '../../../../actors/runtime/actor-system.ts';
import { silentLog } from '../../../../protocols/ports/log.ts';
import { createMemoryNetwork } from '../../../../transports/memory/memory-network.ts';
import { systemClock, systemWallClock } from '../../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../../transports/process/system-random.ts';
import { byTurn, endpoint, second, service, startRegistry } from '../../registry/fixture.ts';

const clock = systemClock;
const common = { clock, wallClock: systemWallClock, random: systemRandom, log: silentLog };
const cleanUps: (() => Promise<unknown> | void)[] = [];

afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).toReversed()) await cleanUp();
});

describe('a registration over a binding', () => {
  it('reaches the forwarder of its node, and comes through the loss of the registry', async () => {
    const network = createMemoryNetwork({ clock });
    const serveRegistry = async () => {
      const registry = startRegistry({ realTime: true });
      const listening = await network.listener.listen('memory:registry', registry.services);
      return async () => {
        await listening.close(0);
        await registry.stop();
      };
    };
    let stopRegistry = await serveRegistry();
    cleanUps.push(() => stopRegistry());
    const upstream = registryClients(network.dialer.dial('memory:registry'));
    const cache = createDiscovery({ ...common, clients: upstream, backoffMsMax: 200 });
    const manager = createManagerRegistry({
      ...common,
      upstream,
      discovery: cache,
      publicUrl: 'tcp://10.0.0.1:5001',
    });
    const listening = await network.listener.listen('memory:manager', manager.services);
    cleanUps.push(async () => {
      manager.close();
      cache.close();
      await listening.close(0);
    });
    const clients = registryClients(network.dialer.dial('memory:manager'));
    const discovery = createDiscovery({ ...common, clients, backoffMsMax: 200 });
    cleanUps.push(() => discovery.close());
    const system = createActorSystem({ name: 'chain', ...common });
    cleanUps.push(() => system.stop(5_000));
    const registration = spawnEndpointRegistration(
      system,
      {
        registry: clients,
        endpoint: endpoint('e1', 'svc', { url: 'unix:///run/e1.sock' }),
        services: [service('svc')],
        wallClock: systemWallClock,
      },
      'e1',
    );
    await registration.registered(second);
    const call = () => ({
      deadlineMs: clock.nowMs() + 5_000,
      signal: new AbortController().signal,
    });
    const found = async () => {
      const view = await discovery.discover('svc', call());
      return discovery.choose(view, { ...byTurn, labels: {} }).candidates.map(({ url }) => url);
    };
    expect(await found()).toEqual(['unix:///run/e1.sock']);

    await stopRegistry();
    expect(await found()).toEqual(['unix:///run/e1.sock']);
    stopRegistry = await serveRegistry();
    const inRegistry = async () => {
      const direct = createDiscovery({ ...common, clients: upstream });
      try {
        return (await direct.findEndpointByName('e1', call()))?.url;
      } finally {
        direct.close();
      }
    };
    await expect.poll(inRegistry, { timeout: 10_000 }).toBe('tcp://10.0.0.1:5001');
    await expect.poll(found, { timeout: 10_000 }).toEqual(['unix:///run/e1.sock']);

    await registration.stop(1_000);
    await expect.poll(inRegistry).toBeUndefined();
    await expect.poll(found).toEqual([]);
  });
});
