// A private Open vSwitch: ovsdb-server and ovs-vswitchd as plain processes with database, sockets and logs in one folder,
// no service and nothing installed. Their life is their own: whoever programs the switch may come and go.
// Invariant: each ends, by force if it must, when whoever started it ends, however that ends.

import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import {
  favour,
  type GuardedProgram,
  isExecutable,
  type Spawn,
  startGuarded,
} from './guarded-program.ts';

export interface OvsPrograms {
  readonly ovsdbTool: string;
  readonly ovsdbServer: string;
  readonly vswitchd: string;
  readonly schema: string;
}

export type OvsProgram = 'database' | 'switch';

export interface OpenVSwitchOptions {
  readonly programs: OvsPrograms;
  /** For everything that the two have; made where it is missing. */
  readonly folder: string;
  readonly spawn?: Spawn;
}

export interface OpenVSwitch {
  /** `<folder>/db.sock`. */
  readonly databaseSocket: string;
  /** Process ids of what runs. */
  readonly pids: ReadonlyMap<OvsProgram, number>;
  bridgeSocket(bridge: string): string;
  /** Again after its end: with the same database. Errors: UNAVAILABLE with the last lines of its log. */
  start(program: OvsProgram): Promise<void>;
  /** Sends a signal; with SIGKILL and SIGTERM it resolves once the process is gone. */
  signal(program: OvsProgram, signal: NodeJS.Signals): Promise<void>;
  /** Ends both, the switch first. */
  stop(): Promise<void>;
}

/** Where the switch listens for a bridge's flows, beside the socket of its database. */
export const bridgeSocketOf = (databaseSocket: string, bridge: string): string =>
  join(dirname(databaseSocket), `${bridge}.mgmt`);

const systemFolders = ['/usr/local/sbin', '/usr/sbin', '/usr/local/bin', '/usr/bin'];
const readyTimeoutMs = 10_000;
const lookAgainAfterMs = 10;

/** The programs, or which one is missing and the variable that names it. */
export function findOvsPrograms(environment: NodeJS.ProcessEnv): OvsPrograms | string {
  const find = (variable: string, name: string): string | undefined => {
    const named = environment[variable];
    if (named !== undefined && named !== '') return isExecutable(named) ? named : undefined;
    const folders = [...(environment['PATH'] ?? '').split(delimiter), ...systemFolders];
    return folders.map((folder) => join(folder, name)).find(isExecutable);
  };
  const ovsdbTool = find('VWIRE_OVSDB_TOOL', 'ovsdb-tool');
  const ovsdbServer = find('VWIRE_OVSDB_SERVER', 'ovsdb-server');
  const vswitchd = find('VWIRE_OVS_VSWITCHD', 'ovs-vswitchd');
  if (ovsdbTool === undefined) return 'no ovsdb-tool (VWIRE_OVSDB_TOOL)';
  if (ovsdbServer === undefined) return 'no ovsdb-server (VWIRE_OVSDB_SERVER)';
  if (vswitchd === undefined) return 'no ovs-vswitchd (VWIRE_OVS_VSWITCHD)';
  const share = 'share/openvswitch/vswitch.ovsschema';
  const schema = [
    environment['VWIRE_OVS_SCHEMA'] ?? '',
    join(dirname(dirname(ovsdbTool)), share),
    join(dirname(ovsdbTool), 'usr', share),
    join('/usr', share),
  ].find((path) => path !== '' && existsSync(path));
  if (schema === undefined) return 'no vswitch.ovsschema (VWIRE_OVS_SCHEMA)';
  return { ovsdbTool, ovsdbServer, vswitchd, schema };
}

/** Why no bridge could be made here even with the programs; undefined where one could. */
export function whyNoTap(): string | undefined {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
    return undefined;
  } catch {
    return '/dev/net/tun cannot be read and written, so a bridge cannot be made';
  }
}

/** With an empty database where there is none; nothing runs yet. */
export function createOpenVSwitch(options: OpenVSwitchOptions): OpenVSwitch {
  return new Processes(options);
}

class Processes implements OpenVSwitch {
  readonly databaseSocket: string;
  readonly #options: OpenVSwitchOptions;
  readonly #running = new Map<OvsProgram, GuardedProgram>();

  constructor(options: OpenVSwitchOptions) {
    this.#options = options;
    this.databaseSocket = join(options.folder, 'db.sock');
    mkdirSync(options.folder, { recursive: true });
    const database = this.#path('conf.db');
    const { ovsdbTool, schema } = options.programs;
    if (!existsSync(database)) execFileSync(ovsdbTool, ['create', database, schema]);
  }

  get pids(): ReadonlyMap<OvsProgram, number> {
    return new Map([...this.#running].map(([program, { pid }]) => [program, pid]));
  }

  bridgeSocket(bridge: string): string {
    return bridgeSocketOf(this.databaseSocket, bridge);
  }

  async start(program: OvsProgram): Promise<void> {
    const control = this.#path(`${program}.ctl`);
    const { ovsdbServer, vswitchd } = this.#options.programs;
    const [socket, command] =
      program === 'database'
        ? [
            this.databaseSocket,
            [ovsdbServer, this.#path('conf.db'), `--remote=punix:${this.databaseSocket}`],
          ]
        : [control, [vswitchd, `unix:${this.databaseSocket}`]];
    rmSync(socket, { force: true });
    const pidFile = this.#path(`${program}.pid`);
    const log = this.#path(`${program}.log`);
    const own = [`--unixctl=${control}`, `--pidfile=${pidFile}`, `--log-file=${log}`, '--no-chdir'];
    await this.#launch(program, [...command, ...own]);
    await this.#appears(program, socket);
  }

  async signal(program: OvsProgram, signal: NodeJS.Signals): Promise<void> {
    const running = this.#running.get(program);
    if (running === undefined) throw notRunning(program, 'it was not started');
    await running.signal(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') this.#running.delete(program);
  }

  async stop(): Promise<void> {
    for (const program of ['switch', 'database'] as const) {
      if (this.#running.has(program)) await this.signal(program, 'SIGKILL');
    }
  }

  #path(name: string): string {
    return join(this.#options.folder, name);
  }

  async #launch(program: OvsProgram, command: readonly string[]): Promise<void> {
    const { folder, spawn } = this.#options;
    const environment = {
      OVS_RUNDIR: folder,
      OVS_LOGDIR: folder,
      OVS_DBDIR: folder,
      OVS_SYSCONFDIR: folder,
    };
    const started = await startGuarded(command, { spawn, environment });
    if (started === undefined) throw notRunning(program, this.#lastLines(program));
    this.#running.set(program, started);
    if (program === 'switch') favour(started);
  }

  async #appears(program: OvsProgram, path: string): Promise<void> {
    const endMs = performance.now() + readyTimeoutMs;
    while (!existsSync(path)) {
      const hasEnded = this.#running.get(program)?.hasEnded ?? true;
      if (hasEnded || performance.now() > endMs) {
        throw notRunning(program, this.#lastLines(program));
      }
      await new Promise((resolve) => setTimeout(resolve, lookAgainAfterMs));
    }
  }

  #lastLines(program: OvsProgram): string {
    const log = this.#path(`${program}.log`);
    if (!existsSync(log)) return 'it wrote no log';
    return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-3).join('; ');
  }
}

function notRunning(program: OvsProgram, found: string): NsmError {
  const name = program === 'database' ? 'ovsdb-server' : 'ovs-vswitchd';
  return new NsmError('UNAVAILABLE', `${name} does not run`, { rule: name, found });
}
