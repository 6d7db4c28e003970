// One registry domain on real actors, a memory store and a manual clock, with the services called directly.

import { create } from '@bufbuild/protobuf';
import { expect } from 'vitest';
import {
  type RegistryDomainSetup,
  spawnRegistryDomain,
} from '../../../actors/registry/registry-domain.ts';
import type { RegistryClients } from '../../../actors/registry/registry-clients.ts';
import {
  type RegistryServicesSetup,
  registryServices,
} from '../../../actors/registry/registry-services.ts';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
  type NetworkServiceEndpointResponse,
  NetworkServiceEndpointSchema,
  NetworkServiceQuerySchema,
  NetworkServiceSchema,
} from '../../../protocols/nsm/gen/registry_pb.ts';
import type { Clock } from '../../../protocols/ports/clock.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import type { CallContext, ServedService } from '../../../protocols/ports/rpc.ts';
import { createMemoryRegistryStore } from '../../../transports/memory/registry-store.ts';
import { systemClock, systemWallClock } from '../../../transports/process/system-clock.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';

/** A choice in which nothing but the turn counts. */
export const byTurn = { stickyKey: '', loadOf: () => 0, lastBecause: () => undefined };

export interface RegistryFixture {
  readonly clock: ManualClock;
  readonly clients: RegistryClients;
  readonly services: readonly ServedService[];
  stop(): Promise<void>;
}

export interface RegistryFixtureOptions {
  readonly clock?: ManualClock;
  /** For stores that answer over a socket. */
  readonly realTime?: boolean;
  readonly domain?: Partial<RegistryDomainSetup>;
  readonly services?: Partial<RegistryServicesSetup>;
}

export function startRegistry(options: RegistryFixtureOptions = {}): RegistryFixture {
  const manual = options.clock ?? createManualClock();
  const clock = options.realTime === true ? systemClock : manual;
  const wallClock = options.realTime === true ? systemWallClock : manual;
  const system = createActorSystem({ name: 'test', clock, random: systemRandom, log: silentLog });
  const store = createMemoryRegistryStore();
  const domain = spawnRegistryDomain(system, { store, wallClock, ...options.domain }, 'registry');
  const services = registryServices({
    system,
    domain,
    clock,
    wallClock,
    ...options.services,
  });
  return {
    clock: manual,
    services,
    clients: directClients(services, clock),
    stop: async () => {
      const stopped = system.stop(1_000);
      await settle();
      await stopped;
      // With a clock of its own: other registries on a shared one may still have timers.
      if (options.clock === undefined) expect(manual.pendingTimers, 'timers left behind').toBe(0);
    },
  };
}

/** Calls the handlers without a transport, as the memory binding would. */
export function directClients(services: readonly ServedService[], clock: Clock): RegistryClients {
  const [nsr, nser] = services.map(({ handler }) => handler);
  return {
    services: wrap(nsr ?? {}, clock) as RegistryClients['services'],
    endpoints: wrap(nser ?? {}, clock) as RegistryClients['endpoints'],
  };
}

interface Options {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
  readonly onHeaders?: (headers: Readonly<Record<string, string>>) => void;
}
type Handler = (request: unknown, context: CallContext) => unknown;

function wrap(handler: Readonly<Record<string, unknown>>, clock: Clock): unknown {
  const call =
    (name: string) =>
    (request: unknown, options: Options = {}): unknown => {
      const { timeoutMs } = options;
      return (handler[name] as Handler)(request, {
        signal: options.signal ?? new AbortController().signal,
        deadlineMs: timeoutMs === undefined ? Number.POSITIVE_INFINITY : clock.nowMs() + timeoutMs,
        headers: options.headers ?? {},
        peer: { binding: 'memory' },
        setHeader: (key, value) => options.onHeaders?.({ [key]: value }),
      });
    };
  return { register: call('register'), find: call('find'), unregister: call('unregister') };
}

export const second = { timeoutMs: 1_000 };

export const endpoint = (
  name: string,
  service: string,
  more: Partial<NetworkServiceEndpoint> = {},
): NetworkServiceEndpoint => ({
  ...create(NetworkServiceEndpointSchema, {
    name,
    networkServiceNames: [service],
    url: `tcp://127.0.0.1:5001/${name}`,
  }),
  ...more,
});

export const service = (name: string) => create(NetworkServiceSchema, { name });

export async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of stream) all.push(each);
  return all;
}

export async function findNames(
  clients: RegistryClients,
  query: Partial<NetworkServiceEndpoint>,
): Promise<string[]> {
  const found = await collect(
    clients.endpoints.find(
      create(NetworkServiceEndpointQuerySchema, {
        networkServiceEndpoint: { ...create(NetworkServiceEndpointSchema), ...query },
      }),
    ),
  );
  return found.map((each) => each.networkServiceEndpoint?.name ?? '');
}

export async function findServiceNames(clients: RegistryClients, name: string): Promise<string[]> {
  const query = create(NetworkServiceQuerySchema, { networkService: service(name) });
  return (await collect(clients.services.find(query))).map(
    (each) => each.networkService?.name ?? '',
  );
}

export interface Watched {
  /** `+name` for a change, `-name` for a deletion, in order of arrival. */
  readonly events: string[];
  readonly responses: NetworkServiceEndpointResponse[];
  readonly ended: Promise<unknown>;
  stop(): void;
}

export function watchEndpoints(
  clients: RegistryClients,
  query: Partial<NetworkServiceEndpoint>,
): Watched {
  const abort = new AbortController();
  const events: string[] = [];
  const responses: NetworkServiceEndpointResponse[] = [];
  const stream = clients.endpoints.find(
    create(NetworkServiceEndpointQuerySchema, {
      watch: true,
      networkServiceEndpoint: { ...create(NetworkServiceEndpointSchema), ...query },
    }),
    { signal: abort.signal },
  );
  const ended = (async () => {
    try {
      for await (const response of stream) {
        responses.push(response);
        events.push(`${response.deleted ? '-' : '+'}${response.networkServiceEndpoint?.name}`);
      }
      return undefined;
    } catch (error) {
      return error;
    }
  })();
  return { events, responses, ended, stop: () => abort.abort() };
}
