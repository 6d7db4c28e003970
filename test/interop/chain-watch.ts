// What a test sees of a chain from outside: whether the wire carries packets, and what the manager, ours or Go's, tells
// the client of its connection. It asks as the client: with its identity, since nobody else is told.

import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { createPlatform, type Platform } from '../../bin/roles/platform.ts';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import type { Connection } from '../../protocols/nsm/gen/connection_pb.ts';
import {
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import { NetworkServiceEndpointQuerySchema } from '../../protocols/nsm/gen/registry_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import type { Channel } from '../../protocols/ports/rpc.ts';
import { ping } from '../../transports/icmp/ping.ts';
import { eventually } from '../sandbox/eventually.ts';
import type { Chain } from './chain.ts';
import { isHealthy } from './health.ts';
import {
  clientName,
  endpointAddress,
  identityUrl,
  managerUrl,
  networkService,
} from './chain-settings.ts';

/** A client of Go tries a manager that was away again after 15 s. */
const patienceMs = 60_000;
const askTimeoutMs = 2_000;

export class ChainWatch {
  readonly #chain: Chain;
  readonly #platform: Platform;

  static async begin(chain: Chain): Promise<ChainWatch> {
    const platform = await createPlatform({
      name: 'watch',
      log: silentLog,
      natsUrl: undefined,
      insecure: false,
      workloadApi: identityUrl(chain.folder, 'nsc'),
    });
    return new ChainWatch(chain, platform);
  }

  private constructor(chain: Chain, platform: Platform) {
    this.#chain = chain;
    this.#platform = platform;
  }

  /** Waits until echo requests of the client's namespace, with so many bytes of payload, are answered. */
  async pings(what: string, size = 56): Promise<void> {
    await eventually(`pings are answered ${what}`, patienceMs, async () => {
      const { received } = await ping({
        namespace: this.#chain.client.url,
        destination: endpointAddress,
        count: 3,
        intervalMs: 50,
        timeoutMs: 1_000,
        size,
      });
      if (received < 3) throw new Error(`${received} of 3 pings were answered`);
    });
  }

  /** Waits until the manager shows a connection that the client has asked for since. Returns when that one ends. */
  refreshed(what: string, endedBeforeMs: number): Promise<number> {
    return eventually(`the connection is refreshed ${what}`, patienceMs, async () => {
      const endsMs = await this.#endsMs();
      if (endsMs <= endedBeforeMs)
        throw new Error(`it still ends at ${new Date(endsMs).toISOString()}`);
      return endsMs;
    });
  }

  async close(): Promise<void> {
    await this.#platform.stop(askTimeoutMs);
  }

  /** Waits until the manager, that has closed the wire, shows no connection of the client. */
  async forgets(): Promise<void> {
    await eventually('the manager shows no connection', patienceMs, async () => {
      const shown = await this.#connections();
      if (shown.length > 0) throw new Error(`it shows ${shown.map(({ id }) => id).join(', ')}`);
    });
  }

  /** Waits until nobody finds the Endpoint, which has left. */
  async findsNoEndpoint(): Promise<void> {
    const { endpoints } = registryClients(this.#manager());
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { networkServiceNames: [networkService] },
    });
    await eventually('no Endpoint is found', patienceMs, async () => {
      for await (const found of endpoints.find(query, { timeoutMs: askTimeoutMs })) {
        throw new Error(`${found.networkServiceEndpoint?.name ?? ''} is found`);
      }
    });
  }

  /** Waits until the health service at these URLs says that they serve. */
  async areHealthy(urls: readonly string[]): Promise<void> {
    for (const url of urls) {
      await eventually(`${url} is healthy`, patienceMs, async () => {
        if (!(await isHealthy(this.#platform.dialer.dial(url), askTimeoutMs)))
          throw new Error('it is not');
      });
    }
  }

  #manager(): Channel {
    return this.#platform.dialer.dial(managerUrl(this.#chain.folder));
  }

  /** When the client's own token ends, as the manager has it: later with every refresh. */
  async #endsMs(): Promise<number> {
    const connections = await this.#connections();
    const ends = connections.map(({ path }) => path?.pathSegments[0]?.expires);
    const [first] = ends.filter((each) => each !== undefined);
    if (first === undefined) throw new Error('the manager shows no connection');
    return timestampMs(first);
  }

  /** What the manager has of the client now. */
  async #connections(): Promise<readonly Connection[]> {
    const selector = create(MonitorScopeSelectorSchema, {
      pathSegments: [{ id: `${clientName}-0` }],
    });
    const options = { timeoutMs: askTimeoutMs };
    for await (const { connections } of this.#manager()
      .client(MonitorConnection)
      .monitorConnections(selector, options)) {
      return Object.values(connections);
    }
    throw new Error('the manager shows nothing');
  }
}
