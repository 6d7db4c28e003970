// The wires of one chaos case: clients on the first node, each with a prober, and the Endpoints that they may be
// joined to, each with an answerer. Invariant: what the scene starts ends with it, in order, and what vwire then
// still holds of it is named.

import { create } from '@bufbuild/protobuf';
import type { Child } from '../../transports/process/child.ts';
import type { ClientReport } from '../../bin/demo/client-reports.ts';
import type { Environment, MeshNode, MeshWorkload } from '../../bin/demo/mesh.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import { createPlatform } from '../../bin/roles/platform.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { eventually } from '../../test/sandbox/eventually.ts';
import { type InterfaceFacts, interfacesOf } from '../../test/sandbox/mesh-probes.ts';
import { type Answerer, type Sender, startAnswerer, startSender } from './probe.ts';
import type { Stage } from './stage.ts';

export interface ChaosEndpoint {
  readonly name: string;
  readonly workload: MeshWorkload;
  /** Its process dies; its namespace and the answerer in it live on. */
  kill(): Promise<void>;
  /** What its service's clients connect to is gone. */
  endService(): void;
  /** A new process in the same namespace. */
  start(): Promise<void>;
  /** Process and namespace are gone. */
  destroy(): Promise<void>;
}

export interface ChaosWire {
  readonly service: string;
  readonly client: MeshWorkload;
  readonly sender: Sender;
  /** As last reported by the client. */
  report(): ClientReport | undefined;
  /** The client is killed and started again; resolves when the new one has the connection. */
  killClient(): Promise<void>;
  facts(): Promise<InterfaceFacts | undefined>;
}

export interface WireOptions {
  /** Becomes a name of this wire's own. */
  readonly service: string;
  readonly endpointNode: MeshNode;
  readonly endpointEnv?: Environment;
  readonly clientEnv?: Environment;
}

const connectTimeoutMs = 30_000;
const stopGraceMs = 20_000;
const settleTimeoutMs = 60_000;
const interfaceName = 'nsm-1';
/** Of its own for each Endpoint of a scene; whoever moves brings its address along. */
const cidrOf = (at: number): string => `172.16.${at}.0/24`;

interface Held extends ChaosEndpoint {
  readonly answerer: Answerer;
  readonly stop: () => Promise<void>;
  isDestroyed: boolean;
}

export class Scene {
  readonly stage: Stage;
  readonly wires: ChaosWire[] = [];
  readonly #endpoints: Held[] = [];

  constructor(stage: Stage) {
    this.stage = stage;
  }

  get endpoints(): readonly ChaosEndpoint[] {
    return this.#endpoints;
  }

  /** Answerers that can still be asked. */
  get answerers(): readonly Answerer[] {
    return this.#endpoints.flatMap((each) => (each.isDestroyed ? [] : [each.answerer]));
  }

  /** The Endpoint that a wire ends at. */
  endpointOf(wire: ChaosWire): ChaosEndpoint {
    const name = wire.report()?.endpoint;
    const found = this.#endpoints.find((each) => each.name === name);
    if (found === undefined) throw new Error(`${wire.service} has no known Endpoint: ${name}`);
    return found;
  }

