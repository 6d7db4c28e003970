// Protects the pushed cache: answers from memory once warm, follows the registry, never says "not found" without
// asking, keeps what it knows while the registry is away, and leaves nothing open behind.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createDiscovery,
  type Discovery,
  type DiscoverySetup,
  type ServiceView,
} from '../../../actors/discovery/discovery.ts';
import type { RegistryClients } from '../../../actors/registry/registry-clients.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { NetworkServiceSchema } from '../../../protocols/nsm/gen/registry_pb.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';
import {
  byTurn,
  collect,
  endpoint,
  type RegistryFixture,
  second,
  service,
  startRegistry,
} from '../registry/fixture.ts';

let clock: ManualClock;
let registry: RegistryFixture;
let discovery: Discovery;
let finds: string[];
let isAway: boolean;
/** Stands between the registry and the answer of a one-shot Find for Endpoints. */
let slowly: (<T>(ask: () => Promise<T>) => Promise<T>) | undefined;

/** The registry behind a wire that can be cut; counts what is asked of it. */
function wire(target: () => RegistryClients): RegistryClients {
  const cut = (): never => {
    throw new NsmError('UNAVAILABLE', 'the wire is cut');
  };
  const find = (kind: 'services' | 'endpoints') =>
    async function* (query: { watch: boolean }, options?: object): AsyncIterable<unknown> {
      finds.push(`${kind}${query.watch ? ' watch' : ''}`);
      if (isAway) cut();
      const call = target()[kind].find as (q: unknown, o: unknown) => AsyncIterable<unknown>;
      if (slowly === undefined || query.watch || kind === 'services') yield* call(query, options);
      else yield* await slowly(() => collect(call(query, options)));
    };
  return {
    services: { ...target().services, find: find('services') },
    endpoints: { ...target().endpoints, find: find('endpoints') },
  } as unknown as RegistryClients;
}

function open(more: Partial<DiscoverySetup> = {}): Discovery {
  return createDiscovery({
    clients: wire(() => registry.clients),
    clock,
    wallClock: clock,
    random: systemRandom,
    log: silentLog,
    ...more,
  });
}

const call = () => ({ deadlineMs: clock.nowMs() + 5_000, signal: new AbortController().signal });
const choose = (view: ServiceView, labels = {}) =>
  discovery.choose(view, { ...byTurn, labels }).candidates;
const names = (view: ServiceView, labels = {}): string[] =>
  choose(view, labels).map(({ name }) => name);

beforeEach(async () => {
  clock = createManualClock();
  finds = [];
  isAway = false;
  slowly = undefined;
  registry = startRegistry({ clock });
  discovery = open();
  await registry.clients.services.register(service('svc'), second);
});

