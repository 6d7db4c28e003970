// The machine room of a chaos run: a hub with bus and registry, nodes on a switch, all of them real processes in
// namespaces. Invariant: whatever happened to them, closing ends every process, a stopped one too, lets go of every
// namespace, and names what is left.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastLogLines } from '../../bin/demo/last-log-lines.ts';
import { type Census, findLeftovers, takeCensus } from '../../bin/demo/leftovers.ts';
import { type Environment, Mesh, type MeshNode } from '../../bin/demo/mesh.ts';
import { nodeRoles } from '../../bin/roles/node-roles.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { tracesIn } from '../../test/sandbox/mesh-traces.ts';
import { Workloads } from '../../test/sandbox/mesh-workloads.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import {
  createNetworkNamespace,
  type NetworkNamespace,
} from '../../transports/netlink/network-namespace.ts';
import type { Child } from '../../transports/process/child.ts';
import { Bus } from './bus.ts';
import { IdentityProcess } from './identity-process.ts';
import { type NodeRole, type Part, partsOf, roleProcessName } from './parts.ts';
import type { OtherReleases } from './releases.ts';
import { createUnderlay, type Underlay } from './underlay.ts';

export interface StageOptions {
  readonly nodes: 2 | 3;
  readonly busServers: 1 | 3;
  /** Between the parts, nats by default; over gRPC there is no bus. */
  readonly partsMeetOver?: 'nats' | 'grpc';
  /** Of those that this process gives out, 1 h by default. */
  readonly svidLifetimeMs?: number;
  /** For every process. */
  readonly env?: Environment;
  /** Of the tokens of processes and of workloads in this one; 10 minutes by default. */
  readonly lifetimeMs?: number;
  /** The compiled or source file to run; this very program by default. */
  readonly executable?: string;
  /** What else parts may be started from. */
  readonly otherReleases?: OtherReleases;
  /** Identities come from a process that can be killed, not from this one. */
  readonly identityProcess?: boolean;
  /** Manager and forwarder are no children of `vwire node`, so that each can be of another release. */
  readonly rolesApart?: boolean;
}

export type Release = 'own' | keyof OtherReleases;

export interface Stage {
  readonly netlink: Netlink;
  readonly nodes: readonly MeshNode[];
  readonly underlay: Underlay;
  readonly bus: Bus;
  readonly mesh: Mesh;
  readonly workloads: Workloads;
  readonly parts: readonly Part[];
  readonly stateDir: string;
  /** The compiled file of a release; undefined for this very program. */
  executableOf(release: Release): string | undefined;
  readonly namespace: () => NetworkNamespace;
  /** Never the same twice, so that nothing is taken for what was before. */
  readonly unique: (name: string) => string;
  /** What vwire has in the nodes' namespaces; one line per object. */
  traces(): Promise<readonly string[]>;
  /** Last warnings and errors of every process. */
  logLines(): readonly string[];
  /** Ends everything; what is left is named. */
  close(): Promise<readonly string[]>;
}

let stages = 0;

export async function createStage(options: StageOptions): Promise<Stage> {
  const netlink = createNetlink();
  const before = await takeCensus(netlink);
  const room = new Room(options, netlink, before);
  try {
    return await room.start();
  } catch (error) {
    process.stderr.write(`${room.logLines().join('\n')}\n`);
    await room.close();
    throw error;
  }
}

class Room {
  readonly #options: StageOptions;
  readonly #domain = `chaos-${process.pid}-${(stages += 1)}`;
  readonly #netlink: Netlink;
  readonly #before: Census;
  readonly #namespaces: NetworkNamespace[] = [];
  readonly #stateDir = mkdtempSync(join(tmpdir(), 'vwire-chaos-'));
  readonly #hub: MeshNode;
  readonly #nodes: readonly MeshNode[];
  readonly #bus: Bus;
  readonly #identity: IdentityProcess | undefined;
  readonly #mesh: Mesh;
  readonly #workloads: Workloads;
  #parts: readonly Part[] = [];
  #names = 0;

