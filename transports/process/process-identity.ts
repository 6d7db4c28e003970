// Whether a process is still the one that was started: process ids are used again, so the start time that the kernel
// keeps goes with it. And the way to a process whose id was never written down: a mark in its environment.

import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: clock ticks from boot to its start. */
  readonly startTicks: number;
}

/** Undefined where there is no such process. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const stat = statOf(pid);
  return stat === undefined ? undefined : { pid, startTicks: stat.startTicks };
}

/** A zombie that nobody has waited for is not alive. */
export function isAlive({ pid, startTicks }: ProcessIdentity): boolean {
  const stat = statOf(pid);
  return stat?.startTicks === startTicks && stat.state !== 'Z' && stat.state !== 'X';
}

/** Processes that somebody has started, each noted while it was there. */
export class StartedProcesses {
  readonly #identities = new Map<number, ProcessIdentity>();

  add(pid: number): void {
    const identity = identityOf(pid);
    if (identity !== undefined) this.#identities.set(pid, identity);
  }

  alive(): readonly number[] {
    return [...this.#identities.values()].filter(isAlive).map(({ pid }) => pid);
  }
}

/** The oldest process with this variable in the environment that it was started with. */
export function findByEnvironment(name: string, value: string): ProcessIdentity | undefined {
  const entry = `${name}=${value}`;
  const found = readdirSync('/proc')
    .filter((directory) => /^\d+$/.test(directory))
    .filter((directory) => readOrNothing(`/proc/${directory}/environ`).split('\0').includes(entry))
    .flatMap((directory) => identityOf(Number(directory)) ?? []);
  return found.sort((a, b) => a.startTicks - b.startTicks)[0];
}

function statOf(pid: number): { readonly state: string; readonly startTicks: number } | undefined {
  const stat = readOrNothing(`/proc/${pid}/stat`);
  // The name in parentheses may itself hold spaces and parentheses.
  const [state = '', ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTicks = Number(fields[18]);
  return state === '' || !Number.isFinite(startTicks) ? undefined : { state, startTicks };
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Gone meanwhile, or not ours to look at.
    return '';
  }
}
