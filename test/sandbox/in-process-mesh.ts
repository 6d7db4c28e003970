// A whole mesh in one process: a registry, nodes of a manager and forwarders over the simulated data plane,
// Endpoints and clients, each with an actor system of its own, put together by the functions that the roles use.
// One hand-driven clock, seeded randomness and one memory network serve them all, so that nothing here waits.

import { expect } from 'vitest';
import type { ClientStatus } from '../../actors/client/client-setup.ts';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import type { ActorSystem } from '../../actors/runtime/api.ts';
import { composeForwarder, type ForwarderOptions } from '../../bin/roles/compose-forwarder.ts';
import { composeNsc, type NscOptions } from '../../bin/roles/compose-nsc.ts';
import { composeNse, type NseOptions } from '../../bin/roles/compose-nse.ts';
import { composeNsmgr } from '../../bin/roles/compose-nsmgr.ts';
import {
  composePassthrough,
  type PassthroughOptions,
} from '../../bin/roles/compose-passthrough.ts';
import { composeRegistry } from '../../bin/roles/compose-registry.ts';
import { composeSupplier, type SupplierOptions } from '../../bin/roles/compose-supplier.ts';
import type { Platform } from '../../bin/roles/platform.ts';
import type { RunningRole } from '../../bin/roles/running-role.ts';
import {
  createSimulatedDataplane,
  simulatedCapabilities,
  type SimulatedFault,
} from '../../dataplane/simulated/simulated.ts';
import { SimulatedWorld } from '../../dataplane/simulated/simulated-world.ts';
import { asNsmError } from '../../protocols/errors.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import { parseServiceUrl } from '../../protocols/nsm/service-url.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import { type Log, silentLog } from '../../protocols/ports/log.ts';
import type { Channel, Dialer, Listening } from '../../protocols/ports/rpc.ts';
import { createMemoryJournal } from '../../transports/journal/memory-journal.ts';
import {
  createMemoryBucket,
  createMemoryRegistryStore,
} from '../../transports/memory/registry-store.ts';
import { openTunnelKeys } from '../../transports/tunnel-keys/tunnel-keys.ts';
import { seededRandom } from '../actors/runtime/fixture.ts';
import { settle } from './manual-clock.ts';
import { callMs, lifetimeMs, MeshCalls } from './mesh-calls.ts';

const stopMs = 2_000;

/** A component; it has an actor system of its own. */
export interface Part {
  /** Where it serves; empty for a client. */
  readonly url: string;
  stop(): Promise<void>;
}

export interface Node {
  readonly name: string;
  readonly managerUrl: string;
  /** The kernel of the node. */
  readonly world: SimulatedWorld;
  readonly manager: Restartable;
  readonly forwarders: ForwarderPart[];
}

/** Keeps its journal from one life to the next; stopping it ends no connection. */
export interface Restartable extends Part {
  start(): Promise<void>;
}

export interface ForwarderPart extends Restartable {
  readonly name: string;
}

export interface ClientPart extends Part {
  /** Statuses of each connection, oldest first. */
  readonly statuses: (connectionId: string) => readonly ClientStatus[];
  /** The connection as last established. Waits for it. */
  readonly established: (connectionId?: string) => Promise<Connection>;
  readonly phase: (connectionId?: string) => ClientStatus['phase'] | undefined;
}

type Fault = (operation: string, step: string) => SimulatedFault | undefined;
type ForwarderExtras = Partial<Omit<ForwarderOptions, 'tunnelKeys'>> & {
  readonly fault?: Fault;
  /** Mechanism types of its data plane; for WIREGUARD it has keys then, the same in every life. */
  readonly mechanisms?: readonly string[];
  /** Where it keeps those; default: nobody else sees it. */
  readonly keyJournal?: Journal;
};
type NseExtras = Partial<Omit<NseOptions, 'name' | 'connectTo' | 'listenOn'>> & {
  readonly cidr?: string;
};

type SupplierExtras = Partial<SupplierOptions> & Pick<SupplierOptions, 'supplier'>;

