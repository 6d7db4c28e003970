// The nats-server of a mesh on this machine: who may do what on it follows from the processes that are started, each
// with the SPIFFE ID that it gets. Without identities it lets everybody do everything.

import { join } from 'node:path';
import type { BusRole, BusUser } from '../../protocols/messages/bus-rights.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { NatsServer, NatsServerOptions } from '../../transports/nats/nats-server.ts';
import { endpointVariable } from '../../transports/spiffe-ts/spiffe.ts';
import { commonVariables } from '../config/common.ts';
import { type BusSecrets, obtainBusSecrets } from '../roles/bus-secrets.ts';
import type { MeshIdentities } from './mesh-identities.ts';

/** Name of the server's identity. */
const busName = 'bus';

const rolesOf: Readonly<Record<string, readonly BusRole[]>> = {
  registry: ['registry'],
  nsmgr: ['nsmgr'],
  forwarder: ['forwarder'],
  nse: ['endpoint'],
  supplier: ['endpoint'],
  nsc: ['client'],
};

/** What serves under another name than its role's. */
function componentIn(listenOn: string | undefined): Pick<BusUser, 'component'> {
  const component = /^nats:\/\/[^/]+\/[^/]+\/([^/]+)$/.exec(listenOn ?? '')?.[1];
  return component === undefined ? {} : { component };
}

export class MeshBus {
  readonly #domain: string;
  readonly #stateDir: string;
  readonly #identities: MeshIdentities;
  readonly #users = new Map<string, BusUser>();
  readonly #servers = new Map<string, Promise<BusSecrets>>();

  constructor(options: {
    readonly domain: string;
    /** Of the mesh. */
    readonly stateDir: string;
    readonly identities: MeshIdentities;
  }) {
    this.#domain = options.domain;
    this.#stateDir = options.stateDir;
    this.#identities = options.identities;
  }

  /** How a server is started, and what it is given to once it runs. One name per server of a cluster. */
  async prepare(name: string): Promise<
    Pick<NatsServerOptions, 'storeDir' | 'arguments'> & {
      readonly started: (server: NatsServer) => void;
    }
  > {
    const storeDir = join(this.#stateDir, name);
    const endpoint = (await this.#identities.of(busName, busName))[endpointVariable];
    if (endpoint === undefined) return { storeDir, started: () => {} };
    let known = this.#servers.get(name);
    if (known === undefined) {
      known = obtainBusSecrets({
        endpoint,
        describe: () => this.#description(),
        directory: join(this.#stateDir, `${name}-server`),
        storeDir,
        log: silentLog,
      });
      this.#servers.set(name, known);
    }
    const { secrets } = await known;
    return {
      arguments: ['-c', secrets.configFile],
      started: (server) => {
        secrets.onChange = () => server.reload();
      },
    };
  }

  /** Before the process starts: what it needs to know, and the servers of it. */
  async admit(
    role: string,
    name: string,
    listenOn: string | undefined,
  ): Promise<Readonly<Record<string, string>>> {
    const component = componentIn(listenOn);
    const known = this.#users.size;
    const parts = role === 'node' ? ['nsmgr', 'forwarder'] : [role];
    for (const part of parts) {
      const roles = rolesOf[part];
      const spiffeId = this.#identities.idOf(role, name, part);
      if (roles === undefined || spiffeId === undefined) continue;
      this.#users.set(spiffeId, {
        spiffeId,
        roles,
        ...(role === 'node' ? { node: name } : {}),
        ...component,
      });
    }
    const servers = await Promise.all(this.#servers.values());
    if (this.#users.size > known) {
      await Promise.all(servers.map(({ secrets }) => secrets.describe(this.#description())));
    }
    const [first] = servers;
    return first === undefined ? {} : { [commonVariables.natsId.name]: first.serverId };
  }

  async close(): Promise<void> {
    const servers = await Promise.all(this.#servers.values());
    this.#servers.clear();
    await Promise.all(servers.map((server) => server.close()));
  }

  #description() {
    return { domain: this.#domain, users: [...this.#users.values()] };
  }
}
