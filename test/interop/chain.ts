// A chain of separate processes on one node, each ours or the reference's in Go: identities, registry, manager,
// forwarder, Endpoint, client. Every process has an identity and a log file of its own.
// Invariant: after `close` none of them is left, nor their namespaces and files.

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { linksOf } from '../../bin/demo/namespace-links.ts';
import { type BusSecrets, obtainBusSecrets } from '../../bin/roles/bus-secrets.ts';
import { socketIn } from '../../bin/roles/part-identities.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { expect } from 'vitest';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from '../sandbox/eventually.ts';
import { createSandbox, type Sandbox } from '../sandbox/namespaces.ts';
import { type OvsSandbox, startOvs } from '../sandbox/ovs.ts';
import {
  commonSettings,
  endpointFolder,
  ownSockets,
  goSettings,
  identityUrl,
  type OnBus,
  ownSettings,
} from './chain-settings.ts';
import { goBinary, type Position, positions } from './positions.ts';

const executable = join(import.meta.dirname, '../../dist/bin/vwire.js');
const stopTimeoutMs = 20_000;
const logLinesShown = 30;

/** Below /mnt nobody else sees the files of such a process, as those of a container: its socket goes by descriptor. */
const withOwnFiles = [
  'unshare',
  '--mount',
  'sh',
  '-c',
  'mount -t tmpfs own /mnt && exec "$0" "$@"',
] as const;

const ownRoles: Readonly<Record<Position, readonly string[]>> = {
  registry: ['registry-memory'],
  nsmgr: ['nsmgr'],
  forwarder: ['forwarder'],
  nse: ['nse', 'icmp-responder'],
  nsc: ['nsc'],
};

type ProcessName = Position | 'identity';

export interface ChainOptions {
  /** The positions that the reference's programs take. */
  readonly go: readonly Position[];
  /** Without any there is no bus. */
  readonly onBus: OnBus;
}

export class Chain {
  readonly folder = mkdtempSync(join(tmpdir(), 'vwire-interop-'));
  readonly client: NetworkNamespace;
  readonly #places: Readonly<Record<'client' | 'endpoint' | 'node', NetworkNamespace>>;
  readonly #go: ReadonlySet<Position>;
  readonly #onBus: OnBus;
  readonly #sandbox: Sandbox;
  readonly #ovs: OvsSandbox | undefined;
  readonly #netlink = createNetlink();
  #bus: NatsServer | undefined;
  #secrets: BusSecrets | undefined;
  readonly #running = new Map<ProcessName, ChildProcess>();
  #linksBefore: readonly string[] = [];

  /** With identities served, Open vSwitch where Go's forwarder is to use it, and a bus where one is needed. */
  static async create(options: ChainOptions): Promise<Chain> {
    const needsOvs = options.go.includes('forwarder');
    const ovs = needsOvs ? await startOvs({ withSwitch: true }) : undefined;
    const chain = new Chain(options, ovs);
    try {
      await chain.#prepare();
    } catch (error) {
      await chain.close();
      throw error;
    }
    return chain;
  }

