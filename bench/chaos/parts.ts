// The parts of the control plane as chaos sees them: each can be killed and is started again, by its supervisor or by
// hand, and can be stopped and continued. Only process ids that the mesh itself reported are ever signalled.

import type { Mesh, MeshNode } from '../../bin/demo/mesh.ts';
import { eventually } from '../../test/sandbox/eventually.ts';
import type { Bus } from './bus.ts';

export interface Part {
  /** `node-1/nsmgr`, `registry`, `bus-1`. */
  readonly name: string;
  readonly kind: 'nsmgr' | 'forwarder' | 'registry' | 'bus';
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
  readonly nodes: readonly MeshNode[];
}): readonly Part[] {
  const { mesh, bus, nodes } = setup;
  return [
    ...nodes.flatMap(({ name }) => [
      supervised(mesh, `${name}/nsmgr`, 'nsmgr'),
      supervised(mesh, `${name}/forwarder`, 'forwarder'),
    ]),
    registry(mesh),
    ...Array.from({ length: bus.size }, (_, at) => busServer(bus, at)),
  ];
}

/** A child of `vwire node`, which starts it again. */
function supervised(mesh: Mesh, name: string, kind: 'nsmgr' | 'forwarder'): Part {
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

function registry(mesh: Mesh): Part {
  const pid = (): number => mesh.processes.get('registry')?.pid ?? 0;
  return {
    name: 'registry',
    kind: 'registry',
    pid,
    signal: (signal) => send(pid(), signal),
    async kill() {
      const child = mesh.processes.get('registry');
      child?.kill('SIGKILL');
      await child?.exited;
      await mesh.startRegistry();
    },
    async restart() {
      await mesh.processes.get('registry')?.stop(stopGraceMs);
      await mesh.startRegistry();
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

/** To a process of ours that may be gone already. */
function send(pid: number, signal: NodeJS.Signals): void {
  if (pid === 0) return;
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}
