// The VPP of each node of the demo: a process in a folder of the demo's, in the namespace of the node. Its way to the other
// node it gets from the forwarder, over the node's own link.

import { join } from 'node:path';
import {
  createPrivateVpp,
  type PrivateVpp,
  type VppPrograms,
} from '../../transports/process/private-vpp.ts';
import { StartedProcesses } from '../../transports/process/process-identity.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import type { Environment, MeshNode } from './mesh.ts';
import type { Topology } from './topology.ts';

export interface DemoVpps {
  readonly started: StartedProcesses;
  /** By the node's name. */
  readonly byNode: ReadonlyMap<string, PrivateVpp>;
  readonly envOf: (node: MeshNode) => Environment;
  stop(): Promise<void>;
}

/** None where no program is given. */
export async function startVpps(
  programs: VppPrograms | undefined,
  place: { readonly topology: Pick<Topology, 'nodes'>; readonly stateDir: string },
): Promise<DemoVpps> {
  const { topology, stateDir } = place;
  const nodes = programs === undefined ? [] : topology.nodes;
  const vpps = new Map<string, PrivateVpp>();
  const stop = async (): Promise<void> => {
    for (const each of vpps.values()) await each.stop();
  };
  try {
    for (const { name, namespace } of nodes) {
      if (programs === undefined) continue;
      const vpp = createPrivateVpp({
        programs,
        folder: join(stateDir, name, 'vpp'),
        spawn: (command, args, how) => spawnInNamespace(namespace.url, [command, ...args], how),
      });
      vpps.set(name, vpp);
      await vpp.start();
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const started = new StartedProcesses();
  for (const { pid } of vpps.values()) if (pid !== undefined) started.add(pid);
  return {
    byNode: vpps,
    started,
    envOf: ({ name }) => environmentFor(vpps.get(name)),
    stop,
  };
}

function environmentFor(vpp: PrivateVpp | undefined): Environment {
  if (vpp === undefined) return {};
  return {
    VWIRE_DATAPLANE: 'vpp',
    NSM_VPP_API_SOCKET: vpp.apiSocket,
    VWIRE_VPP_STATISTICS: vpp.statisticsSocket,
  };
}