afterEach(async () => {
  discovery.close();
  await settle();
  await registry.stop();
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

describe('discovery', () => {
  it('asks once, then answers from memory and follows every change', async () => {
    await registry.clients.endpoints.register(endpoint('e1', 'svc'), second);
    expect(names(await discovery.discover('svc', call()))).toEqual(['e1']);
    expect(finds.toSorted()).toEqual([
      'endpoints',
      'endpoints watch',
      'services',
      'services watch',
    ]);
    await registry.clients.endpoints.register(endpoint('e2', 'svc'), second);
    await settle();
    expect(names(await discovery.discover('svc', call())).toSorted()).toEqual(['e1', 'e2']);
    await registry.clients.endpoints.unregister(endpoint('e1', 'svc'), second);
    await settle();
    expect(names(await discovery.discover('svc', call()))).toEqual(['e2']);
    expect(finds).toHaveLength(4);
  });

  it('asks the registry before it says that something is missing', async () => {
    await expect(discovery.discover('unknown', call())).rejects.toMatchObject({
      code: 'NOT_FOUND',
      details: { found: expect.stringContaining('registry') },
    });
    const cold = finds.length;
    await expect(discovery.discover('unknown', call())).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    expect(finds.length).toBe(cold + 2);
    const view = await discovery.discover('svc', call());
    expect(view.endpointCount).toBe(0);
    expect(choose(view)).toEqual([]);
  });

  it('revives nothing that was deleted while the registry was being asked', async () => {
    await discovery.discover('svc', call());
    slowly = async (ask) => {
      await registry.clients.endpoints.register(endpoint('e1', 'svc'), second);
      const answer = await ask();
      await registry.clients.endpoints.unregister(endpoint('e1', 'svc'), second);
      await settle();
      return answer;
    };
    const view = await discovery.discover('svc', call());
    expect(finds.at(-1)).toBe('endpoints');
    expect(names(view)).toEqual([]);
  });

  it('puts no old service over what changed while the registry was being asked', async () => {
    await discovery.discover('svc', call());
    slowly = async (ask) => {
      const answer = await ask();
      const changed = create(NetworkServiceSchema, { name: 'svc', payload: 'ETHERNET' });
      await registry.clients.services.register(changed, second);
      await settle();
      return answer;
    };
    const view = await discovery.discover('svc', call());
    expect(view.networkService.payload).toBe('ETHERNET');
  });

  it('gives each candidate its turn, and all of them to one that fails', async () => {
    for (const name of ['a', 'b', 'c']) {
      await registry.clients.endpoints.register(endpoint(name, 'svc'), second);
    }
    const view = await discovery.discover('svc', call());
    expect(names(view)).toEqual(['a', 'b', 'c']);
    expect(names(view)).toEqual(['b', 'c', 'a']);
    expect(names(view)).toEqual(['c', 'a', 'b']);
    expect(names(view)).toEqual(['a', 'b', 'c']);
  });

  it('chooses by the matches of the service, sharing choices between clients that look alike', async () => {
    await registry.clients.services.register(
      create(NetworkServiceSchema, {
        name: 'svc',
        matches: [
          {
            sourceSelector: { app: 'web' },
            routes: [{ destinationSelector: { zone: '{{ .zone }}' } }],
          },
          { routes: [{ destinationSelector: { zone: 'default' } }] },
        ],
      }),
      second,
    );
    for (const zone of ['north', 'south', 'default']) {
      const labels = {
        svc: { $typeName: 'registry.NetworkServiceLabels' as const, labels: { zone } },
      };
      await registry.clients.endpoints.register(
        endpoint(zone, 'svc', { networkServiceLabels: labels }),
        second,
      );
    }
    const view = await discovery.discover('svc', call());
    for (let pod = 0; pod < 300; pod += 1) {
      expect(names(view, { app: 'web', zone: 'north', pod: `${pod}` })).toEqual(['north']);
    }
    expect(names(view, { app: 'web', zone: 'south' })).toEqual(['south']);
    expect(names(view, { app: 'db' })).toEqual(['default']);
  });

  it('leaves out what has expired, unless the registry is away and nobody could refresh', async () => {
    await registry.clients.endpoints.register(endpoint('e1', 'svc'), second);
    let view = await discovery.discover('svc', call());
    clock.stepWall(3_600_000);
    expect(names(view)).toEqual(['e1']);
    clock.stepWall(-3_600_000);
    await clock.advance(61_000);
    expect(names(view)).toEqual([]);
    await registry.clients.endpoints.register(endpoint('e1', 'svc'), second);
    await clock.advance(100);
    isAway = true;
    await registry.stop();
    await settle();
    view = await discovery.discover('svc', call());
    expect(view.isStale).toBe(true);
    await clock.advance(300_000);
    expect(names(view)).toEqual(['e1']);
    expect((await discovery.findEndpointByName('e1', call()))?.name).toBe('e1');
    registry = startRegistry({ clock });
  });

  it('recovers by itself, and drops what was deleted meanwhile', async () => {
    await registry.clients.endpoints.register(endpoint('gone', 'svc'), second);
    await registry.clients.endpoints.register(endpoint('kept', 'svc'), second);
    await discovery.discover('svc', call());
    await registry.stop();
    registry = startRegistry({ clock });
    await registry.clients.services.register(service('svc'), second);
    await registry.clients.endpoints.register(endpoint('kept', 'svc'), second);
    await clock.advance(10_000);
    const view = await discovery.discover('svc', call());
    expect(view.isStale).toBe(false);
    expect(names(view)).toEqual(['kept']);
  });

  it('fails a caller with the registry’s error while it knows nothing, and in time', async () => {
    isAway = true;
    await expect(discovery.discover('svc', call())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    isAway = false;
    await clock.advance(1_000);
    expect((await discovery.discover('svc', call())).networkService.name).toBe('svc');
    const late = discovery.discover('other', { ...call(), deadlineMs: clock.nowMs() });
    const refused = expect(late).rejects.toBeInstanceOf(NsmError);
    await clock.advance(1);
    await refused;
  });

  it('finds an Endpoint by its exact name, from memory where it can', async () => {
    await registry.clients.endpoints.register(endpoint('e1', 'svc'), second);
    expect((await discovery.findEndpointByName('e1', call()))?.name).toBe('e1');
    expect(await discovery.findEndpointByName('e', call())).toBeUndefined();
    await discovery.discover('svc', call());
    finds = [];
    expect((await discovery.findEndpointByName('e1', call()))?.name).toBe('e1');
    expect(finds).toEqual([]);
  });

  it('lets go of services that nobody asks for, and of the oldest past its bound', async () => {
    discovery.close();
    discovery = open({ idleMs: 1_000, servicesMax: 2 });
    for (const name of ['a', 'b', 'svc']) await discovery.discover(name, call()).catch(() => {});
    expect(discovery.services.map(({ name }) => name)).toEqual(['b', 'svc']);
    await clock.advance(2_000);
    expect(discovery.services).toEqual([]);
  });
});
