// The demo from beginning to end: build, wait for both wires, break something if asked to, ping both ways, look at
// everything, take it all down, and check that nothing is left. What it finds wrong it names; any finding is a failure.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeError } from '../../protocols/errors.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import type { OvsPrograms } from '../../transports/process/open-vswitch.ts';
import { identityOf, type StartedProcesses } from '../../transports/process/process-identity.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { ClientReport } from './client-reports.ts';
import { startMesh } from './demo-mesh.ts';
import { insideCommands, type KeptMesh } from './keep.ts';
import { lastLogLines } from './last-log-lines.ts';
import { findLeftovers, takeCensus } from './leftovers.ts';
import type { Mesh } from './mesh.ts';
import { type DemoSwitches, startSwitches } from './demo-switches.ts';
import { probeWire, type WireProof } from './probe-wire.ts';
import { sabotage, type Sabotage } from './sabotage.ts';
import { createTopology, type DemoPair, type Topology } from './topology.ts';

export interface DemoOptions {
  readonly natsServer: string;
  readonly bus: 'nats' | 'grpc';
  readonly insecure: boolean;
  /** The programs of the switch that carries the wires; undefined: the kernel does. */
  readonly openVSwitch: OvsPrograms | undefined;
  readonly sabotage: Sabotage | undefined;
  /** Resolves when a kept demo is to end; undefined: at once. */
  readonly keep: ((mesh: KeptMesh) => Promise<void>) | undefined;
  readonly onStep: (text: string) => void;
}

export interface DemoResult {
  readonly dataplane: 'kernel' | 'ovs' | 'simulated';
  readonly wires: readonly WireProof[];
  /** What is wrong, each with what was found. */
  readonly findings: readonly string[];
  readonly leftovers: readonly string[];
}

const connectTimeoutMs = 20_000;

export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const netlink = createNetlink();
  const before = await takeCensus(netlink);
  const stateDir = mkdtempSync(join(tmpdir(), 'vwire-demo-'));
  const started: StartedProcesses[] = [];
  const namespaces: NetworkNamespace[] = [];
  const wires: WireProof[] = [];
  const findings: string[] = [];
  try {
    const topology = await createTopology(netlink);
    namespaces.push(...topology.namespaces);
    options.onStep('two nodes and four workloads have their namespaces');
    await runMesh(options, { netlink, topology, stateDir, started, wires, findings });
  } catch (error) {
    findings.push(describeError(error), ...lastLogLines(stateDir));
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
  const leftovers = await findLeftovers({
    before,
    netlink,
    namespaces,
    started,
    paths: [stateDir],
  });
  await netlink.close();
  const dataplane = options.openVSwitch === undefined ? 'kernel' : 'ovs';
  return { dataplane, wires, findings, leftovers };
}

interface Run {
  readonly netlink: Netlink;
  readonly topology: Topology;
  readonly stateDir: string;
  /** Every process that was seen, filled in here. */
  readonly started: StartedProcesses[];
  readonly wires: WireProof[];
  readonly findings: string[];
}

async function runMesh(options: DemoOptions, run: Run): Promise<void> {
  const { topology, stateDir, findings, netlink } = run;
  const switches = await startSwitches(options.openVSwitch, { topology, stateDir, netlink });
  if (switches.byNode.size > 0) options.onStep('an Open vSwitch runs on both nodes');
  run.started.push(switches.started);
  try {
    await runOnSwitches(options, run, switches);
  } catch (error) {
    findings.push(describeError(error), ...lastLogLines(stateDir));
  } finally {
    await switches.stop();
  }
}

async function runOnSwitches(
  options: DemoOptions,
  run: Run,
  switches: DemoSwitches,
): Promise<void> {
  const { topology, stateDir, findings } = run;
  const mesh = await startMesh({
    ...options,
    topology,
    stateDir,
    envOf: (node) => switches.envOf(node),
  });
  try {
    const reports = new Map<DemoPair, ClientReport>();
    for (const pair of topology.pairs) {
      reports.set(pair, await mesh.clients.connected(pair.client.name, connectTimeoutMs));
    }
    options.onStep('both wires are up');
    const expected = new Map([...mesh.supervised].map(([name, { pid }]) => [name, pid]));
    if (options.sabotage !== undefined) {
      await sabotage(options.sabotage, { mesh, topology, reports, netlink: run.netlink });
      options.onStep(`broke on purpose: ${options.sabotage}`);
    }
    for (const [pair, report] of reports) {
      const proof = await probeWire(run.netlink, pair, report);
      run.wires.push(proof);
      findings.push(...proof.findings);
    }
    findings.push(...findLostProcesses(mesh, expected));
    await options.keep?.({
      nodeDir: join(stateDir, topology.nodes[0].name),
      connectionId: [...reports.values()][0]?.connectionId ?? '',
      inside: insideCommands(topology),
    });
  } finally {
    run.started.push(mesh.started);
    await mesh.stop();
    options.onStep('everything has been stopped');
  }
}

/** Processes that ended, or were replaced, although nobody asked them to. */
function findLostProcesses(mesh: Mesh, expected: ReadonlyMap<string, number>): readonly string[] {
  const children = [...mesh.processes.values()]
    .filter(({ isRunning }) => !isRunning)
    .map(({ name, pid }) => `${name} (process ${pid}) is not running any more`);
  const supervised = [...expected]
    .filter(([, pid]) => identityOf(pid) === undefined)
    .map(([name, pid]) => {
      const now = mesh.supervised.get(name);
      const next = now === undefined || now.pid === pid ? '' : `, replaced by process ${now.pid}`;
      return `${name} (process ${pid}) is not running any more${next}`;
    });
  return [...children, ...supervised];
}
