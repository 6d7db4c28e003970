// What a test does to a mesh from outside: lets its time go on, and calls its components by hand.

import { create } from '@bufbuild/protobuf';
import { registryClients } from '../../actors/registry/registry-clients.ts';
import { timestampFromEpochMs } from '../../protocols/nsm/expiry.ts';
import {
  type Connection,
  ConnectionSchema,
  MonitorConnection,
  MonitorScopeSelectorSchema,
} from '../../protocols/nsm/gen/connection_pb.ts';
import {
  NetworkService,
  type NetworkServiceRequest,
  NetworkServiceRequestSchema,
} from '../../protocols/nsm/gen/networkservice_pb.ts';
import {
  type NetworkService as NetworkServiceEntry,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import {
  type Decision,
  DecisionsRequestSchema,
  Inspection,
} from '../../protocols/nsm/gen/vwire_inspect_pb.ts';
import { kernelMechanism } from '../../protocols/nsm/kernel-mechanism.ts';
import type { Dialer, Listener } from '../../protocols/ports/rpc.ts';
import { createMemoryNetwork } from '../../transports/memory/memory-network.ts';
import { createManualClock, type ManualClock, settle } from './manual-clock.ts';

export const lifetimeMs = 600_000;
export const callMs = 15_000;

export class MeshCalls {
  readonly clock: ManualClock = createManualClock();
  protected readonly network = createMemoryNetwork({ clock: this.clock });
  #netns = 0;

  get dialer(): Dialer {
    return this.network.dialer;
  }

  get listener(): Listener {
    return this.network.listener;
  }

  /** Waits for something, letting virtual time go on in small steps as long as it takes. */
  async run<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    let isOver = false;
    const ended = work.finally(() => (isOver = true));
    ended.catch(() => {});
    for (let turn = 0; turn < 12 && !isOver; turn += 1) await settle();
    for (let spentMs = 0; !isOver && spentMs < limitMs; spentMs += 20) await this.clock.advance(20);
    if (!isOver) throw new Error(`nothing came within ${limitMs} ms of virtual time`);
    return ended;
  }

  /** Lets virtual time go on until `isSo`. */
  until(isSo: () => boolean | Promise<boolean>, limitMs = 120_000): Promise<void> {
    const wait = async (): Promise<void> => {
      for (let spentMs = 0; !(await isSo()); spentMs += 20) {
        if (spentMs >= limitMs) throw new Error(`not so within ${limitMs} ms of virtual time`);
        await this.clock.advance(20);
      }
    };
    return wait();
  }

  /** A namespace of its own for a workload. */
  newNamespace(): string {
    this.#netns += 1;
    return `inode://4/${this.#netns}`;
  }

  /** A NetworkService that no Endpoint registers: with matches, for example. */
  async registerService(service: Omit<Partial<NetworkServiceEntry>, '$typeName' | '$unknown'>) {
    const { services } = registryClients(this.dialer.dial('memory:registry'));
    const entry = create(NetworkServiceSchema, { name: 'service', payload: 'IP' });
    await this.run(services.register({ ...entry, ...service }, { timeoutMs: callMs }));
  }

  /** Names of the Endpoints in the domain's registry. */
  async registeredEndpoints(): Promise<readonly string[]> {
    const { endpoints } = registryClients(this.dialer.dial('memory:registry'));
    const names: string[] = [];
    const read = async (): Promise<void> => {
      const query = { networkServiceEndpoint: {} };
      for await (const { networkServiceEndpoint } of endpoints.find(
        create(NetworkServiceEndpointQuerySchema, query),
        { timeoutMs: callMs },
      )) {
        names.push(networkServiceEndpoint?.name ?? '');
      }
    };
    await this.run(read());
    return names.toSorted();
  }

  /** A first Request as a client makes it. */
  firstRequest(id: string, change: Partial<Connection> = {}): NetworkServiceRequest {
    const netnsUrl = this.newNamespace();
    const expires = timestampFromEpochMs(this.clock.epochMs() + lifetimeMs);
    return create(NetworkServiceRequestSchema, {
      connection: {
        ...create(ConnectionSchema, {
          id,
          networkService: 'service',
          path: { index: 0, pathSegments: [{ name: 'hand', id, expires }] },
        }),
        ...change,
      },
      mechanismPreferences: [kernelMechanism({ netnsUrl, interfaceName: 'nsm-1' })],
    });
  }

  /** A refresh of what was answered, with a caller's token that lives on. */
  refreshOf(answer: Connection): NetworkServiceRequest {
    const request = create(NetworkServiceRequestSchema);
    const expires = timestampFromEpochMs(this.clock.epochMs() + lifetimeMs);
    const [own, ...rest] = answer.path?.pathSegments ?? [];
    const path = answer.path;
    if (path === undefined || own === undefined) throw new Error('an answer without a path');
    request.connection = {
      ...answer,
      path: { ...path, pathSegments: [{ ...own, expires }, ...rest] },
    };
    return request;
  }

  request(
    url: string,
    request: NetworkServiceRequest,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<Connection> {
    const client = this.dialer.dial(url).client(NetworkService);
    return client.request(request, { timeoutMs: callMs, ...options });
  }

  async close(url: string, connection: Connection): Promise<void> {
    const client = this.dialer.dial(url).client(NetworkService);
    await client.close(connection, { timeoutMs: callMs });
  }

  /** What a manager and its forwarders have decided for a connection, newest first. */
  async decisionsAt(url: string, key: string): Promise<readonly Decision[]> {
    const client = this.dialer.dial(url).client(Inspection);
    const request = create(DecisionsRequestSchema, { key });
    return (await this.run(client.decisions(request, { timeoutMs: callMs }))).decisions;
  }

  /** What MonitorConnections of a hop begins with. */
  async connectionsAt(url: string): Promise<Record<string, Connection>> {
    const stop = new AbortController();
    const client = this.dialer.dial(url).client(MonitorConnection);
    const selector = create(MonitorScopeSelectorSchema);
    const read = async (): Promise<Record<string, Connection>> => {
      for await (const event of client.monitorConnections(selector, { signal: stop.signal })) {
        return event.connections;
      }
      throw new Error('the monitor ended before its initial transfer');
    };
    try {
      return await this.run(read());
    } finally {
      stop.abort();
    }
  }
}
