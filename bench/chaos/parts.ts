// The parts of the control plane as chaos sees them: each can be killed and is started again, by its supervisor or by
// hand, and can be stopped and continued. Only process ids that the mesh itself reported are ever signalled.

import type { Mesh, MeshNode } from '../../bin/demo/mesh.ts';
import { eventually } from '../../test/sandbox/eventually.ts';
import type { Child } from '../../transports/process/child.ts';
import type { Bus } from './bus.ts';
import type { IdentityProcess } from './identity-process.ts';

export type NodeRole = 'nsmgr' | 'forwarder';

export interface Part {
  /** `node-1/nsmgr`, `registry`, `bus-1`, `identity`. */
  readonly name: string;
  readonly kind: NodeRole | 'registry' | 'bus' | 'identity';
  readonly pid: () => number;
  signal(signal: NodeJS.Signals): void;
  /** Killed and started again; resolves when the new process runs. */
  kill(): Promise<void>;
  /** Ends in order and starts again. */
  restart(): Promise<void>;
}

const startTimeoutMs = 30_000;
const stopGraceMs = 20_000;

export function partsOf(setup: {
  readonly mesh: Mesh;
  readonly bus: Bus;
  /** Absent: identities come from this very process, or there are none. */
  readonly identity: IdentityProcess | undefined;
  readonly nodes: readonly MeshNode[];
  /** Starts a node's role as a process of its own; absent: `vwire node` supervises both. */
  readonly startRole: ((node: MeshNode, role: NodeRole) => Promise<Child>) | undefined;
}): readonly Part[] {
  const { mesh, bus, identity, nodes, startRole } = setup;
  const nodePart = (node: MeshNode, role: NodeRole): Part => {
    const name = `${node.name}/${role}`;
    return startRole === undefined
      ? supervised(mesh, name, role)
      : ownProcess(name, role, {
          mesh,
          processName: roleProcessName(node, role),
          start: () => startRole(node, role),
        });
  };
  return [
    ...nodes.flatMap((node) => [nodePart(node, 'nsmgr'), nodePart(node, 'forwarder')]),
    ownProcess('registry', 'registry', {
      mesh,
      processName: 'registry',
      start: () => mesh.startRegistry(),
    }),
    ...Array.from({ length: bus.size }, (_, at) => busServer(bus, at)),
    ...(identity === undefined ? [] : [identitySource(identity)]),
  ];
}

/** A child of `vwire node`, which starts it again. */
function supervised(mesh: Mesh, name: string, kind: NodeRole): Part {
  const pid = (): number => mesh.supervised.get(name)?.pid ?? 0;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const victim = pid();
    send(victim, signal);
    await eventually(`${name} is started again`, startTimeoutMs, () => {
      if (pid() === victim) throw new Error(`found: process ${victim}`);
    });
  };
  return {
    name,
    kind,
    pid,
    signal: (signal) => send(pid(), signal),
    kill: () => end('SIGKILL'),
    restart: () => end('SIGTERM'),
  };
}

/** Name in the mesh of a node's role that is a process of its own. */
export const roleProcessName = ({ name }: MeshNode, role: NodeRole): string => `${name}-${role}`;

/** A child of this very process. */
function ownProcess(
  name: string,
  kind: Part['kind'],
  child: {
    readonly mesh: Mesh;
    readonly processName: string;
    readonly start: () => Promise<Child>;
  },
): Part {
  const { mesh, processName, start } = child;
  const pid = (): number => mesh.processes.get(processName)?.pid ?? 0;
  return {
    name,
    kind,
    pid,
    signal: (signal) => send(pid(), signal),
    async kill() {
      const victim = mesh.processes.get(processName);
      victim?.kill('SIGKILL');
      await victim?.exited;
      await start();
    },
    async restart() {
      await mesh.processes.get(processName)?.stop(stopGraceMs);
      await start();
    },
  };
}

function busServer(bus: Bus, at: number): Part {
  const again = async (): Promise<void> => {
    await bus.kill(at);
    await bus.start(at);
  };
  return {
    name: `bus-${at + 1}`,
    kind: 'bus',
    pid: () => bus.pidOf(at),
    signal: (signal) => send(bus.pidOf(at), signal),
    kill: again,
    async restart() {
      await bus.end(at);
      await bus.start(at);
    },
  };
}

function identitySource(identity: IdentityProcess): Part {
  const again = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    await identity.end(signal);
    await identity.start();
  };
  return {
    name: 'identity',
    kind: 'identity',
    pid: () => identity.pid,
    signal: (signal) => send(identity.pid, signal),
    kill: () => again('SIGKILL'),
    restart: () => again('SIGTERM'),
  };
}

/** To a process of ours that may be gone already. */
function send(pid: number, signal: NodeJS.Signals): void {
  if (pid === 0) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
