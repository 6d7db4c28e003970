// `vwire up` as a real process inside a namespace, for tests that need a mesh to talk to.
// Invariant: what it started ends with `stop`, or with its sandbox at the latest.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Sandbox } from './namespaces.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';

const repository = join(import.meta.dirname, '../..');

/** This program as `npm test` has built it: from its sources each start costs a second more. */
export const vwire: readonly [string, ...string[]] = [
  process.execPath,
  join(repository, 'dist/bin/vwire.js'),
];

export interface RunningProcess {
  /** Every line on standard output so far. */
  readonly lines: readonly string[];
  readonly errors: string;
  /** Resolves with the first line that matches, also one that has been printed already. */
  line(pattern: RegExp): Promise<string>;
  /** Sends the signal and resolves with the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
  readonly pid: number;
}

/** Starts a program and follows what it prints. */
export function startProcess(
  sandbox: Sandbox,
  namespace: NetworkNamespace,
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string>> = {},
): RunningProcess {
  const child = sandbox.spawn(namespace, command, {
    cwd: repository,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  let errors = '';
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const wake = (): void => {
    for (const each of waiting) each();
  };
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      wake();
    });
  }
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', (code) => {
      resolve(code);
      wake();
    });
  });
  return {
    lines,
    get errors() {
      return errors;
    },
    pid: child.pid ?? 0,
    line: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = lines.find((line) => pattern.test(line));
          const isOver = child.exitCode !== null || child.signalCode !== null;
          if (found === undefined && !isOver) return;
          waiting.delete(look);
          if (found !== undefined) resolve(found);
          else reject(new Error(`no line ${pattern}:\n${lines.join('\n')}\n${errors}`));
        };
        waiting.add(look);
        look();
      }),
    end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

export interface UpMesh {
  readonly up: RunningProcess;
  readonly namespace: NetworkNamespace;
  readonly stateDir: string;
  readonly socketUrl: string;
  /** Removes the state directory; the process must have ended. */
  forget(): void;
}

/** Resolves once it says where to connect. */
export async function startUp(sandbox: Sandbox, args: readonly string[] = []): Promise<UpMesh> {
  const namespace = sandbox.namespace();
  const stateDir = mkdtempSync(join(tmpdir(), 'vwire-up-'));
  const command = [...vwire, 'up', '--state-dir', stateDir, ...args] as const;
  const natsServer = process.env['VWIRE_NATS_SERVER'];
  const env = natsServer === undefined ? {} : { VWIRE_NATS_SERVER: natsServer };
  const up = startProcess(sandbox, namespace, command as [string, ...string[]], {
    VWIRE_NODE: 'up-node',
    ...env,
  });
  await up.line(/^Ctrl-C stops everything/);
  return {
    up,
    namespace,
    stateDir,
    socketUrl: `unix://${stateDir}/nsm.io.sock`,
    forget: () => rmSync(stateDir, { recursive: true, force: true }),
  };
}