  constructor(options: StageOptions, netlink: Netlink, before: Census) {
    this.#options = options;
    this.#netlink = netlink;
    this.#before = before;
    this.#hub = { name: 'hub', namespace: this.#namespace(), tunnelIp: '172.31.255.254' };
    this.#nodes = Array.from({ length: options.nodes }, (_, at) => ({
      name: `node-${at + 1}`,
      namespace: this.#namespace(),
      tunnelIp: `172.31.255.${at + 1}`,
    }));
    const natsServer = process.env['VWIRE_NATS_SERVER'] ?? 'nats-server';
    const stateDir = this.#stateDir;
    const { lifetimeMs } = options;
    this.#bus = new Bus({
      hub: this.#hub,
      servers: options.busServers,
      natsServer,
      directory: stateDir,
      rights: () => this.#mesh.rights,
    });
    // A release from before there were identities could not be joined.
    const insecure = options.rolesApart === true;
    if (options.identityProcess === true && !insecure) {
      const nodes = this.#nodes.map(({ name }) => name);
      this.#identity = new IdentityProcess({ trustDomain: this.#domain, stateDir, nodes });
    }
    this.#mesh = new Mesh({
      domain: this.#domain,
      installation: this.#domain,
      hub: this.#hub,
      busPort: 4222,
      bus: options.partsMeetOver ?? 'nats',
      stateDir,
      natsServer,
      insecure,
      ...(this.#identity === undefined ? {} : { identities: this.#identity }),
      ...(options.svidLifetimeMs === undefined ? {} : { svidLifetimeMs: options.svidLifetimeMs }),
      env: {
        VWIRE_NATS_URL: this.#bus.url,
        ...(lifetimeMs === undefined ? {} : { NSM_MAX_TOKEN_LIFETIME: `${lifetimeMs}ms` }),
        ...options.env,
      },
      ...(options.executable === undefined ? {} : { executable: options.executable }),
    });
    this.#workloads = new Workloads({
      processes: this.#mesh,
      stateDir,
      namespace: () => this.#namespace(),
      ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
    });
  }

  async start(): Promise<Stage> {
    const underlay = await createUnderlay(this.#netlink, this.#hub, this.#nodes);
    await this.#identity?.start();
    if (this.#options.partsMeetOver !== 'grpc') await this.#bus.startAll();
    await this.#mesh.startRegistry();
    const startRole = this.#options.rolesApart === true ? this.#startRole.bind(this) : undefined;
    await Promise.all(this.#nodes.map((node) => this.#startNode(node)));
    this.#parts = partsOf({
      mesh: this.#mesh,
      bus: this.#bus,
      identity: this.#identity,
      nodes: this.#nodes,
      startRole,
    });
    return {
      netlink: this.#netlink,
      nodes: this.#nodes,
      underlay,
      bus: this.#bus,
      mesh: this.#mesh,
      workloads: this.#workloads,
      parts: this.#parts,
      stateDir: this.#stateDir,
      executableOf: (release) => this.#executableOf(release),
      namespace: () => this.#namespace(),
      unique: (name) => `${name}-${(this.#names += 1)}`,
      traces: () => tracesIn(this.#netlink, this.#nodes),
      logLines: () => this.logLines(),
      close: () => this.close(),
    };
  }

  logLines(): readonly string[] {
    return lastLogLines(this.#stateDir);
  }

  async close(): Promise<readonly string[]> {
    for (const part of this.#parts) part.signal('SIGCONT');
    await this.#workloads.end().catch(() => {});
    await this.#mesh.stop();
    await this.#bus.stop();
    rmSync(this.#stateDir, { recursive: true, force: true });
    const left = await findLeftovers({
      before: this.#before,
      netlink: this.#netlink,
      started: [this.#mesh, this.#bus, this.#identity].flatMap((each) => each?.started ?? []),
      namespaces: this.#namespaces,
      paths: [this.#stateDir],
    });
    await this.#netlink.close();
    return left;
  }

  async #startNode(node: MeshNode): Promise<void> {
    if (this.#options.rolesApart !== true) {
      await this.#mesh.startNode(node);
      return;
    }
    await this.#startRole(node, 'nsmgr');
    await this.#startRole(node, 'forwarder');
  }

  #startRole(node: MeshNode, role: NodeRole): Promise<Child> {
    const { name, namespace, tunnelIp } = node;
    const stateDir = join(this.#stateDir, name);
    mkdirSync(stateDir, { recursive: true });
    return this.#mesh.start({
      kind: 'node',
      name: roleProcessName(node, role),
      role: [role],
      namespace,
      env: {
        ...nodeRoles({ node: name, domain: this.#domain, stateDir })[role],
        VWIRE_STATE_DIR: stateDir,
        ...(role === 'forwarder' ? { NSM_TUNNEL_IP: tunnelIp } : {}),
      },
    });
  }

  #executableOf(release: Release): string | undefined {
    const { executable, otherReleases } = this.#options;
    if (release === 'own') return executable;
    const found = otherReleases?.[release];
    if (found === undefined) throw new Error(`the stage was given no ${release} release`);
    return found;
  }

  #namespace(): NetworkNamespace {
    const made = createNetworkNamespace();
    this.#namespaces.push(made);
    return made;
  }
}