export interface MeshOptions {
  /** Managers show their nodes in the registry. */
  readonly leases?: boolean;
  /** Roles whose expiry policy is keep-while-alive; of an Endpoint its `receivedPackets` say so. */
  readonly keeping?: readonly ('nsmgr' | 'forwarder')[];
  /** Of every component; silent by default. */
  readonly log?: Log;
}

export async function createMesh(nodeCount = 1, options: MeshOptions = {}): Promise<Mesh> {
  const mesh = new Mesh(options);
  await mesh.startRegistry();
  for (let index = 1; index <= nodeCount; index += 1) await mesh.addNode(`node-${index}`);
  return mesh;
}

export class Mesh extends MeshCalls {
  readonly random = seededRandom(1);
  /** How far the wall clock of a component's machine is ahead of the mesh's, in ms. */
  wallAheadMs: (component: string) => number = () => 0;
  readonly nodes: Node[] = [];
  readonly #systems: ActorSystem[] = [];
  readonly #bucket = createMemoryBucket();
  readonly #listening = new Map<string, Listening>();
  /** In the order of their start; stopped in reverse. */
  #parts: Part[] = [];
  #registry: Part | undefined;
  readonly #options: MeshOptions;
  /** Names of components that reach nobody. */
  readonly #isolated = new Set<string>();

  constructor(options: MeshOptions = {}) {
    super();
    this.#options = options;
  }

  async startRegistry(): Promise<void> {
    const { platform, partOf } = this.#platform('registry');
    const role = await composeRegistry(platform, {
      name: 'registry',
      listenOn: ['memory:registry'],
      store: createMemoryRegistryStore(this.#bucket),
    });
    this.#registry = partOf(role, 'memory:registry');
  }

  async stopRegistry(): Promise<void> {
    await this.#registry?.stop();
    this.#registry = undefined;
  }

  async addNode(name: string, extras: ForwarderExtras = {}): Promise<Node> {
    const managerUrl = `memory:${name}/nsmgr`;
    const journal = createMemoryJournal();
    const drainJournal = createMemoryJournal();
    const manager = await this.#restartable(managerUrl, `nsmgr-${name}`, (platform) =>
      composeNsmgr(platform, {
        name: `nsmgr-${name}`,
        listenOn: [managerUrl],
        registryUrl: 'memory:registry',
        forwarderServiceName: 'forwarder',
        maxTokenLifetimeMs: lifetimeMs,
        nodeLabels: { nodeName: name },
        excludedPrefixes: () => [],
        journal,
        drainJournal,
        keepsWhileAlive: this.#options.keeping?.includes('nsmgr') === true,
        ...(this.#options.leases === true ? { node: name } : {}),
      }),
    );
    const world = new SimulatedWorld();
    const node: Node = { name, managerUrl, world, manager, forwarders: [] };
    this.nodes.push(node);
    await this.addForwarder(node, extras);
    return node;
  }

  async addForwarder(node: Node, extras: ForwarderExtras = {}): Promise<ForwarderPart> {
    const {
      fault,
      mechanisms,
      keyJournal = createMemoryJournal(),
      name = `forwarder-${node.name}`,
      ...rest
    } = extras;
    const url = `memory:${node.name}/${name}`;
    const journal = createMemoryJournal();
    const restartable = await this.#restartable(url, name, async (platform) =>
      composeForwarder(platform, {
        name,
        domain: 'mesh',
        node: node.name,
        networkServiceName: 'forwarder',
        labels: { p2p: 'true' },
        connectTo: node.managerUrl,
        listenOn: url,
        maxTokenLifetimeMs: lifetimeMs,
        tunnelIp: `10.0.${this.nodes.indexOf(node)}.1`,
        vxlanPort: 0,
        underlayMtu: 1500,
        dataplane: createSimulatedDataplane({
          world: node.world,
          clock: this.clock,
          installation: 'mesh',
          forwarder: name,
          ...(fault === undefined ? {} : { fault }),
          ...(mechanisms === undefined ? {} : { mechanisms }),
        }),
        capabilities: simulatedCapabilities(mechanisms),
        tunnelKeys: mechanisms?.includes('WIREGUARD')
          ? await openTunnelKeys({ journal: keyJournal, ipsec: false })
          : undefined,
        journal,
        keepsWhileAlive: this.#options.keeping?.includes('forwarder') === true,
        ...rest,
      }),
    );
    const forwarder: ForwarderPart = { ...restartable, name };
    node.forwarders.push(forwarder);
    return forwarder;
  }

