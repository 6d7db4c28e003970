// Open vSwitch run by hand for tests: its own database, run directory and network namespace, the user-space
// datapath, no service. Needs Debian's openvswitch-switch, found on PATH or by VWIRE_OVSDB_SERVER,
// VWIRE_OVS_VSWITCHD and VWIRE_OVSDB_TOOL; the schema by VWIRE_OVS_SCHEMA or beside the programs.
// Invariant: after `close` none of its processes, files and namespaces is left.

import type { ChildProcess } from 'node:child_process';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from './eventually.ts';
import type { Sandbox } from './namespaces.ts';
import { createSandbox, whyNoNamespaces } from './namespaces.ts';

interface Programs {
  readonly ovsdbTool: string;
  readonly ovsdbServer: string;
  readonly vswitchd: string;
  readonly schema: string;
}

export interface OvsSandbox {
  /** `<run directory>/db.sock`. */
  readonly databaseSocket: string;
  readonly node: NetworkNamespace;
  readonly sandbox: Sandbox;
  bridgeSocket(bridge: string): string;
  startDatabase(): Promise<void>;
  startSwitch(): Promise<void>;
  /** Sends a signal; with SIGKILL and SIGTERM it resolves once the process is gone. */
  signal(program: 'database' | 'switch', signal: NodeJS.Signals): Promise<void>;
  close(): Promise<void>;
}

const systemFolders = ['/usr/local/sbin', '/usr/sbin', '/usr/local/bin', '/usr/bin'];
const readyTimeoutMs = 10_000;

function find(variable: string, name: string): string | undefined {
  const named = process.env[variable];
  if (named !== undefined && named !== '') return isExecutable(named) ? named : undefined;
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...systemFolders];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findPrograms(): Programs | string {
  const ovsdbTool = find('VWIRE_OVSDB_TOOL', 'ovsdb-tool');
  const ovsdbServer = find('VWIRE_OVSDB_SERVER', 'ovsdb-server');
  const vswitchd = find('VWIRE_OVS_VSWITCHD', 'ovs-vswitchd');
  if (ovsdbTool === undefined) return 'no ovsdb-tool (VWIRE_OVSDB_TOOL)';
  if (ovsdbServer === undefined) return 'no ovsdb-server (VWIRE_OVSDB_SERVER)';
  if (vswitchd === undefined) return 'no ovs-vswitchd (VWIRE_OVS_VSWITCHD)';
  const share = 'share/openvswitch/vswitch.ovsschema';
  const schema = [
    process.env['VWIRE_OVS_SCHEMA'] ?? '',
    join(dirname(dirname(ovsdbTool)), share),
    join(dirname(ovsdbTool), 'usr', share),
    join('/usr', share),
  ].find((path) => path !== '' && existsSync(path));
  if (schema === undefined) return 'no vswitch.ovsschema (VWIRE_OVS_SCHEMA)';
  return { ovsdbTool, ovsdbServer, vswitchd, schema };
}

/** Undefined where Open vSwitch can be run; else the reason why not, for a printed skip. */
export function whyNoOvs(): string | undefined {
  const programs = findPrograms();
  if (typeof programs === 'string') return programs;
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return '/dev/net/tun cannot be read and written, so a bridge cannot be made';
  }
  return whyNoNamespaces();
}

/** Starts the database server, and vswitchd unless told otherwise. */
export async function startOvs(options: { readonly withSwitch: boolean }): Promise<OvsSandbox> {
  const programs = findPrograms();
  if (typeof programs === 'string') throw new Error(programs);
  const folder = mkdtempSync(join(tmpdir(), 'vwovs-'));
  const sandbox = createSandbox();
  const node = sandbox.namespace();
  const database = join(folder, 'conf.db');
  execFileSync(programs.ovsdbTool, ['create', database, programs.schema]);
  const ovs = new Processes({ programs, folder, database, sandbox, node });
  await ovs.startDatabase();
  if (options.withSwitch) await ovs.startSwitch();
  return ovs;
}

interface Parts {
  readonly programs: Programs;
  readonly folder: string;
  readonly database: string;
  readonly sandbox: Sandbox;
  readonly node: NetworkNamespace;
}

class Processes implements OvsSandbox {
  readonly databaseSocket: string;
  readonly node: NetworkNamespace;
  readonly sandbox: Sandbox;
  readonly #parts: Parts;
  readonly #children = new Map<'database' | 'switch', ChildProcess>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.node = parts.node;
    this.sandbox = parts.sandbox;
    this.databaseSocket = join(parts.folder, 'db.sock');
  }

  bridgeSocket(bridge: string): string {
    return join(this.#parts.folder, `${bridge}.mgmt`);
  }

  async startDatabase(): Promise<void> {
    const { programs, folder, database } = this.#parts;
    rmSync(this.databaseSocket, { force: true });
    this.#start('database', [
      programs.ovsdbServer,
      database,
      `--remote=punix:${this.databaseSocket}`,
      `--unixctl=${join(folder, 'ovsdb-server.ctl')}`,
      `--pidfile=${join(folder, 'ovsdb-server.pid')}`,
      '--no-chdir',
    ]);
    await this.#appears('database', this.databaseSocket);
  }

  async startSwitch(): Promise<void> {
    const { programs, folder } = this.#parts;
    const control = join(folder, 'ovs-vswitchd.ctl');
    rmSync(control, { force: true });
    this.#start('switch', [
      programs.vswitchd,
      `unix:${this.databaseSocket}`,
      `--unixctl=${control}`,
      `--pidfile=${join(folder, 'ovs-vswitchd.pid')}`,
      '--no-chdir',
    ]);
    await this.#appears('switch', control);
  }

  async signal(program: 'database' | 'switch', signal: NodeJS.Signals): Promise<void> {
    const child = this.#children.get(program);
    if (child === undefined) throw new Error(`the ${program} is not running`);
    const isEnd = signal === 'SIGKILL' || signal === 'SIGTERM';
    const exit = isEnd ? once(child, 'exit') : undefined;
    child.kill(signal);
    await exit;
    if (isEnd) this.#children.delete(program);
  }

  async close(): Promise<void> {
    await this.sandbox.close();
    rmSync(this.#parts.folder, { recursive: true, force: true });
  }

  #start(name: 'database' | 'switch', command: readonly [string, ...string[]]): void {
    const { folder, sandbox, node } = this.#parts;
    const folders = {
      OVS_RUNDIR: folder,
      OVS_LOGDIR: folder,
      OVS_DBDIR: folder,
      OVS_SYSCONFDIR: folder,
    };
    const child = sandbox.spawn(node, command, {
      stdio: 'ignore',
      env: { ...process.env, ...folders },
    });
    this.#children.set(name, child);
  }

  #appears(name: 'database' | 'switch', path: string): Promise<void> {
    return eventually(`the ${name} is ready`, readyTimeoutMs, () => {
      if (this.#children.get(name)?.exitCode !== null) throw new Error(`the ${name} ended`);
      if (!existsSync(path)) throw new Error(`no ${path}`);
    });
  }
}
