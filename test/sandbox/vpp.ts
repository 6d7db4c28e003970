// A VPP for tests: small, without huge pages or devices, with sockets and runtime in one private folder. The program is
// named by VWIRE_VPP; its plugins are found beside it, or in VWIRE_VPP_PLUGINS.
// Invariant: after `close` none of its processes and files is left.

import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { eventually } from './eventually.ts';

export interface VppSandbox {
  readonly folder: string;
  readonly apiSocket: string;
  readonly statisticsSocket: string;
  /** After `kill`: with nothing left of what was made. */
  start(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL; resolves once it is gone. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** Undefined where VPP can be run; else the reason why not, for a printed skip. */
export function whyNoVpp(): string | undefined {
  const program = process.env['VWIRE_VPP'];
  if (program === undefined || program === '') return 'VWIRE_VPP, the program vpp, is not set';
  try {
    accessSync(program, constants.X_OK);
    return undefined;
  } catch {
    return `VWIRE_VPP: ${program} is no program`;
  }
}

const readyTimeoutMs = 20_000;
const logTailLength = 2000;

export async function startVpp(): Promise<VppSandbox> {
  const reason = whyNoVpp();
  if (reason !== undefined) throw new Error(reason);
  const program = process.env['VWIRE_VPP'] ?? '';
  const folder = mkdtempSync(join(tmpdir(), 'vwvpp-'));
  const log = join(folder, 'vpp.log');
  const apiSocket = join(folder, 'api.sock');
  const statisticsSocket = join(folder, 'stats.sock');
  const configuration = join(folder, 'startup.conf');
  writeFileSync(configuration, configurationOf({ folder, log, apiSocket, statisticsSocket }));
  let running: ChildProcess | undefined;

  const kill = async (): Promise<void> => {
    const child = running;
    running = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const start = async (): Promise<void> => {
    for (const socket of [apiSocket, statisticsSocket]) rmSync(socket, { force: true });
    const child = spawn(program, ['-c', configuration], { stdio: 'ignore' });
    running = child;
    await eventually('VPP listens', readyTimeoutMs, () => {
      if (child.exitCode !== null) throw new Error(`VPP ended: ${tailOf(log)}`);
      if (!existsSync(apiSocket)) throw new Error(`no socket yet: ${tailOf(log)}`);
      if (!existsSync(statisticsSocket)) throw new Error(`no statistics yet: ${tailOf(log)}`);
    });
  };
  const close = async (): Promise<void> => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    folder,
    apiSocket,
    statisticsSocket,
    start,
    signal: (signal) => void running?.kill(signal),
    kill,
    close,
  };
}

function tailOf(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').slice(-logTailLength) : 'no log';
}

/** Pages of 4 KiB and little of everything; sleeping between polls spares the processor. */
function configurationOf(at: {
  readonly folder: string;
  readonly log: string;
  readonly apiSocket: string;
  readonly statisticsSocket: string;
}): string {
  const plugins = process.env['VWIRE_VPP_PLUGINS'];
  return `
unix {
  nodaemon
  nosyslog
  log ${at.log}
  runtime-dir ${at.folder}
  cli-listen ${join(at.folder, 'cli.sock')}
  poll-sleep-usec 100
}
api-segment { prefix ${basename(at.folder)} }
socksvr { socket-name ${at.apiSocket} }
statseg { socket-name ${at.statisticsSocket} page-size 4k }
memory { main-heap-size 256m main-heap-page-size 4k }
buffers { page-size 4k buffers-per-numa 8192 }
plugins {
  ${plugins === undefined ? '' : `path ${plugins}`}
  plugin dpdk_plugin.so { disable }
}
`;
}
