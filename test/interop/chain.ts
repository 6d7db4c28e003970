// A chain of separate processes, each ours or the reference's in Go, on one node or with the Endpoint on a second:
// identities, registry, manager and forwarder per node, Endpoint, client. Every process has an identity and a log file of
// its own.
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
import { join } from 'node:path';
import { linksOf } from '../../bin/demo/namespace-links.ts';
import { type BusSecrets, obtainBusSecrets } from '../../bin/roles/bus-secrets.ts';
import { socketIn } from '../../bin/roles/part-identities.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { expect } from 'vitest';
import { createNetlink } from '../../transports/netlink/netlink.ts';
import type { NetworkNamespace } from '../../transports/netlink/network-namespace.ts';
import { eventually } from '../sandbox/eventually.ts';
import { createSandbox } from '../sandbox/namespaces.ts';
import {
  type ChainLayout,
  commonSettings,
  endpointFolder,
  ownSockets,
  goSettings,
  identityUrl,
  isOverTwo,
  oneNode,
  type OnBus,
  ownSettings,
  twoNodes,
} from './chain-settings.ts';
import { bridgeName, ChainSwitches, type ForwarderPosition } from './chain-switches.ts';
import { joinNodes } from './chain-underlay.ts';
import {
  goBinary,
  type Position,
  positions,
  positionsOverTwo,
  type Role,
  roleOf,
} from './positions.ts';

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

const ownRoles: Readonly<Record<Role, readonly string[]>> = {
  registry: ['registry-memory'],
  nsmgr: ['nsmgr'],
  forwarder: ['forwarder'],
  nse: ['nse', 'icmp-responder'],
  nsc: ['nsc'],
};

type ProcessName = Position | 'identity';

type Place = 'client' | 'endpoint' | 'node' | 'farNode';

export interface ChainOptions {
  /** The positions that the reference's programs take. */
  readonly go: readonly Position[];
  /** Without any there is no bus. Only for a chain on one node. */
  readonly onBus?: OnBus;
  /** The Endpoint, with a manager and a forwarder, is on a node of its own. */
  readonly isOverTwo?: boolean;
  /** Forwarders of ours whose wires Open vSwitch carries. */
  readonly onOvs?: readonly ForwarderPosition[];
}

export class Chain {
  readonly folder = mkdtempSync(join(tmpdir(), 'vwire-interop-'));
  readonly client: NetworkNamespace;
  readonly positions: readonly Position[];
  readonly #layout: ChainLayout;
  readonly #places: Readonly<Record<Place, NetworkNamespace>>;
  readonly #go: ReadonlySet<Position>;
  readonly #onOvs: readonly ForwarderPosition[];
  readonly #sandbox = createSandbox();
  readonly #netlink = createNetlink();
  readonly #switches = new ChainSwitches(this.#sandbox, this.#netlink);
  #bus: NatsServer | undefined;
  #secrets: BusSecrets | undefined;
  readonly #running = new Map<ProcessName, ChildProcess>();
  #presentBefore: readonly string[] = [];

  /** With identities served, Open vSwitch where a forwarder is to use it, and a bus where one is needed. */
  static async create(options: ChainOptions): Promise<Chain> {
    const chain = new Chain(options);
    try {
      await chain.#prepare();
    } catch (error) {
      await chain.close();
      throw error;
    }
    return chain;
  }

