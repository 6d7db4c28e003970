// A program that lives no longer than whoever started it, however that ends: its guardian ends it when the guardian's own
// input ends.
// Invariant: what is reported to run has started; what is asked to end is gone when that is said.

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, closeSync, constants, openSync } from 'node:fs';
import { setPriority } from 'node:os';
import type { Readable } from 'node:stream';

/** Starts a process, for example inside a network namespace. */
export type Spawn = (
  command: string,
  args: readonly string[],
  options: SpawnOptions,
) => ChildProcess;

export interface GuardedProgram {
  readonly pid: number;
  readonly hasEnded: boolean;
  /** With SIGKILL and SIGTERM it resolves once the process is gone. */
  signal(signal: NodeJS.Signals): Promise<void>;
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const startTimeoutMs = 10_000;
const niceness = -10;

/** Reports the process, then waits for it and, beside it, for the end of the input, which ends it. */
const guardian = `
exec 4<&0
"$@" 3>&- 4<&- </dev/null &
program=$!
echo "$program" >&3
exec 3>&-
{ read -r _ <&4; kill -KILL "$program" 2>/dev/null; } >/dev/null 2>&1 &
watcher=$!
exec 4<&-
wait "$program"
code=$?
kill -KILL "$watcher" 2>/dev/null
exit "$code"
`;

export interface GuardedOptions {
  readonly spawn?: Spawn | undefined;
  readonly environment?: NodeJS.ProcessEnv;
  /** Path of a file for what the program says; it is appended to. */
  readonly output?: string;
}

function startGuardian(
  command: readonly string[],
  { spawn: given, environment, output }: GuardedOptions,
): ChildProcess {
  const start: Spawn = given ?? ((file, args, how) => spawn(file, [...args], how));
  const log = output === undefined ? 'ignore' : openSync(output, 'a');
  try {
    return start('/bin/sh', ['-c', guardian, 'vwire-guardian', ...command], {
      stdio: ['pipe', log, log, 'pipe'],
      // Its own process group: Ctrl-C is for whoever ends the program in order.
      detached: true,
      env: { ...process.env, ...environment },
    });
  } finally {
    if (log !== 'ignore') closeSync(log);
  }
}

/** Undefined where it could not be started. */
export async function startGuarded(
  command: readonly string[],
  options: GuardedOptions,
): Promise<GuardedProgram | undefined> {
  const guard = startGuardian(command, options);
  // A second end-of-input is of no interest.
  guard.stdin?.on('error', () => {});
  const reported = guard.stdio[3] as Readable;
  const [text] = (await Promise.race([
    once(reported, 'data', { signal: AbortSignal.timeout(startTimeoutMs) }),
    once(guard, 'exit').then(() => ['']),
  ])) as [unknown];
  const pid = Number(String(text));
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const hasEnded = (): boolean => guard.exitCode !== null || guard.signalCode !== null;
  return {
    pid,
    get hasEnded() {
      return hasEnded();
    },
    async signal(signal) {
      const isEnd = signal === 'SIGKILL' || signal === 'SIGTERM';
      if (hasEnded()) return;
      const exit = isEnd ? once(guard, 'exit') : undefined;
      process.kill(pid, signal);
      await exit;
    },
  };
}

/** For a data plane in user space: one that waits for its turn loses packets. */
export function favour({ pid }: GuardedProgram): void {
  try {
    setPriority(pid, niceness);
  } catch {
    // An ordinary user may not, and it runs all the same.
  }
}
