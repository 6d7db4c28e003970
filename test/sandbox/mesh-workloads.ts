// Clients and Endpoints composed in the test's own process: the same code as `vwire nsc` and `vwire nse` over real
// sockets, each on a platform of its own, with its wires ending in a real namespace. Faster than processes, and a
// test can look inside. What has to be killed is started as a process instead.

import { create } from '@bufbuild/protobuf';
import { join } from 'node:path';

import type { ClientStatus } from '../../actors/client/client-setup.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import type { Mesh, MeshNode } from '../../bin/demo/mesh.ts';
import { composeNsc } from '../../bin/roles/compose-nsc.ts';
import { composeNse, type NseOptions } from '../../bin/roles/compose-nse.ts';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import type { RunningRole } from '../../bin/roles/running-role.ts';
import { requirePrefix } from '../../protocols/ipam/address.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import { type Connection, ConnectionSchema } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService as NetworkServiceRpc,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import type { NetworkService } from '../../protocols/nsm/gen/registry_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import { enterPath, withSegment } from '../../protocols/nsm/path.ts';
import { parseServiceUrls } from '../../protocols/nsm/service-url.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from './eventually.ts';

const lifetimeDefaultMs = 600_000;
const stopTimeoutMs = 10_000;
const connectTimeoutMs = 15_000;

export interface WorkloadsSetup {
  readonly processes: Mesh;
  readonly stateDir: string;
  readonly namespace: () => NetworkNamespace;
  /** Of tokens. */
  readonly lifetimeMs?: number;
}

export interface EndpointOptions extends Partial<Pick<NseOptions, 'onRequest' | 'onClose'>> {
  readonly node: MeshNode;
  readonly services: readonly string[];
  /** Groups of prefixes; one address pair from each group. */
  readonly cidr: readonly (readonly string[])[];
  readonly payload?: 'IP' | 'ETHERNET';
  readonly registerService?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface TestEndpoint {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  stop(): Promise<void>;
}

export interface ClientOptions {
  readonly node: MeshNode;
  /** As in `NSM_NETWORK_SERVICES`. */
  readonly services: string;
  readonly namespace?: NetworkNamespace;
  /** For the next life of a client that has ended; else one that nobody has. */
  readonly name?: string;
}

export interface TestClient {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** Latest status of each requested service, in order. */
  readonly statuses: readonly (ClientStatus | undefined)[];
  /** Waits until the service is connected, and says how. */
  connection(index?: number): Promise<Connection>;
  /** Closes its connections and ends. */
  stop(): Promise<void>;
}

/** Somebody who sends Requests by hand. */
export interface Caller {
  readonly namespace: NetworkNamespace;
  /** A first Request where `known` is absent; else a refresh, or whatever its state asks for. */
  request(options: {
    readonly service: string;
    readonly interfaceName?: string;
    readonly known?: Connection;
    readonly timeoutMs?: number;
  }): Promise<Connection>;
  close(connection: Connection): Promise<void>;
}

export class Workloads {
  readonly #setup: WorkloadsSetup;
  readonly #lifetimeMs: number;
  readonly #clients = new Set<() => Promise<void>>();
  readonly #endpoints = new Set<() => Promise<void>>();
  #count = 0;

  constructor(setup: WorkloadsSetup) {
    this.#setup = setup;
    this.#lifetimeMs = setup.lifetimeMs ?? lifetimeDefaultMs;
  }