  async addEndpoint(node: Node, name: string, extras: NseExtras = {}): Promise<Part> {
    const { cidr = '172.16.0.0/24', ...rest } = extras;
    const { platform, partOf } = this.#platform(name);
    const url = `memory:${node.name}/${name}`;
    const composing = composeNse(platform, {
      name,
      connectTo: node.managerUrl,
      listenOn: url,
      serviceNames: ['service'],
      payload: 'IP',
      labels: {},
      cidrPrefixes: [[requirePrefix(cidr, 'scenario')]],
      registerService: true,
      maxTokenLifetimeMs: lifetimeMs,
      netns: this.newNamespace(),
      ...rest,
    });
    const part = partOf(await this.run(composing), url);
    this.#parts.push(part);
    return part;
  }

  /** Composed like `vwire nse passthrough`, with its labels and a chain that the test sees. */
  addPassthrough(
    node: Node,
    name: string,
    more: Pick<PassthroughOptions, 'labels' | 'chain'>,
  ): Promise<Restartable> {
    const url = `memory:${node.name}/${name}`;
    const own = { journal: createMemoryJournal(), netns: this.newNamespace() };
    return this.#restartable(url, name, (platform) =>
      composePassthrough(platform, {
        name,
        connectTo: node.managerUrl,
        listenOn: url,
        serviceNames: ['service'],
        payload: 'IP',
        registerService: false,
        maxTokenLifetimeMs: lifetimeMs,
        ...own,
        ...more,
      }),
    );
  }

  async addSupplier(node: Node, extras: SupplierExtras): Promise<Part> {
    const name = `supplier-${node.name}`;
    const { platform, partOf } = this.#platform(name);
    const url = `memory:${node.name}/${name}`;
    const composing = composeSupplier(platform, {
      name,
      connectTo: node.managerUrl,
      listenOn: url,
      serviceName: 'service',
      payload: 'IP',
      labels: { app: 'supplier', nodeName: node.name },
      nodeName: node.name,
      maxTokenLifetimeMs: lifetimeMs,
      endpointsMax: 4,
      ...extras,
    });
    const part = partOf(await this.run(composing), url);
    this.#parts.push(part);
    return part;
  }

  addClient(
    node: Node,
    name: string,
    services: readonly string[] = ['kernel://service/nsm-1'],
    extras: Partial<NscOptions> = {},
  ): ClientPart {
    const { platform, partOf } = this.#platform(name);
    const statuses = new Map<string, ClientStatus[]>();
    const of = (id: string): readonly ClientStatus[] => statuses.get(id) ?? [];
    const role = composeNsc(platform, {
      name,
      connectTo: node.managerUrl,
      services: services.map((service) => parseServiceUrl(service)),
      labels: {},
      requestTimeoutMs: callMs,
      maxTokenLifetimeMs: lifetimeMs,
      netns: this.newNamespace(),
      onStatus: (_, id, status) => void statuses.set(id, [...of(id), status]),
      ...extras,
    });
    const first = `${name}-0`;
    const part: ClientPart = {
      ...partOf(role, ''),
      statuses: of,
      phase: (id = first) => of(id).at(-1)?.phase,
      established: async (id = first) => {
        await this.until(() => of(id).at(-1)?.phase === 'established');
        const last = of(id).at(-1);
        if (last?.phase === 'established') return last.connection;
        throw new Error('unreachable');
      },
    };
    this.#parts.push(part);
    return part;
  }

  /** The component is not reachable any more, without a word to anybody; it stays registered. */
  async cutOff(part: Part): Promise<void> {
    const listening = this.#listening.get(part.url);
    if (listening !== undefined) await this.run(listening.close(0));
  }

  /** Calls of the component reach nobody until it is joined again; what is open stays open and silent. */
  isolate(name: string, isIsolated = true): void {
    if (isIsolated) this.#isolated.add(name);
    else this.#isolated.delete(name);
  }

  async #connectionIdsAt(url: string): Promise<readonly string[]> {
    try {
      return Object.keys(await this.connectionsAt(url));
    } catch (error) {
      // Stopped by the test itself.
      if (asNsmError(error).code === 'UNAVAILABLE') return [];
      throw error;
    }
  }

  /** Ends of wires on all nodes. */
  get objects(): number {
    return this.nodes.reduce((sum, { world }) => sum + world.objectCount(), 0);
  }

  /** Stops everything, clients first, and checks that nothing is left. */
  async end(): Promise<void> {
    const running = this.#parts.reverse();
    this.#parts = [];
    for (const part of running.filter(({ url }) => url === '')) await part.stop();
    for (const { url } of running.filter((each) => each.url !== '')) {
      expect(await this.#connectionIdsAt(url), `connections left at ${url}`).toEqual([]);
    }
    for (const part of running) await part.stop();
    const leftEndpoints = [...this.#bucket.entries.keys()].filter((key) => key.startsWith('nse/'));
    await this.stopRegistry();
    await settle();
    expect(this.objects, 'ends of wires left behind').toBe(0);
    expect(leftEndpoints, 'registered Endpoints left behind').toEqual([]);
    const actors = this.#systems.reduce((sum, system) => sum + system.actorCount, 0);
    expect(actors, 'actors left behind').toBe(0);
    expect(this.clock.pendingTimers, 'timers left behind').toBe(0);
  }

  async #restartable(
    url: string,
    name: string,
    compose: (platform: Platform) => Promise<RunningRole>,
  ): Promise<Restartable> {
    let part: Part | undefined;
    const start = async (): Promise<void> => {
      const { platform, partOf } = this.#platform(name);
      part = partOf(await this.run(compose(platform)), url);
    };
    await start();
    const restartable = { url, start, stop: async () => part?.stop() };
    this.#parts.push(restartable);
    return restartable;
  }

  #platform(name: string) {
    const { clock, random } = this;
    const { log = silentLog } = this.#options;
    const system = createActorSystem({ name, clock, random, log });
    this.#systems.push(system);
    const platform: Platform = {
      system,
      clock,
      wallClock: { epochMs: () => clock.epochMs() + this.wallAheadMs(name) },
      random,
      log,
      dialer: cuttable(this.network.dialer, () => this.#isolated.has(name)),
      listener: {
        listen: async (url, services) => {
          const listening = await this.network.listener.listen(url, services);
          this.#listening.set(url, listening);
          return listening;
        },
      },
      bus: undefined,
      natsUrl: undefined,
      bootId: 'one boot',
      stop: (timeoutMs) => system.stop(timeoutMs),
    };
    const partOf = (role: RunningRole, url: string): Part => {
      let stopping: Promise<void> | undefined;
      const stop = async (): Promise<void> => {
        await role.stop(stopMs);
        await platform.stop(stopMs);
      };
      return { url, stop: () => (stopping ??= this.run(stop())) };
    };
    return { platform, partOf };
  }
}

/** A dialer whose calls find nobody while it is cut. */
function cuttable(dialer: Dialer, isCut: () => boolean): Dialer {
  const nowhere = dialer.dial('memory:nowhere');
  return {
    close: () => dialer.close(),
    dial(url) {
      const way = dialer.dial(url);
      const client: Channel['client'] = (service) =>
        new Proxy(way.client(service), {
          get: (_, method) => Reflect.get((isCut() ? nowhere : way).client(service), method),
        });
      return { url, client };
    },
  };
}
