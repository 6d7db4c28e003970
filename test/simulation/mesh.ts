// A whole mesh in one process: registry, nodes of a manager and a forwarder over a simulated kernel, Endpoints and
// clients, each composed by the function that its real role uses, each on ports that end with its life.

import { composeForwarder } from '../../bin/roles/compose-forwarder.ts';
import { composeNsmgr } from '../../bin/roles/compose-nsmgr.ts';
import { composeRegistry } from '../../bin/roles/compose-registry.ts';
import {
  createSimulatedDataplane,
  simulatedCapabilities,
  type SimulatedFault,
} from '../../dataplane/simulated/simulated.ts';
import type { AddressPair } from '../../protocols/nsm/probed-wire.ts';
import type { Fate } from '../sandbox/simulated-echoes.ts';
import { fateOn } from '../sandbox/simulated-probes.ts';
import type { Dataplane } from '../../protocols/ports/dataplane.ts';
import { createMemoryBucket } from '../../transports/memory/registry-store.ts';
import { SimulatedClient } from './client.ts';
import { Disk } from './disk.ts';
import { SimulatedEndpoint } from './endpoint.ts';
import type { Ground } from './ground.ts';
import { WatchedWorld } from './kernel.ts';
import type { Life } from './life.ts';
import { Part } from './part.ts';
import { storeOf } from './store.ts';

export const registryPlace = 'center';
const installation = 'simulation';
/** Whose the wires of a forwarder are in its kernel. */
export const ownerOf = (forwarder: string): string => `${installation} ${forwarder}`;
const registryUrl = 'memory:registry';

export interface SimulatedForwarder {
  readonly part: Part;
  readonly disk: Disk;
}

export interface Node {
  readonly name: string;
  readonly managerUrl: string;
  readonly tunnelIp: string;
  /** A new one after each reboot. */
  world: WatchedWorld;
  readonly manager: Part;
  readonly managerDisk: Disk;
  /** One, or two. */
  readonly forwarders: readonly SimulatedForwarder[];
  /** What the kernel does at a step of an operation. */
  dataplaneFault: () => SimulatedFault | undefined;
  dataplaneDelayMs: () => number;
}

export interface MeshOptions {
  readonly nodes: number;
  readonly lifetimeMs: number;
  readonly probes?: boolean;
  readonly nodeLeaseMs?: number;
  readonly keeps?: boolean;
  readonly twins?: boolean;
}

export class SimulatedMesh {
  readonly ground: Ground;
  readonly nodes: readonly Node[];
  readonly registry: Part;
  readonly bucket = createMemoryBucket();
  readonly endpoints: SimulatedEndpoint[] = [];
  readonly clients: SimulatedClient[] = [];
  readonly #options: MeshOptions;
  readonly #endpointNames = new Map<string, Set<string>>();

  constructor(ground: Ground, options: MeshOptions) {
    this.ground = ground;
    this.#options = options;
    this.registry = new Part(ground, {
      name: 'registry',
      place: registryPlace,
      compose: (life) =>
        composeRegistry(life.platform, {
          name: 'registry',
          listenOn: [registryUrl],
          store: storeOf(this.bucket, life),
        }),
    });
    this.nodes = Array.from({ length: options.nodes }, (_, index) => this.#node(index + 1));
  }

  get parts(): readonly Part[] {
    return [
      this.registry,
      ...this.nodes.flatMap(({ manager, forwarders }) => [
        manager,
        ...forwarders.map(({ part }) => part),
      ]),
      ...this.endpoints.map(({ part }) => part),
      ...this.clients.map(({ part }) => part),
    ];
  }

  addEndpoint(node: Node, service: string): SimulatedEndpoint {
    const number = this.endpoints.length + 1;
    const name = `nse-${number}`;
    const cidr = `172.16.${number}.0/24`;
    const endpoint = new SimulatedEndpoint(this.ground, {
      name,
      service,
      node,
      cidr,
      lifetimeMs: this.#options.lifetimeMs,
      keeps: this.#options.keeps === true,
    });
    this.#namesOf(service).add(name);
    this.endpoints.push(endpoint);
    endpoint.part.start();
    return endpoint;
  }

  addClient(node: Node, service: string): SimulatedClient {
    const client = new SimulatedClient(this.ground, {
      name: `nsc-${this.clients.length + 1}`,
      service,
      node,
      lifetimeMs: this.#options.lifetimeMs,
      endpointsOf: (each) => this.#namesOf(each),
      ...(this.#options.probes === true ? { fateOf: (pair) => this.#fateOf(pair) } : {}),
    });
    this.clients.push(client);
    client.start();
    return client;
  }

  /** Everything that its kernel held is gone. */
  reboot(node: Node): void {
    node.world = this.#newWorld();
  }

  #newWorld(): WatchedWorld {
    return new WatchedWorld({
      onMade: (end) => this.#clientAt(end.netns)?.onInterfaceMade(),
      onRemoved: (end, found) => this.#clientAt(end.netns)?.onInterfaceRemoved(found),
      onChanged: (end, before, after) =>
        this.#clientAt(end.netns)?.onInterfaceChanged(before, after),
    });
  }

  #fateOf(pair: AddressPair): Fate {
    const holder = this.clients.find(({ interface: own }) =>
      own?.addresses.some((each) => each.split('/')[0] === pair.source),
    );
    const name = holder?.established?.networkServiceEndpointName;
    const isDeaf = this.endpoints.some((each) => each.name === name && each.isDeaf);
    return isDeaf ? 'lost' : fateOn(this.nodes, pair);
  }