  async addEndpoint(
    node: MeshNode,
    service: string,
    env: Environment = {},
  ): Promise<ChaosEndpoint> {
    const { mesh, namespace, unique } = this.stage;
    const workload: MeshWorkload = { name: unique('server'), node, namespace: namespace() };
    const prefix = cidrOf(this.#endpoints.length);
    const run = async (): Promise<void> => {
      await mesh.startEndpoint(workload, {
        NSM_SERVICE_NAMES: service,
        NSM_CIDR_PREFIX: prefix,
        NSM_PAYLOAD: 'IP',
        ...env,
      });
    };
    // The latest, also where it was not ready in time.
    const child = (): Child | undefined => mesh.processes.get(workload.name);
    const kill = async (): Promise<void> => {
      child()?.kill('SIGKILL');
      await child()?.exited;
    };
    await run();
    const held: Held = {
      name: workload.name,
      workload,
      stop: async () => void (await child()?.stop(stopGraceMs)),
      answerer: await startAnswerer(workload.namespace),
      isDestroyed: false,
      kill,
      endService: () => held.answerer.endService(),
      start: run,
      async destroy() {
        held.isDestroyed = true;
        // It goes with the last of its processes.
        workload.namespace.close();
        await Promise.all([kill(), held.answerer.stop()]);
      },
    };
    this.#endpoints.push(held);
    return held;
  }

  async addWire(options: WireOptions): Promise<ChaosWire> {
    const { endpointNode } = options;
    const service = this.stage.unique(options.service);
    await this.addEndpoint(endpointNode, service, options.endpointEnv);
    return this.addClient(service, options.clientEnv);
  }

  async addClient(service: string, env: Environment = {}): Promise<ChaosWire> {
    const { mesh, nodes, netlink, namespace, unique } = this.stage;
    const [node] = nodes;
    if (node === undefined) throw new Error('a stage has nodes');
    const client: MeshWorkload = { name: unique('client'), node, namespace: namespace() };
    const start = async (): Promise<void> => {
      await mesh.startClient(client, {
        NSM_NETWORK_SERVICES: `kernel://${service}/${interfaceName}`,
        ...env,
      });
    };
    await start();
    await mesh.clients.connected(client.name, connectTimeoutMs);
    const report = (): ClientReport | undefined => mesh.clients.of(client.name).at(-1);
    const wire: ChaosWire = {
      service,
      client,
      sender: await startSender(client.namespace),
      report,
      async killClient() {
        const before = report();
        const child = mesh.processes.get(client.name);
        child?.kill('SIGKILL');
        await child?.exited;
        await start();
        await eventually(`${client.name} is connected again`, connectTimeoutMs, () => {
          const now = report();
          if (now === before || now?.event !== 'established') {
            throw new Error(`found: ${now?.error ?? now?.event}`);
          }
        });
      },
      async facts() {
        const found = await interfacesOf(netlink, client.namespace);
        return found.find(({ name }) => name === interfaceName);
      },
    };
    this.wires.push(wire);
    return wire;
  }

  /** The address of the other end, without prefix length. */
  peerOf(wire: ChaosWire): string {
    return (wire.report()?.peerAddresses?.[0] ?? '').split('/')[0] ?? '';
  }

  /** Every client has its wire, and a new one can be made to each service. */
  async contented(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    const left = (): number => Math.max(1, deadline - performance.now());
    for (const wire of this.wires) {
      await eventually(`the client of ${wire.service} is content`, left(), () => {
        const found = wire.report();
        if (found?.event !== 'established') {
          throw new Error(`found: ${found?.event}, ${found?.error}`);
        }
      });
      await this.#newWire(wire.service, left);
    }
  }

  async #newWire(service: string, left: () => number): Promise<void> {
    const [node] = this.stage.nodes;
    if (node === undefined) return;
    const caller = await this.stage.workloads.caller(node);
    await eventually(`a new wire to ${service}`, left(), async () => {
      await caller.close(await caller.request({ service, timeoutMs: 3_000 }));
    });
    await this.stage.workloads.end();
  }

  /** Ends all of it; what vwire holds of it after some seconds is named. */
  async end(): Promise<readonly string[]> {
    const { mesh, workloads } = this.stage;
    await Promise.all(this.wires.map(({ sender }) => sender.stop()));
    await workloads.end();
    await Promise.all(
      this.wires.map(async ({ client }) => mesh.processes.get(client.name)?.stop(stopGraceMs)),
    );
    const left = await this.#leftAfterClients();
    await Promise.all(
      this.#endpoints.map(async ({ stop, answerer }) => {
        await Promise.all([stop(), answerer.stop()]);
      }),
    );
    return [...left, ...(await this.#leftInRegistry())];
  }

  async #leftAfterClients(): Promise<readonly string[]> {
    const { netlink } = this.stage;
    return emptied(async () => {
      const left = [...(await this.stage.traces())];
      for (const { workload, isDestroyed } of this.#endpoints) {
        if (isDestroyed) continue;
        const found = await interfacesOf(netlink, workload.namespace);
        left.push(...found.map(({ name }) => `interface ${name} at ${workload.name}`));
      }
      for (const { client } of this.wires) {
        const found = await interfacesOf(netlink, client.namespace);
        left.push(...found.map(({ name }) => `interface ${name} at ${client.name}`));
      }
      return left;
    });
  }

  /** Endpoints that ended in order have no entry any more; one that was killed keeps it until it expires. */
  async #leftInRegistry(): Promise<readonly string[]> {
    const [node] = this.stage.nodes;
    if (node === undefined) return [];
    const names = new Set(this.#endpoints.flatMap((each) => (each.isDestroyed ? [] : [each.name])));
    const platform = await createPlatform({
      name: 'census',
      log: silentLog,
      natsUrl: undefined,
      ...(await this.stage.mesh.securityOf('census')),
    });
    try {
      const { endpoints } = registryClients(platform.dialer.dial(this.stage.mesh.socketOf(node)));
      return await emptied(async () => {
        const found: string[] = [];
        const answers = endpoints.find(
          create(NetworkServiceEndpointQuerySchema, {
            networkServiceEndpoint: create(NetworkServiceEndpointSchema),
          }),
          { timeoutMs: 3_000 },
        );
        for await (const { networkServiceEndpoint } of answers) {
          const name = networkServiceEndpoint?.name ?? '';
          if (names.has(name)) found.push(`registry entry ${name}`);
        }
        return found;
      });
    } finally {
      await platform.stop(3_000);
    }
  }
}

/** What is still there when it has not gone after some seconds. */
async function emptied(look: () => Promise<readonly string[]>): Promise<readonly string[]> {
  const deadline = performance.now() + settleTimeoutMs;
  for (;;) {
    const left = await look().catch((error: unknown) => [`not to be seen: ${String(error)}`]);
    if (left.length === 0 || performance.now() > deadline) return left;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