  async endpoint(options: EndpointOptions): Promise<TestEndpoint> {
    const { name, platform, namespace } = await this.#workload('endpoint');
    const {
      node,
      services,
      cidr,
      payload = 'IP',
      registerService = true,
      labels = {},
      ...hooks
    } = options;
    const role = await composeNse(platform, {
      name,
      connectTo: this.#setup.processes.socketOf(node),
      listenOn: `unix://${join(this.#setup.stateDir, `${name}.sock`)}`,
      serviceNames: services,
      payload,
      labels,
      cidrPrefixes: cidr.map((group) => group.map((prefix) => requirePrefix(prefix, 'cidr'))),
      registerService,
      maxTokenLifetimeMs: this.#lifetimeMs,
      netns: namespace.inodeUrl,
      ...hooks,
    });
    return { name, namespace, stop: this.#stopOf(this.#endpoints, role, platform) };
  }

  /** Returns at once; `connection` waits. */
  async client(options: ClientOptions): Promise<TestClient> {
    const made = await this.#workload('client', options);
    const { name, platform, namespace } = made;
    const services = parseServiceUrls(options.services);
    const statuses: (ClientStatus | undefined)[] = services.map(() => undefined);
    const role = composeNsc(platform, {
      name,
      connectTo: this.#setup.processes.socketOf(options.node),
      services,
      labels: {},
      requestTimeoutMs: 15_000,
      maxTokenLifetimeMs: this.#lifetimeMs,
      netns: namespace.inodeUrl,
      onStatus: (service, _, status) => void (statuses[services.indexOf(service)] = status),
    });
    return {
      name,
      namespace,
      statuses,
      connection: (index = 0) =>
        eventually(`${name} is connected`, connectTimeoutMs, () => {
          const status = statuses[index];
          if (status?.phase === 'established') return status.connection;
          throw new Error(
            `found: ${JSON.stringify(status, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`,
          );
        }),
      stop: this.#stopOf(this.#clients, role, platform),
    };
  }

  async caller(node: MeshNode): Promise<Caller> {
    const { name, platform, namespace } = await this.#workload('caller');
    const { wallClock, dialer } = platform;
    const url = this.#setup.processes.socketOf(node);
    const service = dialer.dial(url).client(NetworkServiceRpc);
    const held = new Map<string, Connection>();
    const close = async (connection: Connection): Promise<void> => {
      held.delete(connection.id);
      await service.close(connection, { timeoutMs: stopTimeoutMs });
    };
    this.#stopOf(
      this.#clients,
      { urls: [], stop: async () => void (await Promise.all([...held.values()].map(close))) },
      platform,
    );
    let connections = 0;
    return {
      namespace,
      request: async ({
        service: networkService,
        interfaceName = 'nsm-1',
        known,
        timeoutMs = 15_000,
      }) => {
        const id = `${name}-${(connections += 1)}`;
        const first = create(ConnectionSchema, { id, networkService });
        const connection = withSegment(known ?? enterPath(first, name, () => id), 0, {
          expires: timestampFromEpochMs(wallClock.epochMs() + this.#lifetimeMs),
        });
        const request = create(NetworkServiceRequestSchema);
        request.connection = connection;
        request.mechanismPreferences = [
          kernelMechanism({ netnsUrl: namespace.inodeUrl, interfaceName }),
        ];
        const answer = await service.request(request, { timeoutMs });
        held.set(answer.id, answer);
        return answer;
      },
      close,
    };
  }

  /** Registers a service through the node's manager, as somebody who runs the mesh does. */
  async registerService(node: MeshNode, service: NetworkService): Promise<void> {
    const { platform } = await this.#workload('operator');
    try {
      const channel = platform.dialer.dial(this.#setup.processes.socketOf(node));
      await registryClients(channel).services.register(service, { timeoutMs: 5_000 });
    } finally {
      await platform.stop(stopTimeoutMs);
    }
  }

  /** Ends all that are left: clients first. */
  async end(): Promise<void> {
    await Promise.all([...this.#clients].map((stop) => stop()));
    await Promise.all([...this.#endpoints].map((stop) => stop()));
  }

  async #workload(
    kind: string,
    given: { readonly name?: string; readonly namespace?: NetworkNamespace } = {},
  ) {
    this.#count += 1;
    const { name = `${kind}-${this.#count}`, namespace } = given;
    const platform = await createPlatform({
      name,
      log: silentLog,
      natsUrl: undefined,
      maxTokenLifetimeMs: this.#lifetimeMs,
      ...(await this.#setup.processes.securityOf(name)),
    });
    return { name, platform, namespace: namespace ?? this.#setup.namespace() };
  }

  #stopOf(
    running: Set<() => Promise<void>>,
    role: RunningRole,
    platform: Platform,
  ): () => Promise<void> {
    const stop = async (): Promise<void> => {
      if (!running.delete(stop)) return;
      await role.stop(stopTimeoutMs);
      await platform.stop(stopTimeoutMs);
    };
    running.add(stop);
    return stop;
  }
}
