// A private VPP: one plain process with its sockets and log in one folder, small memory without huge pages, no service and
// nothing installed. Its life is its own: whoever programs it may come and go.
// Invariant: it ends, by force if it must, when whoever started it ends, however that ends.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import {
  favour,
  type GuardedProgram,
  isExecutable,
  type Spawn,
  startGuarded,
} from './guarded-program.ts';

export interface VppPrograms {
  readonly vpp: string;
  /** Folder of its plugins. */
  readonly plugins: string;
}

export interface PrivateVppOptions {
  readonly programs: VppPrograms;
  /** For everything that it has; made where it is missing. Its sockets' paths have at most 107 bytes. */
  readonly folder: string;
  readonly spawn?: Spawn;
}

export interface PrivateVpp {
  /** Of the binary API. */
  readonly apiSocket: string;
  readonly statisticsSocket: string;
  /** Process id, while it runs. */
  readonly pid: number | undefined;
  /** Again after its end: with nothing of what it had. Errors: UNAVAILABLE with the last lines of its log. */
  start(): Promise<void>;
  /** Sends a signal; with SIGKILL and SIGTERM it resolves once the process is gone. */
  signal(signal: NodeJS.Signals): Promise<void>;
  stop(): Promise<void>;
}

/** What a forwarder and its tests need; each is loaded where it is there. */
const plugins = 'acl af_packet ikev2 ipip l3xc memif ping tap vxlan wireguard'.split(' ');
const systemFolders = ['/usr/local/bin', '/usr/bin'];
const sharedMemory = '/dev/shm';
const readyTimeoutMs = 10_000;
const lookAgainAfterMs = 10;

/** The program, or what is missing and the variable that names it. */
export function findVpp(environment: NodeJS.ProcessEnv): VppPrograms | string {
  const named = environment['VWIRE_VPP'];
  const folders = [...(environment['PATH'] ?? '').split(delimiter), ...systemFolders];
  const places =
    named === undefined || named === '' ? folders.map((folder) => join(folder, 'vpp')) : [named];
  const vpp = places.find(isExecutable);
  if (vpp === undefined) return 'no vpp (VWIRE_VPP)';
  const found = environment['VWIRE_VPP_PLUGINS'] ?? pluginFolderOf(vpp);
  if (found === undefined || !existsSync(found)) return 'no plugins of vpp (VWIRE_VPP_PLUGINS)';
  return { vpp, plugins: found };
}

/** Beside the program, `lib/vpp_plugins` or, as Debian has it, `lib/<architecture>/vpp_plugins`. */
function pluginFolderOf(vpp: string): string | undefined {
  const library = join(dirname(dirname(vpp)), 'lib');
  if (!existsSync(library)) return undefined;
  return [library, ...readdirSync(library).map((name) => join(library, name))]
    .map((folder) => join(folder, 'vpp_plugins'))
    .find((folder) => existsSync(folder));
}

/** Nothing runs yet. */
export function createPrivateVpp(options: PrivateVppOptions): PrivateVpp {
  return new Process(options);
}

class Process implements PrivateVpp {
  readonly apiSocket: string;
  readonly statisticsSocket: string;
  readonly #options: PrivateVppOptions;
  /** Names of the memory that it shares with clients on this machine begin so. */
  readonly #memoryPrefix: string;
  #running: GuardedProgram | undefined;

  constructor(options: PrivateVppOptions) {
    this.#options = options;
    this.apiSocket = this.#path('api.sock');
    this.statisticsSocket = this.#path('stats.sock');
    const { folder } = options;
    this.#memoryPrefix = `vwire-${basename(dirname(folder))}-${basename(folder)}-${process.pid}`;
    mkdirSync(folder, { recursive: true });
  }

  get pid(): number | undefined {
    return this.#running?.hasEnded === false ? this.#running.pid : undefined;
  }

  async start(): Promise<void> {
    const { programs, spawn } = this.#options;
    for (const socket of [this.apiSocket, this.statisticsSocket]) rmSync(socket, { force: true });
    const configuration = this.#path('startup.conf');
    writeFileSync(configuration, this.#configuration());
    const output = this.#path('output.log');
    this.#running = await startGuarded([programs.vpp, '-c', configuration], { spawn, output });
    if (this.#running === undefined) throw this.#notRunning();
    favour(this.#running);
    const endMs = performance.now() + readyTimeoutMs;
    while (!existsSync(this.apiSocket)) {
      if (this.#running.hasEnded || performance.now() > endMs) throw this.#notRunning();
      await new Promise((resolve) => setTimeout(resolve, lookAgainAfterMs));
    }
    this.#removeSharedMemory();
  }

  async signal(signal: NodeJS.Signals): Promise<void> {
    if (this.#running === undefined) throw this.#notRunning();
    await this.#running.signal(signal);
  }

  async stop(): Promise<void> {
    await this.#running?.signal('SIGKILL');
    this.#running = undefined;
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }

  /** Pages of 4 KiB and a tenth of a millisecond's sleep in each turn: slower, and at home on any machine. */
  #configuration(): string {
    const { folder, programs } = this.#options;
    const there = plugins.filter((name) => existsSync(join(programs.plugins, `${name}_plugin.so`)));
    return [
      `unix { nodaemon nosyslog runtime-dir ${folder} log ${this.#path('vpp.log')}`,
      `  cli-listen ${this.#path('cli.sock')} poll-sleep-usec 100 }`,
      `api-segment { prefix ${this.#memoryPrefix} }`,
      `socksvr { socket-name ${this.apiSocket} }`,
      `statseg { socket-name ${this.statisticsSocket} size 32m page-size 4k }`,
      'memory { main-heap-size 256m main-heap-page-size 4k }',
      'buffers { buffers-per-numa 8192 page-size 4k }',
      `plugins { path ${programs.plugins} plugin default { disable }`,
      ...there.map((name) => `  plugin ${name}_plugin.so { enable }`),
      '}',
      '',
    ].join('\n');
  }

  /** Its name only: clients on a socket need none, and VPP would leave it behind where it is killed. */
  #removeSharedMemory(): void {
    if (!existsSync(sharedMemory)) return;
    for (const name of readdirSync(sharedMemory)) {
      if (name.startsWith(this.#memoryPrefix)) rmSync(join(sharedMemory, name), { force: true });
    }
  }

  #notRunning(): NsmError {
    const log = this.#path('output.log');
    const lines = existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n').slice(-3) : [];
    return new NsmError('UNAVAILABLE', 'vpp does not run', {
      rule: 'vpp',
      found: lines.length === 0 ? 'it wrote no log' : lines.join('; '),
    });
  }
}
