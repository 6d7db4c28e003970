// A whole mesh for the benches: registry, manager, forwarder over the simulated data plane, and an Endpoint, in this
// process over `memory:` or in processes of their own over NATS; and clients, each a real client actor.

import { type ClientMessage, clientBehavior } from '../../actors/client/client.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import type { ActorRef } from '../../actors/runtime/api.ts';
import { composeForwarder } from '../../bin/roles/compose-forwarder.ts';
import { composeNse } from '../../bin/roles/compose-nse.ts';
import { composeNsmgr } from '../../bin/roles/compose-nsmgr.ts';
import { composeRegistry } from '../../bin/roles/compose-registry.ts';
import { nextHopsOf } from '../../bin/roles/next-hops.ts';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import type { RunningRole } from '../../bin/roles/running-role.ts';
import { createSimulatedDataplane } from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';

export const lifetimeMs = 600_000;
export const service = 'bench';

/** Where each part serves: `memory:` for one process, `nats://` for several. */
export interface Places {
  readonly registry: string;
  readonly manager: string;
  readonly forwarder: string;
  readonly endpoint: string;
}

export const memoryPlaces: Places = {
  registry: 'memory:registry',
  manager: 'memory:manager',
  forwarder: 'memory:forwarder',
  endpoint: 'memory:endpoint',
};

export const natsPlaces: Places = {
  registry: 'nats://bench/node/registry',
  manager: 'nats://bench/node/manager',
  forwarder: 'nats://bench/node/forwarder',
  endpoint: 'nats://bench/node/endpoint',
};

export function benchPlatform(name: string, natsUrl: string | undefined): Promise<Platform> {
  return createPlatform({ name, log: silentLog, natsUrl, insecure: true });
}

export const parts = {
  registry: (platform: Platform, places: Places): Promise<RunningRole> =>
    composeRegistry(platform, {
      name: 'bench',
      listenOn: [places.registry],
      store: createMemoryRegistryStore(),
    }),
  manager: (platform: Platform, places: Places): Promise<RunningRole> =>
    composeNsmgr(platform, {
      name: 'manager',
      listenOn: [places.manager],
      registryUrl: places.registry,
      forwarderServiceName: 'forwarder',
      maxTokenLifetimeMs: lifetimeMs,
      nodeLabels: {},
      excludedPrefixes: () => [],
    }),
  forwarder: (platform: Platform, places: Places): Promise<RunningRole> =>
    composeForwarder(platform, {
      name: 'forwarder',
      domain: 'bench',
      node: 'node',
      networkServiceName: 'forwarder',
      labels: { p2p: 'true' },
      connectTo: places.manager,
      listenOn: places.forwarder,
      maxTokenLifetimeMs: lifetimeMs,
      tunnelIp: '127.0.0.1',
      vxlanPort: 0,
      underlayMtu: 1500,
      dataplane: createSimulatedDataplane({
        world: new SimulatedWorld(),
        clock: platform.clock,
        installation: 'bench',
        forwarder: 'forwarder',
      }),
    }),
  endpoint: (platform: Platform, places: Places): Promise<RunningRole> =>
    composeNse(platform, {
      name: 'endpoint',
      connectTo: places.manager,
      listenOn: places.endpoint,
      serviceNames: [service],
      payload: 'IP',
      labels: {},
      cidrPrefixes: [[requirePrefix('10.0.0.0/8', 'bench')]],
      registerService: true,
      maxTokenLifetimeMs: lifetimeMs,
      netns: 'inode://4/1',
    }),
} as const;

export type PartName = keyof typeof parts;

export interface BenchClients {
  /** Connects one more client; resolves with the milliseconds that it took. */
  connect(): Promise<number>;
  /** Closes those that are connected, at most `inFlight` at a time. */
  closeAll(inFlight: number): Promise<void>;
  readonly connected: number;
}

/** Names stay unique in a process, however often clients are made. */
let started = 0;

export function benchClients(platform: Platform, places: Places): BenchClients {
  const { clock, dialer, wallClock, system } = platform;
  const name = 'client';
  const { nextHop, nextHopMonitors: monitors } = nextHopsOf(platform, name);
  const tokens = emptyTokens(wallClock, lifetimeMs);
  let clients: ActorRef<ClientMessage>[] = [];
  const close = (client: ActorRef<ClientMessage>): Promise<void> =>
    system.ask<ClientMessage, void>(client, (replyTo) => ({ type: 'close', replyTo }), {
      timeoutMs: 30_000,
    });
  return {
    get connected() {
      return clients.length;
    },
    connect() {
      started += 1;
      const connectionId = `client-${started}`;
      const sinceMs = clock.nowMs();
      return new Promise((resolve, reject) => {
        const client: ActorRef<ClientMessage> = system.spawn(
          clientBehavior({
            name,
            wallClock,
            tokens,
            dialer,
            nextHop,
            monitors,
            connectionId,
            networkService: service,
            labels: {},
            preferences: [
              kernelMechanism({ netnsUrl: 'inode://4/2', interfaceName: `c${started}` }),
            ],
            connectTo: places.manager,
            requestTimeoutMs: 15_000,
            retry: { firstMs: 1_000, mostMs: 5_000 },
            onStatus: (status) => {
              if (status.phase === 'established') resolve(clock.nowMs() - sinceMs);
              else if ('lastError' in status && status.lastError) reject(status.lastError);
            },
          }),
          connectionId,
        );
        clients.push(client);
      });
    },
    async closeAll(inFlight) {
      const queue = clients;
      clients = [];
      const workers = Array.from({ length: inFlight }, async () => {
        for (let next = queue.pop(); next !== undefined; next = queue.pop()) await close(next);
      });
      await Promise.all(workers);
      monitors.close();
    },
  };
}
