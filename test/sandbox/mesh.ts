// A mesh of real processes for the end-to-end tests: two nodes joined by an underlay, bus, registry, managers and
// forwarders as the demo starts them, and workloads on top, as processes or composed in the test's own process.
// Invariants: what a test starts ends with the test; then no node holds an object of vwire, and after the mesh's own
// end no process, namespace, link or file of it is left. Whatever is left fails the test by name.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';

import { type DemoSwitches, startSwitches } from '../../bin/demo/demo-switches.ts';
import { type DemoVpps, startVpps } from '../../bin/demo/demo-vpps.ts';
import { lastLogLines } from '../../bin/demo/last-log-lines.ts';
import { findLeftovers, takeCensus } from '../../bin/demo/leftovers.ts';
import { type Environment, Mesh, type MeshNode } from '../../bin/demo/mesh.ts';
import { joinUnderlay } from '../../bin/demo/namespace-links.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import {
  createNetworkNamespace,
  type NetworkNamespace,
} from '../../transports/netlink/network-namespace.ts';
import { findOvsPrograms } from '../../transports/process/open-vswitch.ts';
import { findVpp } from '../../transports/process/private-vpp.ts';
import { tracesIn } from './mesh-traces.ts';
import { Workloads } from './mesh-workloads.ts';
import { whyNoNamespaces } from './namespaces.ts';
import { whyNoOvs } from './ovs.ts';
import { whyNoVppNode } from './vpp.ts';

const repository = join(import.meta.dirname, '../..');

export interface TestMeshOptions {
  /** For every process. */
  readonly env?: Environment;
  /** Without identities. */
  readonly insecure?: boolean;
  /** An Open vSwitch on each node carries the wires of its forwarder, which the tests share. */
  readonly withOpenVSwitch?: boolean;
  /** As well, a VPP. */
  readonly withVpp?: boolean;
}

/** One vwire on the nodes: its processes and its workloads. */
export interface Installation {
  readonly name: string;
  readonly processes: Mesh;
  readonly workloads: Workloads;
  readonly stateDir: string;
}

export interface TestMesh extends Installation {
  readonly netlink: Netlink;
  readonly nodes: readonly [MeshNode, MeshNode];
  /** A namespace that ends with the mesh, unless the test closes it before. */
  readonly namespace: () => NetworkNamespace;
  /** Another installation on the same nodes, with a bus and a registry of its own. */
  readonly addInstallation: (name: string, busPort: number) => Promise<Installation>;
  /** Where the mesh has some. */
  readonly switches: DemoSwitches;
  readonly vpps: DemoVpps;
  /** What vwire, of any installation, has in the nodes' namespaces; one line per object. */
  readonly traces: () => Promise<readonly string[]>;
}

/** Tests that share a mesh; skipped, with the reason in their title, where no namespaces can be made. */
export function describeMesh(
  title: string,
  body: (mesh: () => TestMesh) => void,
  options: TestMeshOptions = {},
): void {
  const reason = whyNoMesh(options);
  const shown =
    reason === undefined ? title : `${title} (needs what this machine lacks: ${reason})`;
  describe.skipIf(reason !== undefined)(shown, () => body(useMesh(options)));
}

function whyNoMesh({ withOpenVSwitch = false, withVpp = false }: TestMeshOptions) {
  if (withOpenVSwitch) return whyNoOvs();
  return withVpp ? whyNoVppNode() : whyNoNamespaces();
}

/** Before all tests a mesh, after each test no workload and no trace, after all nothing. */
function useMesh(options: TestMeshOptions): () => TestMesh {
  let stage: Stage | undefined;
  let mesh: TestMesh | undefined;
  const get = (): TestMesh => {
    if (mesh === undefined) throw new Error('the mesh is made before the tests run');
    return mesh;
  };
  beforeAll(async () => {
    const prepare = ['bin/bootstrap.mjs', 'prepare'];
    await promisify(execFile)(process.execPath, prepare, { cwd: repository });
    stage = await Stage.create();
    mesh = await stage.populate(options);
  }, 200_000);
  afterEach(async ({ task }) => {
    if (stage === undefined) return;
    if (task.result?.state === 'fail') process.stderr.write(`${stage.logLines().join('\n')}\n`);
    await stage.endWorkloads();
    expect(await get().traces(), 'left in the nodes').toEqual([]);
  });
  afterAll(async () => {
    expect((await stage?.close()) ?? [], 'left behind by the mesh').toEqual([]);
  }, 60_000);
  return get;
}

