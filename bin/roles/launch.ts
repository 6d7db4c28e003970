// Starts roles of this program as child processes of their own, each with its log file in the state directory.

import type { ChildProcess, SpawnOptions } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, startChild } from '../../transports/process/child.ts';
import { withLeastPrivilege } from './privileges.ts';

export interface Launch {
  /** As on the command line, with operands: `nse icmp-responder`. */
  readonly role: readonly string[];
  /** Names the process in errors and its log file. */
  readonly name: string;
  readonly stateDir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
  /** File to run; this very program by default. */
  readonly executable?: string;
  readonly spawn?: (
    command: string,
    args: readonly string[],
    options: SpawnOptions,
  ) => ChildProcess;
}

/** What a role needs of this process's environment; nothing else is handed on. */
const passedOn = ['PATH', 'HOME', 'TMPDIR', 'NODE_OPTIONS', 'NO_COLOR'] as const;

export function inheritedEnvironment(): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(passedOn.map((name) => [name, process.env[name]] as const));
}

/** The command line of a role of this program. */
export function ownCommand(
  role: readonly string[],
  executable = ownExecutable(),
): readonly [string, ...string[]] {
  return [process.execPath, ...sourceLoader(executable), executable, ...role];
}

export function launch(options: Launch): Child {
  const { onLine, spawn, executable, role } = options;
  const [command, ...args] = withLeastPrivilege(role.join(' '), ownCommand(role, executable));
  return startChild({
    name: options.name,
    command,
    args,
    env: { ...inheritedEnvironment(), VWIRE_STATE_DIR: options.stateDir, ...options.env },
    logFile: join(options.stateDir, `${options.name}.log`),
    ...(onLine === undefined ? {} : { onLine }),
    ...(spawn === undefined ? {} : { spawn }),
  });
}

const runsFromSource = import.meta.url.endsWith('.ts');

function ownExecutable(): string {
  return fileURLToPath(new URL(runsFromSource ? '../vwire.ts' : '../vwire.js', import.meta.url));
}

/** TypeScript sources need the loader that tests and development use. */
function sourceLoader(executable: string): readonly string[] {
  return executable.endsWith('.ts') ? ['--import', 'tsx'] : [];
}
