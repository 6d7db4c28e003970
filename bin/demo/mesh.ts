// The processes of a mesh on this machine: a bus, a registry, nodes (each a manager and a forwarder), Endpoints and
// clients, every one a real process in its namespace. What a process reports is kept, so that whoever runs the mesh
// can say what went wrong with whom. Used by the demo and by the end-to-end tests.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { silentLog } from '../../protocols/ports/log.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import type { Child } from '../../transports/process/child.ts';
import { StartedProcesses } from '../../transports/process/process-identity.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { launch } from '../roles/launch.ts';
import type { PlatformOptions } from '../roles/platform.ts';
import { withLeastPrivilege } from '../roles/privileges.ts';
import { childGraceMs } from '../roles/stop-times.ts';
import { ClientReports, parseReport } from './client-reports.ts';
import { MeshBus } from './mesh-bus.ts';
import { createMeshIdentities, type MeshIdentities, withoutIdentities } from './mesh-identities.ts';

export interface MeshNode {
  readonly name: string;
  readonly namespace: NetworkNamespace;
  /** Its end of the underlay. */
  readonly tunnelIp: string;
}

export interface MeshWorkload {
  readonly name: string;
  /** The node whose manager it talks to. */
  readonly node: MeshNode;
  readonly namespace: NetworkNamespace;
}

/** What `vwire node` prints about its children. */
export interface ChildReport {
  readonly event: 'child';
  readonly child: string;
  readonly pid: number;
  readonly restarts: number;
}

export interface MeshOptions {
  readonly domain: string;
  readonly installation: string;
  /** Where the bus and the registry run. */
  readonly hub: MeshNode;
  /** Between the parts, nats by default. */
  readonly bus?: 'nats' | 'grpc';
  readonly busPort: number;
  readonly stateDir: string;
  readonly natsServer: string;
  /** Without identities, TLS and tokens. */
  readonly insecure?: boolean;
  /** Where processes get theirs; a server in this process by default. */
  readonly identities?: MeshIdentities;
  /** Life of an SVID, 1 h by default. */
  readonly svidLifetimeMs?: number;
  /** For every process. */
  readonly env?: Environment;
  /** The compiled or source file to run; this very program by default. */
  readonly executable?: string;
}

export type Environment = Readonly<Record<string, string>>;

/** In the order in which they end. */
const kinds = ['client', 'endpoint', 'node', 'registry'] as const;
type Kind = (typeof kinds)[number];

export interface ProcessStart {
  readonly kind: Kind;
  readonly name: string;
  /** As on the command line, with operands. */
  readonly role: readonly string[];
  readonly namespace: NetworkNamespace;
  readonly env: Environment;
  readonly onLine?: (line: string) => void;
}

const readyTimeoutMs = 30_000;

export class Mesh {
  /** Children of this process by name, in the order of their start; a name started again stands for the new one. */
  readonly processes = new Map<string, Child>();
  /** Every process that was seen, supervised children included. */
  readonly started = new StartedProcesses();
  /** Latest report about each supervised child, by `<node>/<child>`. */
  readonly supervised = new Map<string, ChildReport>();
  readonly clients = new ClientReports();
  readonly #options: MeshOptions;
  readonly #kindOf = new Map<Child, Kind>();
  readonly #identities: MeshIdentities;
  /** Who may do what on the bus. */
  readonly rights: MeshBus;
  /** What is started from now on; undefined for this very program. */
  executable: string | undefined;
  /** The one that runs, or ran last. */
  bus: NatsServer | undefined;

  constructor(options: MeshOptions) {
    this.#options = options;
    this.executable = options.executable;
    this.#identities = identitiesFor(options);
    this.rights = new MeshBus({ ...options, identities: this.#identities });
  }

  get #isOnBus(): boolean {
    return this.#options.bus !== 'grpc';
  }

  get #registryUrl(): string {
    const { domain, hub } = this.#options;
    return this.#isOnBus ? `nats://${domain}/registry/registry` : `tcp://${hub.tunnelIp}:5002`;
  }

  socketOf(node: MeshNode): string {
    return `unix://${join(this.#options.stateDir, node.name, 'nsm.io.sock')}`;
  }

  /** Again after its end: on the same port, with the same store. */
  async startBus(): Promise<NatsServer> {
    const { natsServer, hub, busPort } = this.#options;
    const { started, ...how } = await this.rights.prepare('nats');
    const bus = await startNatsServer({
      binary: natsServer,
      address: hub.tunnelIp,
      port: busPort,
      ...how,
      spawn: (command, args, options) =>
        spawnInNamespace(hub.namespace.url, withLeastPrivilege('bus', [command, ...args]), options),
    });
    started(bus);
    this.bus = bus;
    this.started.add(bus.pid);
    return bus;
  }