  private constructor(options: ChainOptions) {
    const { go, onBus = new Set(), onOvs = [] } = options;
    const nodes = options.isOverTwo === true ? twoNodes : oneNode;
    this.#layout = { folder: this.folder, onBus, nodes, isOfOursAlone: go.length === 0 };
    this.positions = isOverTwo(this.#layout) ? positionsOverTwo : positions;
    this.#go = new Set(go);
    this.#onOvs = onOvs;
    const node = this.#sandbox.namespace();
    this.client = this.#sandbox.namespace();
    this.#places = {
      client: this.client,
      endpoint: this.#sandbox.namespace(),
      node,
      farNode: isOverTwo(this.#layout) ? this.#sandbox.namespace() : node,
    };
  }

  /** Does not wait until it serves: whoever needs it finds it when it is there. */
  async start(position: Position): Promise<void> {
    mkdirSync(join(this.folder, position), { recursive: true });
    const isGo = this.#go.has(position);
    const settings = {
      ...commonSettings(this.#layout, position),
      ...this.#switches.settingsOf(position, isGo),
    };
    if (!isGo) {
      const command = [process.execPath, executable, ...ownRoles[roleOf(position)]];
      this.#spawn(position, command, { ...settings, ...ownSettings(this.folder, position) });
      return;
    }
    await this.#switches.makeBridge(position);
    const own = goSettings(this.folder, position);
    this.#spawn(position, [goBinary(roleOf(position))], { ...settings, ...own });
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

  /** One line per link, and per port of a switch, that was not there before the first process started. */
  async traces(): Promise<readonly string[]> {
    return (await this.#present()).filter((line) => !this.#presentBefore.includes(line));
  }

  /** What peers did that a bound of a listener of ours is against; one line each. */
  refusals(): readonly string[] {
    return this.positions
      .filter((position) => !this.#go.has(position))
      .map((position) => readFileSync(join(this.folder, `${position}.log`), 'utf8'))
      .flatMap((log) => log.split('\n'))
      .filter((line) => line.includes('"refused a connection"') && line.includes('(rule: '));
  }

  /** The last lines of every process, for a test that fails. */
  logs(): string {
    return [...this.positions, 'identity']
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
    for (const name of [...this.positions.toReversed(), 'identity'] as const) {
      // What does not end by itself ends with the sandbox.
      if (this.#running.has(name)) await this.stop(name).catch(() => {});
    }
    await this.#secrets?.close();
    await this.#bus?.stop();
    await this.#switches.close();
    await this.#sandbox.close();
    await this.#netlink.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #prepare(): Promise<void> {
    await this.#joinNodes();
    await this.#startSwitches();
    this.#presentBefore = await this.#present();
    // The reference pings by sockets without privilege, which a new namespace gives to nobody.
    const anyGroup = 'net.ipv4.ping_group_range=0 2147483647';
    const { exitCode, stderr } = await this.#sandbox.run(this.client, ['sysctl', '-w', anyGroup]);
    if (exitCode !== 0) throw new Error(`sysctl: ${stderr}`);
    this.#spawn('identity', [process.execPath, executable, 'identity'], {
      VWIRE_IDENTITY_DIR: join(this.folder, 'identity'),
      VWIRE_IDENTITY_WORKLOADS: [...this.positions, 'bus'].join(','),
      VWIRE_STATE_DIR: this.folder,
    });
    await eventually('identities are served', 20_000, () => {
      const sockets = this.positions.map((each) =>
        identityUrl(this.folder, each).slice('unix://'.length),
      );
      const missing = sockets.find((path) => !existsSync(path));
      if (missing !== undefined) throw new Error(`no ${missing}`);
    });
    if (this.#layout.onBus.size > 0) await this.#startBus();
  }

  async #joinNodes(): Promise<void> {
    if (!isOverTwo(this.#layout)) return;
    const { node, farNode } = this.#places;
    await joinNodes(this.#sandbox, this.#netlink, [
      { namespace: node, addresses: this.#underlayOf('forwarder') },
      { namespace: farNode, addresses: this.#underlayOf('far-forwarder') },
    ]);
  }

  async #startSwitches(): Promise<void> {
    for (const position of ['forwarder', 'far-forwarder'] as const) {
      const isGo = this.#go.has(position);
      if (!isGo && !this.#onOvs.includes(position)) continue;
      const node = this.#placeOf(position);
      await this.#switches.start({ position, isGo, node, addresses: this.#underlayOf(position) });
    }
  }

  #underlayOf(position: ForwarderPosition): readonly string[] {
    if (!isOverTwo(this.#layout)) return [];
    return [`${this.#layout.nodes[position === 'forwarder' ? 0 : 1]}/24`];
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
    if (name === 'nse') return this.#places.endpoint;
    return name.startsWith('far-') ? this.#places.farNode : this.#places.node;
  }

  async #present(): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const [place, { url }] of Object.entries(this.#places)) {
      const links = await linksOf(this.#netlink, url);
      const ofWires = links.filter(({ name }) => name !== bridgeName);
      lines.push(...ofWires.map(({ name }) => `${place} ${name}`));
    }
    lines.push(...(await this.#switches.ports()));
    return lines;
  }
}
