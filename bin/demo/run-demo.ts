// The demo from beginning to end: build, wait for both wires, break something if asked to, ping both ways, look at
// everything, take it all down, and check that nothing is left. What it finds wrong it names; any finding is a failure.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeError } from '../../protocols/errors.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import type { OvsPrograms } from '../../transports/process/open-vswitch.ts';
import type { VppPrograms } from '../../transports/process/private-vpp.ts';
import { identityOf, type StartedProcesses } from '../../transports/process/process-identity.ts';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { ClientReport } from './client-reports.ts';
import { startMesh } from './demo-mesh.ts';
import { insideCommands, type KeptMesh } from './keep.ts';
import { lastLogLines } from './last-log-lines.ts';
import { findLeftovers, takeCensus } from './leftovers.ts';
import type { Mesh } from './mesh.ts';
import { type DemoSwitches, startSwitches, type SwitchPlace } from './demo-switches.ts';
import { startVpps } from './demo-vpps.ts';
import { probeWire, type WireProof } from './probe-wire.ts';
import { sabotage, type Sabotage } from './sabotage.ts';
import { createTopology, type DemoPair, type Topology } from './topology.ts';

export interface DemoOptions {
  readonly natsServer: string;
  readonly bus: 'nats' | 'grpc';
  readonly insecure: boolean;
  /** What carries the wires, with its programs. */
  readonly carrier: DemoCarrier;
  readonly sabotage: Sabotage | undefined;
  /** Resolves when a kept demo is to end; undefined: at once. */
  readonly keep: ((mesh: KeptMesh) => Promise<void>) | undefined;
  readonly onStep: (text: string) => void;
}

export type DemoCarrier =
  | { readonly kind: 'kernel' }
  | { readonly kind: 'ovs'; readonly programs: OvsPrograms }
  | { readonly kind: 'vpp'; readonly programs: VppPrograms };

export interface DemoResult {
  readonly dataplane: DemoCarrier['kind'] | 'simulated';
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
  return { dataplane: options.carrier.kind, wires, findings, leftovers };
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
  const carriers = await startCarriers(options.carrier, { topology, stateDir, netlink });
  const { kind } = options.carrier;
  if (kind !== 'kernel') options.onStep(`${carrierNames[kind]} runs on both nodes`);
  run.started.push(carriers.started);
  try {
    await runOnCarriers(options, run, carriers);
  } catch (error) {
    findings.push(describeError(error), ...lastLogLines(stateDir));
  } finally {
    await carriers.stop();
  }
}

const carrierNames = { ovs: 'an Open vSwitch', vpp: 'a VPP' } as const;

type Carriers = Pick<DemoSwitches, 'started' | 'envOf' | 'stop'>;

function startCarriers(carrier: DemoCarrier, place: SwitchPlace): Promise<Carriers> {
  if (carrier.kind === 'vpp') return startVpps(carrier.programs, place);
  return startSwitches(carrier.kind === 'ovs' ? carrier.programs : undefined, place);
}

async function runOnCarriers(options: DemoOptions, run: Run, carriers: Carriers): Promise<void> {
  const { topology, stateDir, findings } = run;
  const mesh = await startMesh({
    ...options,
    topology,
    stateDir,
    envOf: (node) => carriers.envOf(node),
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
