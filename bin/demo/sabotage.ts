// Breaking a part of the demo on purpose, to prove that the demo notices: a demo that cannot fail shows nothing.

import { NsmError } from '../../protocols/errors.ts';
import type { Netlink } from '../../protocols/ports/netlink.ts';
import type { ClientReport } from './client-reports.ts';
import type { Mesh } from './mesh.ts';
import { setDown } from './namespace-links.ts';
import type { DemoPair, Topology } from './topology.ts';

export const sabotages = ['wire', 'endpoint', 'forwarder'] as const;
export type Sabotage = (typeof sabotages)[number];

export interface SabotageScene {
  readonly mesh: Mesh;
  readonly topology: Topology;
  readonly reports: ReadonlyMap<DemoPair, ClientReport>;
  readonly netlink: Netlink;
}

/** The first pair and the first node are the victims. */
export async function sabotage(part: Sabotage, scene: SabotageScene): Promise<void> {
  const [pair] = scene.topology.pairs;
  const [node] = scene.topology.nodes;
  if (pair === undefined) throw new NsmError('INTERNAL', 'the demo has no wire to break');
  switch (part) {
    case 'wire':
      // The workload's own end is the workload's: nobody repairs it.
      return setDown(
        scene.netlink,
        pair.client.namespace.url,
        scene.reports.get(pair)?.interface ?? '',
      );
    case 'endpoint': {
      const endpoint = scene.mesh.processes.get(pair.endpoint.name);
      endpoint?.kill('SIGKILL');
      await endpoint?.exited;
      return undefined;
    }
    case 'forwarder':
      return killSupervised(scene.mesh, `${node.name}/forwarder`);
  }
}

const killWaitMs = 5_000;

/** Kills the child of a node; a child of ours by way of its supervisor. */
async function killSupervised(mesh: Mesh, name: string): Promise<void> {
  const victim = mesh.supervised.get(name);
  if (victim === undefined) throw new NsmError('NOT_FOUND', `no process ${name} was reported`);
  process.kill(victim.pid, 'SIGKILL');
  const deadline = performance.now() + killWaitMs;
  while (mesh.supervised.get(name)?.pid === victim.pid) {
    if (performance.now() > deadline) {
      throw new NsmError('DEADLINE_EXCEEDED', `${name} was not started again after its end`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
