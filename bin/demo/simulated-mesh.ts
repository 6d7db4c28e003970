// The mesh of the demo without a machine to build it on: the same roles in one process over the memory network, and a
// simulated kernel for each node. The managers listen on unix sockets as well, so that the commands find them.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ClientStatus } from '../../actors/client/client-setup.ts';
import {
  createSimulatedDataplane,
  simulatedCapabilities,
} from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { NsmError } from '../../protocols/errors.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';
import { composeForwarder } from '../roles/compose-forwarder.ts';
import { composeNsc } from '../roles/compose-nsc.ts';
import { composeNse } from '../roles/compose-nse.ts';
import { composeNsmgr } from '../roles/compose-nsmgr.ts';
import { composeRegistry } from '../roles/compose-registry.ts';
import { createPlatform, type Platform } from '../roles/platform.ts';
import type { RunningRole } from '../roles/running-role.ts';

export interface SimulatedNode {
  readonly name: string;
  readonly tunnelIp: string;
  readonly world: SimulatedWorld;
}

export interface SimulatedPair {
  readonly service: string;
  readonly payload: 'IP' | 'ETHERNET';
  readonly cidrPrefix: string;
  readonly client: { readonly name: string; readonly node: SimulatedNode };
  readonly endpoint: { readonly name: string; readonly node: SimulatedNode };
}

export interface Connected {
  readonly connection: Connection;
  readonly afterMs: number;
}

export interface SimulatedMesh {
  connected(pair: SimulatedPair, timeoutMs: number): Promise<Connected>;
  /** Ends one part as a crash of its process would be seen. */
  stopPart(name: string): Promise<void>;
  readonly stopped: ReadonlySet<string>;
  stop(): Promise<void>;
}

const domain = 'demo';
export const simulatedInstallation = 'demo';
const registryUrl = 'memory:registry';
const maxTokenLifetimeMs = 600_000;
const stopMs = 5_000;
const managerUrl = (node: SimulatedNode): string => `memory:${node.name}/nsmgr`;
export const forwarderNameOf = (node: SimulatedNode): string => `forwarder-${node.name}`;
/** Namespaces of the simulated worlds are mere names. */
export const namespaceOf = (workload: string): string => `file:///simulated/${workload}`;

export function simulatedStage(): {
  readonly nodes: readonly [SimulatedNode, SimulatedNode];
  readonly pairs: readonly SimulatedPair[];
} {
  const node = (name: string, tunnelIp: string): SimulatedNode => ({
    name,
    tunnelIp,
    world: new SimulatedWorld(),
  });
  const nodes = [node('node-1', '172.31.255.1'), node('node-2', '172.31.255.2')] as const;
  const [first, second] = nodes;
  const pairs: readonly SimulatedPair[] = [
    {
      service: 'local-service',
      payload: 'IP',
      cidrPrefix: '172.16.1.0/24',
      client: { name: 'client-1', node: first },
      endpoint: { name: 'server-1', node: first },
    },
    {
      service: 'remote-service',
      payload: 'ETHERNET',
      cidrPrefix: '172.16.2.0/24',
      client: { name: 'client-2', node: first },
      endpoint: { name: 'server-2', node: second },
    },
  ];
  return { nodes, pairs };
}

