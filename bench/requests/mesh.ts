// A whole mesh for the benches: registry, managers, forwarders over the simulated data plane, and an Endpoint, in this
// process over `memory:` or in processes of their own over NATS; and clients, each a real client actor.

import { clientBehavior } from '../../actors/client/client.ts';
import type { ClientMessage } from '../../actors/client/client-setup.ts';
import { emptyTokens } from '../../actors/connection/tokens.ts';
import type { ActorRef } from '../../actors/runtime/api.ts';
import { composeForwarder } from '../../bin/roles/compose-forwarder.ts';
import { composeNse } from '../../bin/roles/compose-nse.ts';
import { composeNsmgr } from '../../bin/roles/compose-nsmgr.ts';
import { composeRegistry } from '../../bin/roles/compose-registry.ts';
import { nextHopsOf } from '../../bin/roles/next-hops.ts';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import {
  createSimulatedDataplane,
  simulatedCapabilities,
} from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import {
  type Connection,
  ConnectionEventType,
  State,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { namespaceInodeUrl } from '../../transports/netlink/namespace-url.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';

export const lifetimeMs = 600_000;
export const service = 'bench';

/** One node of the mesh: where its parts serve, and what tells it from another. */
export interface Site {
  readonly node: string;
  readonly registry: string;
  readonly manager: string;
  readonly forwarder: string;
  readonly endpoint: string;
  readonly tunnelIp: string;
}

export const memorySite: Site = {
  node: 'a',
  registry: 'memory:registry',
  manager: 'memory:manager-a',
  forwarder: 'memory:forwarder-a',
  endpoint: 'memory:endpoint-a',
  tunnelIp: '127.0.0.1',
};

export function natsSite(node: 'a' | 'b'): Site {
  const url = (component: string): string => `nats://bench/${node}/${component}-${node}`;
  return {
    node,
    registry: 'nats://bench/a/registry',
    manager: url('manager'),
    forwarder: url('forwarder'),
    endpoint: url('endpoint'),
    tunnelIp: node === 'a' ? '127.0.0.1' : '127.0.0.2',
  };
}

/** On unix sockets of that folder. */
export function grpcSite(folder: string): Site {
  const url = (component: string): string => `unix://${folder}/${component}.sock`;
  return {
    node: 'a',
    registry: url('registry'),
    manager: url('manager'),
    forwarder: url('forwarder'),
    endpoint: url('endpoint'),
    tunnelIp: '127.0.0.1',
  };
}

export function benchPlatform(name: string, natsUrl: string | undefined): Promise<Platform> {
  return createPlatform({ name, log: silentLog, natsUrl, insecure: true });
}

/** Makes a part of a node serve. */
export type StartPart = (platform: Platform, site: Site, journal?: Journal) => Promise<unknown>;

const registry: StartPart = (platform, site) =>
  composeRegistry(platform, {
    name: 'registry',
    listenOn: [site.registry],
    store: createMemoryRegistryStore(),
  });

const manager: StartPart = (platform, site, journal) =>
  composeNsmgr(platform, {
    name: `manager-${site.node}`,
    listenOn: [site.manager],
    registryUrl: site.registry,
    forwarderServiceName: 'forwarder',
    maxTokenLifetimeMs: lifetimeMs,
    nodeLabels: {},
    excludedPrefixes: () => [],
    ...(journal === undefined ? {} : { journal }),
  });

const forwarder: StartPart = (platform, site, journal) =>
  composeForwarder(platform, {
    name: `forwarder-${site.node}`,
    domain: 'bench',
    node: site.node,
    networkServiceName: 'forwarder',
    labels: { p2p: 'true' },
    connectTo: site.manager,
    listenOn: site.forwarder,
    maxTokenLifetimeMs: lifetimeMs,
    tunnelIp: site.tunnelIp,
    vxlanPort: 0,
    underlayMtu: 1500,
    capabilities: simulatedCapabilities(),
    dataplane: createSimulatedDataplane({
      world: new SimulatedWorld(),
      clock: platform.clock,
      installation: 'bench',
      forwarder: `forwarder-${site.node}`,
    }),
    ...(journal === undefined ? {} : { journal }),
  });

/** A namespace that is there: whose it is does not matter to a simulated data plane, but it is looked for. */
const netns = namespaceInodeUrl('/proc/self/ns/net');

const endpoint: StartPart = (platform, site) =>
  composeNse(platform, {
    name: 'endpoint',
    connectTo: site.manager,
    listenOn: site.endpoint,
    serviceNames: [service],
    payload: 'IP',
    labels: {},
    cidrPrefixes: [[requirePrefix('10.0.0.0/8', 'bench')]],
    registerService: true,
    maxTokenLifetimeMs: lifetimeMs,
    netns,
  });

export const parts = { registry, manager, forwarder, endpoint } as const;

export type PartName = keyof typeof parts;

export interface BenchClients {
  /** Connects one more client; resolves with the milliseconds that it took. */
  connect(): Promise<number>;
  /** Closes the one that connected last. */
  closeLast(): Promise<void>;
  /** Has one of them refresh, as its next hop may ask it to; resolves once it has. */
  refresh(index: number): Promise<void>;
  readonly connected: number;
}

interface BenchClient {
  readonly ref: ActorRef<ClientMessage>;
  connection: Connection | undefined;
  onEstablished: () => void;
  onFailed: (error: unknown) => void;
}

/** Names stay unique in a process, however often clients are made. */
let started = 0;

export function benchClients(platform: Platform, site: Site): BenchClients {
  const { clock, dialer, wallClock, system } = platform;
  const name = 'client';
  const judge = platform.authorization?.answerJudge(name);
  const { nextHop, nextHopMonitors } = nextHopsOf(platform, name, judge);
  const tokens = platform.tokens ?? emptyTokens(wallClock, lifetimeMs);
  const clients: BenchClient[] = [];

  const start = (): BenchClient => {
    started += 1;
    const connectionId = `client-${started}`;
    const interfaceName = `c${started}`;
    const ref: ActorRef<ClientMessage> = system.spawn(
      clientBehavior({
        name,
        wallClock,
        tokens,
        dialer,
        nextHop,
        monitors: nextHopMonitors,
        connectionId,
        networkService: service,
        labels: {},
        preferences: [kernelMechanism({ netnsUrl: netns, interfaceName })],
        connectTo: site.manager,
        requestTimeoutMs: 15_000,
        retry: { firstMs: 1_000, mostMs: 5_000 },
        onStatus: (status) => {
          if (status.phase === 'established') {
            client.connection = status.connection;
            client.onEstablished();
          } else if ('lastError' in status && status.lastError) client.onFailed(status.lastError);
        },
      }),
      connectionId,
    );
    const client: BenchClient = {
      ref,
      connection: undefined,
      onEstablished: () => {},
      onFailed: () => {},
    };
    return client;
  };

  const settled = (client: BenchClient): Promise<void> =>
    new Promise((resolve, reject) => {
      client.onEstablished = resolve;
      client.onFailed = reject;
    });

  return {
    get connected() {
      return clients.length;
    },
    async connect() {
      const sinceMs = clock.nowMs();
      const client = start();
      clients.push(client);
      await settled(client);
      return clock.nowMs() - sinceMs;
    },
    async closeLast() {
      const ref = clients.pop()?.ref;
      if (ref === undefined) return;
      await system.ask<ClientMessage, void>(ref, (replyTo) => ({ type: 'close', replyTo }), {
        timeoutMs: 30_000,
      });
    },
    async refresh(index) {
      const client = clients[index];
      if (client?.connection === undefined) throw new Error(`client ${index} is not connected`);
      const done = settled(client);
      client.ref.tell({
        type: 'nextHopChanged',
        event: ConnectionEventType.UPDATE,
        entry: { ...client.connection, state: State.REFRESH_REQUESTED },
      });
      await done;
    },
  };
}