/** The nodes and everything that lives on them. */
class Stage {
  readonly #netlink = createNetlink();
  readonly #namespaces: NetworkNamespace[] = [];
  readonly #installations: Installation[] = [];
  readonly #nodes = [this.#node(1), this.#node(2)] as const;
  readonly #folder = mkdtempSync(join(tmpdir(), 'vwire-e2e-'));
  #switches: DemoSwitches | undefined;
  #vpps: DemoVpps | undefined;
  #before: Awaited<ReturnType<typeof takeCensus>> = { links: [] };

  static async create(): Promise<Stage> {
    const stage = new Stage();
    stage.#before = await takeCensus(stage.#netlink);
    const [first, second] = stage.#nodes.map(({ namespace, tunnelIp }) => ({
      namespace: namespace.url,
      address: `${tunnelIp}/24`,
    }));
    if (first !== undefined && second !== undefined) {
      await joinUnderlay(stage.#netlink, first, second);
    }
    return stage;
  }

  async populate(options: TestMeshOptions): Promise<TestMesh> {
    const netlink = this.#netlink;
    const nodes = this.#nodes;
    const found = options.withOpenVSwitch === true ? findOvsPrograms(process.env) : undefined;
    if (typeof found === 'string') throw new Error(found);
    const place = { topology: { nodes }, stateDir: this.#folder, netlink };
    const switches = await startSwitches(found, place);
    this.#switches = switches;
    const vpp = options.withVpp === true ? findVpp(process.env) : undefined;
    if (typeof vpp === 'string') throw new Error(vpp);
    const vpps = await startVpps(vpp, place);
    this.#vpps = vpps;
    return {
      switches,
      vpps,
      ...(await this.#install(`e2e-${process.pid}`, 4222, options)),
      netlink,
      nodes,
      namespace: () => this.#namespace(),
      addInstallation: (name, busPort) => this.#install(name, busPort, options),
      traces: () => tracesIn(netlink, nodes),
    };
  }

  async endWorkloads(): Promise<void> {
    for (const { workloads, processes } of this.#installations) {
      await workloads.end();
      await processes.endAll(['client', 'endpoint']);
    }
  }

  logLines(): readonly string[] {
    return this.#installations.flatMap(({ stateDir }) => lastLogLines(stateDir));
  }

  /** Ends all; what is left is named. */
  async close(): Promise<readonly string[]> {
    await this.endWorkloads();
    await Promise.all(this.#installations.map(({ processes }) => processes.stop()));
    await this.#switches?.stop();
    await this.#vpps?.stop();
    const paths = [this.#folder, ...this.#installations.map(({ stateDir }) => stateDir)];
    for (const path of paths) rmSync(path, { recursive: true, force: true });
    const left = await findLeftovers({
      before: this.#before,
      netlink: this.#netlink,
      started: [
        ...[this.#switches, this.#vpps].flatMap((each) => each?.started ?? []),
        ...this.#installations.map(({ processes }) => processes.started),
      ],
      namespaces: this.#namespaces,
      paths,
    });
    await this.#netlink.close();
    return left;
  }

  async #install(name: string, busPort: number, options: TestMeshOptions): Promise<Installation> {
    const stateDir = mkdtempSync(join(tmpdir(), 'vwire-e2e-'));
    const processes = new Mesh({
      domain: name,
      installation: name,
      hub: this.#nodes[0],
      busPort,
      stateDir,
      natsServer: process.env['VWIRE_NATS_SERVER'] ?? 'nats-server',
      executable: join(repository, 'dist/bin/vwire.js'),
      ...options,
    });
    const workloads = new Workloads({ processes, stateDir, namespace: () => this.#namespace() });
    const installation = { name, processes, workloads, stateDir };
    this.#installations.push(installation);
    await processes.startBus();
    await processes.startRegistry();
    const envOf = (node: MeshNode): Environment => ({
      ...this.#switches?.envOf(node),
      ...this.#vpps?.envOf(node),
    });
    await Promise.all(this.#nodes.map((node) => processes.startNode(node, envOf(node))));
    return installation;
  }

  #node(number: number): MeshNode {
    const namespace = this.#namespace();
    return { name: `node-${number}`, namespace, tunnelIp: `172.31.255.${number}` };
  }

  #namespace(): NetworkNamespace {
    const made = createNetworkNamespace();
    this.#namespaces.push(made);
    return made;
  }
}
