// The processes of the demo: a bus, a registry, two nodes (each a manager and a forwarder), two Endpoints and two
// clients, every one a real process in its namespace. What a process reports is kept, so that the demo can say what
// went wrong with whom.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import { startNatsServer } from '../../transports/nats/nats-server.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import type { Child } from '../../transports/process/child.ts';
import { launch } from '../roles/launch.ts';
import type { DemoNode, DemoPair, DemoWorkload, Topology } from './topology.ts';

/** What `vwire nsc` prints when a connection changes. */
export interface ClientReport {
  readonly event: string;
  readonly networkService: string;
  readonly connectionId: string;
  /** Since the client began to request, in ms. */
  readonly afterMs: number;
  readonly endpoint?: string;
  readonly path?: readonly string[];
  readonly addresses?: readonly string[];
  readonly peerAddresses?: readonly string[];
  readonly interface?: string;
  readonly error?: string;
}

/** What `vwire node` prints about its children. */
export interface ChildReport {
  readonly event: 'child';
  readonly child: string;
  readonly pid: number;
  readonly restarts: number;
}

export interface DemoMesh {
  /** Children of this process by name, in the order of their start. */
  readonly processes: ReadonlyMap<string, Child>;
  /** Latest report about each supervised child, by `<node>/<child>`. */
  readonly supervised: ReadonlyMap<string, ChildReport>;
  /** Waits until the client of a pair is connected. */
  connected(pair: DemoPair, timeoutMs: number): Promise<ClientReport>;
  /** Ends clients first, then Endpoints, nodes, registry and bus, each with its own chance to clean up. */
  stop(): Promise<void>;
}

const readyTimeoutMs = 30_000;
const stopGraceMs = 10_000;
const domain = 'demo';
const busPort = 4222;

export interface MeshOptions {
  readonly topology: Topology;
  readonly stateDir: string;
  readonly natsServer: string;
  readonly onStep: (text: string) => void;
}

export async function startMesh(options: MeshOptions): Promise<DemoMesh> {
  const { topology, stateDir, onStep } = options;
  const processes = new Map<string, Child>();
  const supervised = new Map<string, ChildReport>();
  const clients = new ClientReports();
  const [hub] = topology.nodes;
  const common = {
    VWIRE_DOMAIN: domain,
    VWIRE_INSTALLATION: `demo-${process.pid}`,
    VWIRE_NATS_URL: `nats://${hub.tunnelIp}:${busPort}`,
    VWIRE_INSECURE: 'true',
  };
  const bus = await startNatsServer({
    binary: options.natsServer,
    address: hub.tunnelIp,
    port: busPort,
    storeDir: join(stateDir, 'nats'),
    spawn: (command, args, how) => spawnInNamespace(hub.namespace.url, [command, ...args], how),
  });
  const stop = async (): Promise<void> => {
    const ordered = [...processes.values()].toReversed();
    for (const prefix of ['client', 'server', 'node', 'registry']) {
      const group = ordered.filter(({ name }) => name.startsWith(prefix));
      await Promise.all(group.map((child) => child.stop(stopGraceMs)));
    }
    await bus.stop();
  };
  const start = (name: string, role: readonly string[], where: DemoNode | DemoWorkload) => {
    const processDir = join(stateDir, name);
    mkdirSync(processDir, { recursive: true });
    return (env: Readonly<Record<string, string>>, onLine?: (line: string) => void): Child => {
      const child = launch({
        role,
        name,
        stateDir: processDir,
        env: { ...common, ...env },
        ...(onLine === undefined ? {} : { onLine }),
        spawn: (command, args, how) =>
          spawnInNamespace(where.namespace.url, [command, ...args], how),
      });
      processes.set(name, child);
      return child;
    };
  };
  const socketOf = (node: DemoNode): string => `unix://${join(stateDir, node.name, 'nsm.io.sock')}`;

  try {
    onStep('bus is up');
    const registry = start('registry', ['registry'], hub);
    await registry({ NSM_LISTEN_ON: `nats://${domain}/registry/registry` }).ready(readyTimeoutMs);
    onStep('registry is up');
    await Promise.all(
      topology.nodes.map((node) =>
        start(
          node.name,
          ['node'],
          node,
        )({ VWIRE_NODE: node.name, NSM_TUNNEL_IP: node.tunnelIp }, (line) =>
          keepChildReport(supervised, node.name, line),
        ).ready(readyTimeoutMs),
      ),
    );
    onStep('managers and forwarders of both nodes are up');
    await Promise.all(
      topology.pairs.map(({ endpoint, service, payload, cidrPrefix }) =>
        start(
          endpoint.name,
          ['nse', 'icmp-responder'],
          endpoint,
        )({
          NSM_NAME: endpoint.name,
          NSM_CONNECT_TO: socketOf(endpoint.node),
          NSM_BASE_DIR: join(stateDir, endpoint.name),
          NSM_SERVICE_NAMES: service,
          NSM_PAYLOAD: payload,
          NSM_CIDR_PREFIX: cidrPrefix,
          NSM_UNREGISTER_ITSELF: 'true',
        }).ready(readyTimeoutMs),
      ),
    );
    onStep('Endpoints are registered');
    await Promise.all(
      topology.pairs.map(({ client, service }) =>
        start(
          client.name,
          ['nsc'],
          client,
        )(
          {
            NSM_NAME: client.name,
            NSM_CONNECT_TO: socketOf(client.node),
            NSM_NETWORK_SERVICES: `kernel://${service}/nsm-1`,
          },
          (line) => clients.keep(client.name, line),
        ).ready(readyTimeoutMs),
      ),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    processes,
    supervised,
    connected: (pair, timeoutMs) => clients.connected(pair.client.name, timeoutMs),
    stop,
  };
}

function keepChildReport(kept: Map<string, ChildReport>, node: string, line: string): void {
  const report = parseLine<ChildReport>(line);
  if (report?.event === 'child') kept.set(`${node}/${report.child}`, report);
}

/** The latest report of each client, and who waits for one. */
class ClientReports {
  readonly #latest = new Map<string, ClientReport>();
  readonly #waiting = new Set<() => void>();

  keep(client: string, line: string): void {
    const report = parseLine<ClientReport>(line);
    if (report === undefined) return;
    this.#latest.set(client, report);
    for (const wake of this.#waiting) wake();
  }

  connected(client: string, timeoutMs: number): Promise<ClientReport> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const report = this.#latest.get(client);
        if (report?.event !== 'established') return;
        end();
        resolve(report);
      };
      const end = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(look);
      };
      const timer = setTimeout(() => {
        end();
        const found = this.#latest.get(client)?.error ?? 'it reported nothing';
        reject(new NsmError('DEADLINE_EXCEEDED', `${client} got no connection`, { found }));
      }, timeoutMs);
      this.#waiting.add(look);
      look();
    });
  }
}

function parseLine<Report>(line: string): Report | undefined {
  try {
    return JSON.parse(line) as Report;
  } catch {
    return undefined;
  }
}