export async function startSimulatedMesh(
  { nodes, pairs }: ReturnType<typeof simulatedStage>,
  stateDir: string,
): Promise<SimulatedMesh> {
  const platform = await createPlatform({
    name: 'demo',
    log: silentLog,
    natsUrl: undefined,
    insecure: true,
  });
  const parts = new Map<string, RunningRole>();
  const stopped = new Set<string>();
  const clients = new Map<string, ClientWatch>();
  const stop = async (): Promise<void> => {
    for (const [name, role] of [...parts].toReversed()) {
      if (!stopped.has(name)) await role.stop(stopMs);
    }
    await platform.stop(stopMs);
  };
  try {
    const store = createMemoryRegistryStore();
    const listenOn = [registryUrl];
    parts.set('registry', await composeRegistry(platform, { name: domain, listenOn, store }));
    for (const node of nodes) {
      parts.set(`nsmgr-${node.name}`, await startManager(platform, node, stateDir));
      parts.set(forwarderNameOf(node), await startForwarder(platform, node));
    }
    for (const pair of pairs) parts.set(pair.endpoint.name, await startEndpoint(platform, pair));
    for (const pair of pairs) {
      const watch = new ClientWatch(platform);
      clients.set(pair.client.name, watch);
      parts.set(pair.client.name, startClient(platform, pair, watch));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    stopped,
    stop,
    async connected({ client }, timeoutMs) {
      const watch = clients.get(client.name);
      if (watch === undefined) throw new NsmError('NOT_FOUND', `there is no ${client.name}`);
      return watch.connected(client.name, timeoutMs);
    },
    async stopPart(name) {
      stopped.add(name);
      await parts.get(name)?.stop(stopMs);
    },
  };
}

function startManager(
  platform: Platform,
  node: SimulatedNode,
  stateDir: string,
): Promise<RunningRole> {
  const nodeDir = join(stateDir, node.name);
  mkdirSync(nodeDir, { recursive: true });
  return composeNsmgr(platform, {
    name: `nsmgr-${node.name}`,
    node: node.name,
    listenOn: [`unix://${join(nodeDir, 'nsm.io.sock')}`, managerUrl(node)],
    registryUrl,
    forwarderServiceName: 'forwarder',
    maxTokenLifetimeMs,
    nodeLabels: { nodeName: node.name },
    excludedPrefixes: () => [],
  });
}

function startForwarder(platform: Platform, node: SimulatedNode): Promise<RunningRole> {
  const name = forwarderNameOf(node);
  const dataplane = createSimulatedDataplane({
    world: node.world,
    clock: platform.clock,
    installation: simulatedInstallation,
    forwarder: name,
  });
  return composeForwarder(platform, {
    name,
    domain,
    node: node.name,
    networkServiceName: 'forwarder',
    labels: { p2p: 'true' },
    connectTo: managerUrl(node),
    listenOn: `memory:${node.name}/forwarder`,
    maxTokenLifetimeMs,
    tunnelIp: node.tunnelIp,
    vxlanPort: 0,
    underlayMtu: 1500,
    capabilities: simulatedCapabilities(),
    dataplane,
  });
}

function startEndpoint(platform: Platform, pair: SimulatedPair): Promise<RunningRole> {
  const { name, node } = pair.endpoint;
  return composeNse(platform, {
    name,
    connectTo: managerUrl(node),
    listenOn: `memory:${node.name}/${name}`,
    serviceNames: [pair.service],
    payload: pair.payload,
    labels: {},
    cidrPrefixes: [[requirePrefix(pair.cidrPrefix, 'demo')]],
    registerService: true,
    maxTokenLifetimeMs,
    netns: namespaceOf(name),
  });
}

function startClient(platform: Platform, pair: SimulatedPair, watch: ClientWatch): RunningRole {
  const { name, node } = pair.client;
  const { service: networkService } = pair;
  return composeNsc(platform, {
    name,
    connectTo: managerUrl(node),
    services: [{ mechanismType: 'KERNEL', networkService, interfaceName: 'nsm-1', labels: {} }],
    labels: {},
    requestTimeoutMs: 15_000,
    maxTokenLifetimeMs,
    netns: namespaceOf(name),
    onStatus: (_, __, status) => watch.onStatus(status),
  });
}

/** Waits for the first connection of a client. */
class ClientWatch {
  readonly #platform: Platform;
  readonly #startedMs: number;
  #first: Connected | undefined;
  #wake: () => void = () => {};

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#startedMs = platform.clock.nowMs();
  }

  onStatus(status: ClientStatus): void {
    if (status.phase !== 'established' || this.#first !== undefined) return;
    const afterMs = this.#platform.clock.nowMs() - this.#startedMs;
    this.#first = { connection: status.connection, afterMs };
    this.#wake();
  }

  async connected(name: string, timeoutMs: number): Promise<Connected> {
    if (this.#first === undefined) {
      await new Promise<void>((resolve) => {
        const timer = this.#platform.clock.after(timeoutMs, resolve);
        this.#wake = () => {
          timer.cancel();
          resolve();
        };
      });
    }
    if (this.#first !== undefined) return this.#first;
    throw new NsmError('DEADLINE_EXCEEDED', `${name} has no connection`);
  }
}