  private constructor({ go, onBus }: ChainOptions, ovs: OvsSandbox | undefined) {
    this.#go = new Set(go);
    this.#onBus = onBus;
    this.#ovs = ovs;
    this.#sandbox = ovs?.sandbox ?? createSandbox();
    this.client = this.#sandbox.namespace();
    this.#places = {
      client: this.client,
      endpoint: this.#sandbox.namespace(),
      node: ovs?.node ?? this.#sandbox.namespace(),
    };
  }

  /** Does not wait until it serves: whoever needs it finds it when it is there. */
  async start(position: Position): Promise<void> {
    mkdirSync(join(this.folder, position), { recursive: true });
    const settings = commonSettings(this.folder, position, this.#onBus);
    if (!this.#go.has(position)) {
      const command = [process.execPath, executable, ...ownRoles[position]];
      this.#spawn(position, command, { ...settings, ...ownSettings(this.folder, position) });
      return;
    }
    if (position === 'forwarder') await this.#makeBridge();
    const own = { ...goSettings(this.folder, position), ...this.#ovsSettings() };
    this.#spawn(position, [goBinary(position)], { ...settings, ...own });
  }

  /** As a crash would end it. */
  async kill(position: Position): Promise<void> {
    await this.#end(position, 'SIGKILL');
  }

  /** In good order. */
  async stop(position: ProcessName): Promise<void> {
    await this.#end(position, 'SIGTERM');
  }

  /** Waits until a process of ours, that runs, has its identity and is about to serve: whom it needs, it looks for. */
  async isUp(position: Position): Promise<void> {
    await eventually(`the ${position} is up`, 30_000, () => {
      expect(readFileSync(join(this.folder, `${position}.log`), 'utf8')).toContain('"phase":"2/');
    });
  }

  /** Where each position of ours that runs serves on a unix socket, as seen from here. */
  ownSockets(): readonly string[] {
    const endpoint = this.#running.get('nse')?.pid;
    return [
      ...ownSockets(this.folder),
      `unix:///proc/${endpoint}/root${endpointFolder}/nse-1.sock`,
    ];
  }

  /** One line per link that was not there before the first process started. */
  async traces(): Promise<readonly string[]> {
    return (await this.#links()).filter((line) => !this.#linksBefore.includes(line));
  }

  /** The last lines of every process, for a test that fails. */
  logs(): string {
    return [...positions, 'identity']
      .map((name) => [name, join(this.folder, `${name}.log`)] as const)
      .filter(([, path]) => existsSync(path))
      .map(([name, path]) => {
        const lines = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-logLinesShown);
        return `--- ${name}\n${lines.join('\n')}`;
      })
      .join('\n');
  }

  /** Whoever still runs is ended, from the client on. */
  async close(): Promise<void> {
    for (const name of [...positions.toReversed(), 'identity'] as const) {
      // What does not end by itself ends with the sandbox.
      if (this.#running.has(name)) await this.stop(name).catch(() => {});
    }
    await this.#secrets?.close();
    await this.#bus?.stop();
    await (this.#ovs ?? this.#sandbox).close();
    await this.#netlink.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #prepare(): Promise<void> {
    if (this.#ovs !== undefined) await this.#makeBridge();
    this.#linksBefore = await this.#links();
    // The reference pings by sockets without privilege, which a new namespace gives to nobody.
    await this.#run('client', ['sysctl', '-w', 'net.ipv4.ping_group_range=0 2147483647']);
    this.#spawn('identity', [process.execPath, executable, 'identity'], {
      VWIRE_IDENTITY_DIR: join(this.folder, 'identity'),
      VWIRE_STATE_DIR: this.folder,
    });
    await eventually('identities are served', 20_000, () => {
      const sockets = positions.map((each) =>
        identityUrl(this.folder, each).slice('unix://'.length),
      );
      const missing = sockets.find((path) => !existsSync(path));
      if (missing !== undefined) throw new Error(`no ${missing}`);
    });
    if (this.#onBus.size > 0) await this.#startBus();
  }

  /** Where the roles look for it when nothing is said. */
  async #startBus(): Promise<void> {
    const binary = process.env['VWIRE_NATS_SERVER'];
    const trustDomain = 'spiffe://vwire.local';
    const node = 'node';
    this.#secrets = await obtainBusSecrets({
      endpoint: socketIn(join(this.folder, 'identity'), 'bus'),
      describe: () => ({
        domain: 'interop',
        users: [
          { spiffeId: `${trustDomain}/registry`, roles: ['registry'] },
          { spiffeId: `${trustDomain}/nsmgr`, roles: ['nsmgr'], node },
          { spiffeId: `${trustDomain}/forwarder`, roles: ['forwarder'], node },
        ],
      }),
      directory: join(this.folder, 'bus'),
      storeDir: join(this.folder, 'bus', 'store'),
      log: silentLog,
    });
    this.#bus = await startNatsServer({
      ...(binary === undefined ? {} : { binary }),
      port: 4222,
      arguments: ['-c', this.#secrets.secrets.configFile],
      spawn: (command, args, options) =>
        this.#sandbox.spawn(this.#places.node, [command, ...args], options),
    });
  }

  #spawn(
    name: ProcessName,
    command: readonly string[],
    env: Readonly<Record<string, string>>,
  ): void {
    const [file = '', ...args] = name === 'nse' ? [...withOwnFiles, ...command] : command;
    const log = openSync(join(this.folder, `${name}.log`), 'a', 0o600);
    try {
      const child = this.#sandbox.spawn(this.#placeOf(name), [file, ...args], {
        cwd: this.folder,
        env: { PATH: process.env['PATH'], ...env },
        stdio: ['ignore', log, log],
      });
      this.#running.set(name, child);
    } finally {
      closeSync(log);
    }
  }

  async #end(name: ProcessName, signal: NodeJS.Signals): Promise<void> {
    const child = this.#running.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`${name} does not run any more`);
    }
    const exit = once(child, 'exit', { signal: AbortSignal.timeout(stopTimeoutMs) });
    child.kill(signal);
    await exit;
    this.#running.delete(name);
  }

  #placeOf(name: ProcessName): NetworkNamespace {
    if (name === 'nsc') return this.#places.client;
    return name === 'nse' ? this.#places.endpoint : this.#places.node;
  }

  async #links(): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const [place, { url }] of Object.entries(this.#places)) {
      const links = await linksOf(this.#netlink, url);
      lines.push(...links.map(({ name }) => `${place} ${name}`));
    }
    return lines;
  }

  #ovsSettings(): Readonly<Record<string, string>> {
    return this.#ovs === undefined ? {} : { OVS_RUNDIR: dirname(this.#ovs.databaseSocket) };
  }

  /** In user space: Go's forwarder makes its bridge in the kernel's datapath, unless there is one already. */
  async #makeBridge(): Promise<void> {
    const database = `--db=unix:${this.#ovs?.databaseSocket ?? ''}`;
    const add = ['--may-exist', 'add-br', 'br-nsm'];
    const inUserSpace = ['set', 'bridge', 'br-nsm', 'datapath_type=netdev'];
    await this.#run('node', ['ovs-vsctl', '--timeout=10', database, ...add, '--', ...inUserSpace]);
  }

  async #run(place: 'client' | 'node', command: readonly [string, ...string[]]): Promise<void> {
    const { exitCode, stderr } = await this.#sandbox.run(this.#places[place], command);
    if (exitCode !== 0) throw new Error(`${command.join(' ')}: ${stderr}`);
  }
}
