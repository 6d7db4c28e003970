// The bus of a chaos run: one nats-server, or a cluster of three, each of which can be killed and started again on
// its port with its store. Runs in the hub's namespace, where the leader of the cluster is asked for as well.

import { get } from 'node:http';
import { Socket } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { MeshBus } from '../../bin/demo/mesh-bus.ts';
import type { MeshNode } from '../../bin/demo/mesh.ts';
import { withLeastPrivilege } from '../../bin/roles/privileges.ts';
import { StartedProcesses } from '../../transports/process/process-identity.ts';
import { type NatsServer, startNatsServer } from '../../transports/nats/nats-server.ts';
import { checked, closeOnExec, libc, socketFamily } from '../../transports/netlink/libc.ts';
import { inNamespace } from '../../transports/netlink/namespace-switch.ts';
import { spawnInNamespace } from '../../transports/netlink/spawn-in-namespace.ts';
import { parseIp } from '../../protocols/netlink/ip-address.ts';
import { eventually } from '../../test/sandbox/eventually.ts';

const clientPort = 4222;
const clusterPort = 6222;
const monitorPort = 8222;
const leaderTimeoutMs = 30_000;
/** SOCK_STREAM. */
const stream = 1;

export interface BusOptions {
  readonly hub: MeshNode;
  readonly servers: 1 | 3;
  readonly natsServer: string;
  /** For files of its own. */
  readonly directory: string;
  /** Of the mesh that meets there. */
  readonly rights: () => MeshBus;
}

export class Bus {
  readonly #options: BusOptions;
  readonly #servers: (NatsServer | undefined)[];
  /** Every process that was. */
  readonly started = new StartedProcesses();

  constructor(options: BusOptions) {
    this.#options = options;
    this.#servers = Array.from({ length: options.servers }, () => undefined);
  }

  /** For `VWIRE_NATS_URL`. */
  get url(): string {
    const { hub } = this.#options;
    return this.#servers.map((_, at) => `nats://${hub.tunnelIp}:${clientPort + at}`).join(',');
  }

  get size(): number {
    return this.#servers.length;
  }

  pidOf(at: number): number {
    return this.#servers[at]?.pid ?? 0;
  }

  async startAll(): Promise<void> {
    await Promise.all(this.#servers.map((_, at) => this.start(at)));
    if (this.size > 1) await this.leader();
  }

  async start(at: number): Promise<void> {
    const { hub, natsServer, rights } = this.#options;
    const { started, ...how } = await rights().prepare(`nats-${at + 1}`);
    const server = await startNatsServer({
      binary: natsServer,
      address: hub.tunnelIp,
      port: clientPort + at,
      ...how,
      ...(this.size === 1 ? {} : { arguments: this.#clusterArguments(at, how.arguments) }),
      spawn: (command, args, options) =>
        spawnInNamespace(hub.namespace.url, withLeastPrivilege('bus', [command, ...args]), options),
    });
    started(server);
    this.#servers[at] = server;
    this.started.add(server.pid);
  }

  /** Resolves when it is gone. */
  async kill(at: number): Promise<void> {
    const server = this.#servers[at];
    if (server === undefined) return;
    process.kill(server.pid, 'SIGKILL');
    await server.ended;
  }

  /** Ends it in order. */
  async end(at: number): Promise<void> {
    await this.#servers[at]?.stop();
  }

  /** Position of the server that leads the cluster. */
  leader(): Promise<number> {
    return eventually('the cluster has a leader', leaderTimeoutMs, async () => {
      const { hub } = this.#options;
      const answer = await askMonitor(hub, monitorPort);
      const { meta_cluster: cluster } = JSON.parse(answer) as {
        readonly meta_cluster?: { readonly leader?: string };
      };
      const at = this.#servers.findIndex((_, index) => cluster?.leader === nameOf(index));
      if (at < 0) throw new Error(`found: ${cluster?.leader ?? 'no leader'}`);
      return at;
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#servers.map((_, at) => this.end(at)));
  }

  /** In a file, since nats-server 2.9 forgets what options say of a cluster when it reads its file anew. */
  #clusterArguments(at: number, given: readonly string[] = []): readonly string[] {
    const { hub, directory } = this.#options;
    const portOf = (index: number): string => `${hub.tunnelIp}:${clusterPort + index}`;
    const routes = this.#servers.map((_, index) => `nats://${portOf(index)}`);
    const file = join(directory, `${nameOf(at)}.conf`);
    const [, rights] = given;
    const lines = [
      `server_name: ${nameOf(at)}`,
      `http: "${hub.tunnelIp}:${monitorPort + at}"`,
      `cluster { name: chaos, listen: "${portOf(at)}", routes: ${JSON.stringify(routes)} }`,
      ...(rights === undefined ? [] : [`include ${JSON.stringify(relative(directory, rights))}`]),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    return ['-c', file];
  }
}

const nameOf = (at: number): string => `bus-${at + 1}`;

/** What the monitoring of a server in the hub's namespace says about JetStream. */
function askMonitor(hub: MeshNode, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const createConnection = () => new Socket({ fd: connectedSocket(hub, port) });
    const options = { path: '/jsz', host: hub.tunnelIp, port, createConnection, timeout: 2_000 };
    const request = get(options, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve(body));
    });
    request.on('timeout', () => request.destroy(new Error('the monitoring does not answer')));
    request.on('error', reject);
  });
}

function connectedSocket({ namespace, tunnelIp }: MeshNode, port: number): number {
  // sockaddr_in: family in host order, port in network order, then the address.
  const target = new Uint8Array(16);
  target.set(new Uint8Array(new Uint16Array([socketFamily.inet]).buffer));
  new DataView(target.buffer).setUint16(2, port);
  target.set(parseIp(tunnelIp).bytes, 4);
  const what = `connect to the monitoring at ${tunnelIp}:${port}`;
  return inNamespace(namespace.descriptor, () => {
    const socket = checked(libc.socket(socketFamily.inet, stream | closeOnExec, 0), what);
    if (libc.connect(socket, target, target.length) < 0) {
      libc.close(socket);
      throw new Error(`could not ${what}`);
    }
    return socket;
  });
}