  startRegistry(): Promise<Child> {
    return this.start({
      kind: 'registry',
      name: 'registry',
      role: ['registry'],
      namespace: this.#options.hub.namespace,
      env: { NSM_LISTEN_ON: this.#registryUrl },
    });
  }

  startNode({ name, namespace, tunnelIp }: MeshNode, env: Environment = {}): Promise<Child> {
    return this.start({
      kind: 'node',
      name,
      role: ['node'],
      namespace,
      env: {
        VWIRE_NODE: name,
        NSM_TUNNEL_IP: tunnelIp,
        NSM_REGISTRY_URL: this.#registryUrl,
        ...env,
      },
      onLine: (line) => this.#keepChildReport(name, line),
    });
  }

  startEndpoint({ name, node, namespace }: MeshWorkload, env: Environment): Promise<Child> {
    return this.start({
      kind: 'endpoint',
      name,
      role: ['nse', 'icmp-responder'],
      namespace,
      env: {
        NSM_NAME: name,
        NSM_CONNECT_TO: this.socketOf(node),
        NSM_BASE_DIR: join(this.#options.stateDir, name),
        NSM_UNREGISTER_ITSELF: 'true',
        ...env,
      },
    });
  }

  /** Resolves when the client runs; `clients` tells when it is connected. */
  startClient({ name, node, namespace }: MeshWorkload, env: Environment): Promise<Child> {
    return this.start({
      kind: 'client',
      name,
      role: ['nsc'],
      namespace,
      env: { NSM_NAME: name, NSM_CONNECT_TO: this.socketOf(node), ...env },
      onLine: (line) => this.clients.keep(name, line),
    });
  }

  /** Any role; resolves once it is ready. */
  async start({ kind, name, namespace, ...process }: ProcessStart): Promise<Child> {
    const { hub } = this.#options;
    const { executable } = this;
    const stateDir = join(this.#options.stateDir, name);
    mkdirSync(stateDir, { recursive: true });
    const role = process.role[0] ?? kind;
    const identity = await this.#identities.of(role, name);
    const bus = await this.rights.admit(role, name, process.env['NSM_LISTEN_ON']);
    const child = launch({
      ...process,
      name,
      stateDir,
      env: {
        VWIRE_DOMAIN: this.#options.domain,
        VWIRE_INSTALLATION: this.#options.installation,
        VWIRE_NATS_URL: `nats://${hub.tunnelIp}:${this.#options.busPort}`,
        ...(this.#isOnBus ? {} : { VWIRE_BUS: 'grpc' }),
        ...identity,
        ...bus,
        ...this.#options.env,
        ...process.env,
      },
      ...(executable === undefined ? {} : { executable }),
      spawn: (command, args, how) => spawnInNamespace(namespace.url, [command, ...args], how),
    });
    this.processes.set(name, child);
    this.#kindOf.set(child, kind);
    this.started.add(child.pid);
    await child.ready(readyTimeoutMs);
    return child;
  }

  /** For whoever talks to this mesh from the process that runs it. */
  async securityOf(name: string): Promise<Pick<PlatformOptions, 'insecure' | 'workloadApi'>> {
    const workloadApi = (await this.#identities.of('tool', name))[endpointVariable];
    return workloadApi === undefined ? { insecure: true } : { insecure: false, workloadApi };
  }

  /** Ends clients first, then Endpoints, nodes, registry and bus, each with its own chance to clean up. */
  async stop(): Promise<void> {
    await this.endAll(kinds);
    await this.bus?.stop();
    await this.rights.close();
    await this.#identities.close();
  }

  /** Ends the processes of these kinds, kind by kind. */
  async endAll(ended: readonly Kind[]): Promise<void> {
    for (const kind of ended) {
      const group = [...this.#kindOf.keys()].filter((child) => this.#kindOf.get(child) === kind);
      await Promise.all(group.map((child) => child.stop(childGraceMs)));
    }
  }

  #keepChildReport(node: string, line: string): void {
    const report = parseReport<ChildReport>(line);
    if (report?.event !== 'child') return;
    this.supervised.set(`${node}/${report.child}`, report);
    this.started.add(report.pid);
  }
}

function identitiesFor(options: MeshOptions): MeshIdentities {
  const { domain, stateDir, insecure, identities, svidLifetimeMs } = options;
  if (insecure === true) return withoutIdentities;
  if (identities !== undefined) return identities;
  return createMeshIdentities({
    trustDomain: domain,
    stateDir,
    log: silentLog,
    ...(svidLifetimeMs === undefined ? {} : { svidLifetimeMs }),
  });
}
