// The demo where no namespace can be made: the same mesh in one process over simulated kernels. What a ping is there: a
// walk along the wire as the worlds hold it, interface by interface and tunnel by tunnel. Nothing of it is real, and
// everything that is shown says so.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SimulatedWire } from '../../dataplane/simulated/simulated-world.ts';
import { describeError } from '../../protocols/errors.ts';
import type { KeptMesh } from './keep.ts';
import { pingsPerWay, type WireProof } from './probe-wire.ts';
import type { DemoResult } from './run-demo.ts';
import type { Sabotage } from './sabotage.ts';
import {
  type Connected,
  forwarderNameOf,
  namespaceOf,
  simulatedInstallation,
  simulatedStage,
  type SimulatedMesh,
  type SimulatedNode,
  type SimulatedPair,
  startSimulatedMesh,
} from './simulated-mesh.ts';

export interface SimulatedDemoOptions {
  readonly sabotage: Sabotage | undefined;
  readonly keep: ((mesh: KeptMesh) => Promise<void>) | undefined;
  readonly onStep: (text: string) => void;
}

const connectTimeoutMs = 20_000;
const interfaceName = 'nsm-1';

export async function runSimulatedDemo(options: SimulatedDemoOptions): Promise<DemoResult> {
  const stateDir = mkdtempSync(join(tmpdir(), 'vwire-demo-'));
  const stage = simulatedStage();
  const wires: WireProof[] = [];
  const findings: string[] = [];
  try {
    const mesh = await startSimulatedMesh(stage, stateDir);
    options.onStep('registry, managers, forwarders, Endpoints and clients run in this process');
    try {
      const connected = new Map<SimulatedPair, Connected>();
      for (const pair of stage.pairs) {
        connected.set(pair, await mesh.connected(pair, connectTimeoutMs));
      }
      options.onStep('both wires are up');
      await sabotageSimulated(options, mesh, stage.pairs[0]);
      for (const [pair, each] of connected) wires.push(walkWire(pair, each));
      findings.push(
        ...wires.flatMap((wire) => wire.findings),
        ...[...mesh.stopped].map((name) => `${name} is not running any more`),
      );
      await options.keep?.({
        nodeDir: join(stateDir, stage.nodes[0].name),
        connectionId: `${stage.pairs[0]?.client.name}-0`,
        inside: [],
      });
    } finally {
      await mesh.stop();
      options.onStep('everything has been stopped');
    }
  } catch (error) {
    findings.push(describeError(error));
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
  const leftovers = stage.nodes
    .filter(({ world }) => world.objectCount() > 0)
    .map(({ name, world }) => `${world.objectCount()} ends of wires on ${name}`);
  return { dataplane: 'simulated', wires, findings, leftovers };
}

/** As with real processes, the first pair and the first node are the victims. */
async function sabotageSimulated(
  { sabotage, onStep }: SimulatedDemoOptions,
  mesh: SimulatedMesh,
  pair: SimulatedPair | undefined,
): Promise<void> {
  if (sabotage === undefined || pair === undefined) return;
  const { client, endpoint } = pair;
  if (sabotage === 'wire') {
    client.node.world.setInterfaceUp(namespaceOf(client.name), interfaceName, false);
  } else {
    await mesh.stopPart(sabotage === 'endpoint' ? endpoint.name : forwarderNameOf(client.node));
  }
  onStep(`broke on purpose: ${sabotage}`);
}

function walkWire(pair: SimulatedPair, { connection, afterMs }: Connected): WireProof {
  const ip = connection.context?.ipContext;
  const path = connection.path?.pathSegments ?? [];
  const broken = whyBroken(pair, new Map(path.map(({ name, id }) => [name, id])));
  const sent = 2 * pingsPerWay;
  return {
    service: pair.service,
    path: path.map(({ name }) => name),
    sent,
    received: broken === undefined ? sent : 0,
    tcpBytes: undefined,
    requestMs: Math.round(afterMs * 10) / 10,
    clientAddress: hostOf(ip?.srcIpAddrs),
    endpointAddress: hostOf(ip?.dstIpAddrs),
    rttMs: undefined,
    findings: broken === undefined ? [] : [`${pair.service}: ${broken}`],
  };
}

function whyBroken(
  { client, endpoint }: SimulatedPair,
  ids: ReadonlyMap<string, string>,
): string | undefined {
  const near = wireAt(client.node, ids);
  const far = wireAt(endpoint.node, ids);
  for (const [wire, node] of [
    [near, client.node],
    [far, endpoint.node],
  ] as const) {
    if (wire === undefined) return `${node.name} holds no wire`;
    if (!wire.isJoined) return `the ends on ${node.name} are not joined`;
  }
  if (client.node !== endpoint.node && vniOf(near?.endpoint) !== vniOf(far?.client)) {
    return 'the two nodes use different tunnels';
  }
  return (
    whyNotUp(client.node, client.name, near?.client) ??
    whyNotUp(endpoint.node, endpoint.name, far?.endpoint)
  );
}

function wireAt(node: SimulatedNode, ids: ReadonlyMap<string, string>): SimulatedWire | undefined {
  const forwarder = forwarderNameOf(node);
  const wires = node.world.wiresOf(`${simulatedInstallation} ${forwarder}`);
  return wires.get(ids.get(forwarder) ?? '');
}

function vniOf(side: SimulatedWire['client']): number | undefined {
  return side?.end.kind === 'vxlan' ? side.end.vni : undefined;
}

function whyNotUp(
  { world }: SimulatedNode,
  workload: string,
  side: SimulatedWire['client'],
): string | undefined {
  const name = side?.end.kind === 'kernel' ? side.end.interfaceName : '';
  const found = world.interfaceIn(namespaceOf(workload), name);
  if (found === undefined) return `${workload} has no interface`;
  return found.isUp ? undefined : `interface ${name} of ${workload} is down`;
}

function hostOf(addresses: readonly string[] | undefined): string {
  return (addresses?.[0] ?? '').split('/')[0] ?? '';
}