  #namesOf(service: string): Set<string> {
    const known = this.#endpointNames.get(service);
    if (known !== undefined) return known;
    const names = new Set<string>();
    this.#endpointNames.set(service, names);
    return names;
  }

  #clientAt(netns: string): SimulatedClient | undefined {
    return this.clients.find((client) => client.netns === netns);
  }

  #node(number: number): Node {
    const name = `node-${number}`;
    const names = this.#options.twins === true ? ['forwarder', 'forwarder-b'] : ['forwarder'];
    const node: Node = {
      name,
      managerUrl: `memory:${name}/nsmgr`,
      tunnelIp: `10.0.${number}.1`,
      world: this.#newWorld(),
      managerDisk: new Disk(),
      forwarders: names.map((component) => this.#forwarder(component, name, () => node)),
      dataplaneFault: () => undefined,
      dataplaneDelayMs: () => 0,
      manager: new Part(this.ground, {
        name: `nsmgr-${name}`,
        place: name,
        compose: (life) => this.#composeManager(node, life),
      }),
    };
    return node;
  }

  #forwarder(component: string, place: string, node: () => Node): SimulatedForwarder {
    const disk = new Disk();
    const part = new Part(this.ground, {
      name: `${component}-${place}`,
      place,
      compose: (life) => this.#composeForwarder(node(), life, { component, disk }),
    });
    return { part, disk };
  }

  #composeManager(node: Node, life: Life) {
    return composeNsmgr(life.platform, {
      name: life.name,
      node: node.name,
      listenOn: [node.managerUrl],
      registryUrl,
      forwarderServiceName: 'forwarder',
      maxTokenLifetimeMs: this.#options.lifetimeMs,
      keepsWhileAlive: this.#options.keeps === true,
      ...(this.#options.nodeLeaseMs === undefined
        ? {}
        : { nodeLeaseMs: this.#options.nodeLeaseMs }),
      nodeLabels: { nodeName: node.name },
      excludedPrefixes: () => [],
      journal: node.managerDisk.journalOf(life, () => this.ground.time.nowMs()),
    });
  }

  #composeForwarder(
    node: Node,
    life: Life,
    { component, disk }: { readonly component: string; readonly disk: Disk },
  ) {
    return composeForwarder(life.platform, {
      name: life.name,
      domain: 'simulation',
      node: node.name,
      networkServiceName: 'forwarder',
      labels: { p2p: 'true' },
      connectTo: node.managerUrl,
      listenOn: `memory:${node.name}/${component}`,
      maxTokenLifetimeMs: this.#options.lifetimeMs,
      keepsWhileAlive: this.#options.keeps === true,
      tunnelIp: node.tunnelIp,
      vxlanPort: 0,
      underlayMtu: 1500,
      capabilities: simulatedCapabilities(),
      dataplane: this.#dataplaneOf(node, life),
      journal: disk.journalOf(life, () => this.ground.time.nowMs()),
      namespaces: {
        identityOf: (url) => `${life.platform.bootId} ${node.world.identityOf(url)}`,
      },
    });
  }

  #dataplaneOf(node: Node, life: Life): Dataplane {
    return createSimulatedDataplane({
      world: node.world,
      clock: life.outsideClock,
      installation,
      forwarder: life.name,
      delayMs: () => life.random.between(0.1, 1) + node.dataplaneDelayMs(),
      fault: (operation, step) => {
        life.step();
        // A process that is gone does nothing more to the kernel.
        if (!life.isAlive) return 'crash';
        const fault = node.dataplaneFault();
        if (fault !== undefined) {
          this.ground.trace.add(`${fault} ${life.name} ${operation} ${step}`);
          if (fault === 'crash') life.kill('reset');
        }
        return fault;
      },
    });
  }
}
