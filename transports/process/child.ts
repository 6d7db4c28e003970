// A child process that serves until it is stopped. Its log goes to a file, a line on standard output says
// that it is ready, and it ends when its parent does, however that ends: its standard input then closes.
// Invariant: `stop` always ends it, by force when it must, and only this child's own pid is ever signalled.

import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { NsmError } from '../../protocols/errors.ts';

/** Set for children that must end when their standard input closes. */
export const endWithParentVariable = 'VWIRE_END_WITH_PARENT';

/** Begins the line by which a child says that it serves. */
export const readyMark = 'ready ';

export interface ChildOptions {
  /** For errors. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Standard error is appended to it. */
  readonly logFile: string;
  /** Every line on standard output but the one that says that it is ready. */
  readonly onLine?: (line: string) => void;
  /** Starts the process, for example inside a network namespace; `spawn` by default. */
  readonly spawn?: (
    command: string,
    args: readonly string[],
    options: SpawnOptions,
  ) => ChildProcess;
  readonly uid?: number;
  readonly gid?: number;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  /** Resolves with the line that says so. Errors: UNAVAILABLE (it ended first), DEADLINE_EXCEEDED. */
  ready(timeoutMs: number): Promise<string>;
  readonly exited: Promise<Exit>;
  readonly isRunning: boolean;
  /** SIGTERM, then SIGKILL after `graceMs`; resolves when it is gone. */
  stop(graceMs: number): Promise<Exit>;
  kill(signal: NodeJS.Signals): void;
}

/** Errors: UNAVAILABLE (it cannot be started), and what opening the log file throws. */
export function startChild(options: ChildOptions): Child {
  const log = openSync(options.logFile, 'a', 0o600);
  const start = options.spawn ?? ((command, args, how) => spawn(command, [...args], how));
  try {
    const child = start(options.command, options.args, {
      stdio: ['pipe', 'pipe', log],
      env: { ...options.env, [endWithParentVariable]: '1' },
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.gid === undefined ? {} : { gid: options.gid }),
    });
    // Said one turn later of a process that there is not; without a listener that would end this process.
    child.on('error', () => {});
    const { pid } = child;
    if (pid === undefined) throw cannotStart(options);
    return follow(child, pid, options);
  } finally {
    closeSync(log);
  }
}

function follow(child: ChildProcess, pid: number, options: ChildOptions): Child {
  let isRunning = true;
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      isRunning = false;
      resolve({ code, signal });
    });
    child.once('error', () => {
      isRunning = false;
      resolve({ code: null, signal: null });
    });
  });
  const readyLine = new Promise<string>((resolve) => {
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith(readyMark)) resolve(line);
      else options.onLine?.(line);
    });
  });
  child.stdin?.on('error', () => {});
  const kill = (signal: NodeJS.Signals): void => {
    if (isRunning) child.kill(signal);
  };
  return {
    name: options.name,
    pid,
    exited,
    get isRunning() {
      return isRunning;
    },
    kill,
    ready: (timeoutMs) => firstOf(options, { readyLine, exited, timeoutMs }),
    async stop(graceMs) {
      kill('SIGTERM');
      const force = setTimeout(() => kill('SIGKILL'), graceMs);
      const exit = await exited;
      clearTimeout(force);
      return exit;
    },
  };
}

async function firstOf(
  options: ChildOptions,
  wait: { readyLine: Promise<string>; exited: Promise<Exit>; timeoutMs: number },
): Promise<string> {
  const details = { rule: 'start', remedy: `read ${options.logFile}` };
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `${options.name} was not ready within ${wait.timeoutMs} ms`;
      reject(new NsmError('DEADLINE_EXCEEDED', message, details));
    }, wait.timeoutMs);
  });
  const ended = wait.exited.then(({ code, signal }) => {
    const found = signal === null ? `exit code ${code}` : `signal ${signal}`;
    throw new NsmError('UNAVAILABLE', `${options.name} ended before it was ready`, {
      ...details,
      found,
    });
  });
  try {
    return await Promise.race([wait.readyLine, ended, late]);
  } finally {
    clearTimeout(timer);
  }
}

function cannotStart(options: ChildOptions): NsmError {
  return new NsmError('UNAVAILABLE', `${options.name} could not be started`, {
    rule: 'start',
    found: options.command,
    expected: 'an executable file',
  });
}
