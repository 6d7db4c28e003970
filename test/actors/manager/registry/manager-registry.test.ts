// Protects a manager's registry face: the domain sees the manager's URL, the node sees real ones, leftovers of an
// earlier life stay hidden, and neither a lost nor a silent registry takes a live local endpoint away.

import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  createManagerRegistry,
  type ManagerRegistry,
} from '../../../../actors/manager/registry/manager-registry.ts';
import { createDiscovery, type Discovery } from '../../../../actors/discovery/discovery.ts';
import type { RegistryClients } from '../../../../actors/registry/registry-clients.ts';
import { NsmError } from '../../../../protocols/errors.ts';
import {
  NetworkServiceEndpointQuerySchema,
  NetworkServiceLabelsSchema,
} from '../../../../protocols/nsm/gen/registry_pb.ts';
import { silentLog } from '../../../../protocols/ports/log.ts';
import { systemRandom } from '../../../../transports/process/system-random.ts';
import { createManualClock, type ManualClock, settle } from '../../../sandbox/manual-clock.ts';
import {
  collect,
  directClients,
  endpoint,
  findNames,
  findServiceNames,
  type RegistryFixture,
  second,
  service,
  startRegistry,
  watchEndpoints,
} from '../../registry/fixture.ts';

const publicUrl = 'tcp://10.0.0.1:5001';
let clock: ManualClock;
let registry: RegistryFixture;
let manager: ManagerRegistry;
let discovery: Discovery | undefined;
let node: RegistryClients;
let refusal: NsmError | undefined;
let upstreamUnregisters: string[];

beforeEach(() => {
  clock = createManualClock();
  refusal = undefined;
  upstreamUnregisters = [];
  registry = startRegistry({ clock });
  start();
});

afterEach(async () => {
  manager.close();
  discovery?.close();
  discovery = undefined;
  await settle();
  await registry.stop();
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

function start(cache?: Discovery): void {
  manager = createManagerRegistry({
    ...(cache === undefined ? {} : { discovery: cache }),
    upstream: upstream(),
    publicUrl,
    clock,
    wallClock: clock,
    random: systemRandom,
    log: silentLog,
    nodeLabels: { nodeName: 'node-1' },
  });
  node = directClients(manager.services, clock);
}

function startWithCache(): void {
  manager.close();
  discovery = createDiscovery({
    clients: upstream(),
    clock,
    wallClock: clock,
    random: systemRandom,
    log: silentLog,
  });
  start(discovery);
}

/** The registry of the moment, which can also be silent. */
function upstream(): RegistryClients {
  const check = (): void => {
    if (refusal !== undefined) throw refusal;
  };
  return {
    services: {
      register: (...call) => registry.clients.services.register(...call),
      find: (...call) => {
        check();
        return registry.clients.services.find(...call);
      },
      unregister: (...call) => registry.clients.services.unregister(...call),
    },
    endpoints: {
      register: async (...call) => {
        check();
        return registry.clients.endpoints.register(...call);
      },
      find: (...call) => {
        check();
        return registry.clients.endpoints.find(...call);
      },
      unregister: async (...call) => {
        upstreamUnregisters.push(call[0].name);
        check();
        return registry.clients.endpoints.unregister(...call);
      },
    },
  };
}

const local = (name: string, more = {}) =>
  endpoint(name, 'svc', { url: `unix:///run/${name}.sock`, ...more });

async function urls(clients: RegistryClients): Promise<Record<string, string>> {
  const found = await collect(
    clients.endpoints.find(
      create(NetworkServiceEndpointQuerySchema, { networkServiceEndpoint: {} }),
    ),
  );
  return Object.fromEntries(
    found.map(({ networkServiceEndpoint: each }) => [each?.name ?? '', each?.url ?? '']),
  );
}

describe.each([
  ['without a cache', false],
  ['with the pushed cache', true],
])('a manager’s registry %s', (_, withCache) => {
  beforeEach(() => {
    if (withCache) startWithCache();
  });

  it('shows its own URL to the domain, and real ones to its node', async () => {
    const answer = await node.endpoints.register(local('e1'), second);
    expect(answer.url).toBe('unix:///run/e1.sock');
    expect(answer.initialRegistrationTime).toBeDefined();
    await registry.clients.endpoints.register(endpoint('far', 'svc'), second);
    expect(await urls(registry.clients)).toEqual({
      e1: publicUrl,
      far: 'tcp://127.0.0.1:5001/far',
    });
    expect(await urls(node)).toEqual({
      e1: 'unix:///run/e1.sock',
      far: 'tcp://127.0.0.1:5001/far',
    });
    expect(manager.localEndpoints('svc').map(({ url }) => url)).toEqual(['unix:///run/e1.sock']);
    expect(manager.localEndpoints('other')).toEqual([]);
  });

  it('adds the node’s labels to labels entries that lack them', async () => {
    const labels = (pairs: Record<string, string>) =>
      create(NetworkServiceLabelsSchema, { labels: pairs });
    const answer = await node.endpoints.register(
      local('e1', {
        networkServiceLabels: { svc: labels({ app: 'x' }), own: labels({ nodeName: 'mine' }) },
      }),
      second,
    );
    expect(answer.networkServiceLabels['svc']?.labels).toEqual({ app: 'x', nodeName: 'node-1' });
    expect(answer.networkServiceLabels['own']?.labels).toEqual({ nodeName: 'mine' });
  });

  it('hides what carries its URL but is unknown here, except deletions', async () => {
    await registry.clients.endpoints.register(endpoint('stale', 'svc', { url: publicUrl }), second);
    expect(await findNames(node, {})).toEqual([]);
    const watched = watchEndpoints(node, {});
    await settle();
    await registry.clients.endpoints.unregister(endpoint('stale', 'svc'), second);
    await settle();
    expect(watched.events).toEqual(['-stale']);
    watched.stop();
    await watched.ended;
  });

  it('rewrites URLs in a watch too', async () => {
    const watched = watchEndpoints(node, { networkServiceNames: ['svc'] });
    await node.endpoints.register(local('e1'), second);
    await settle();
    expect(watched.responses.map((each) => each.networkServiceEndpoint?.url)).toEqual([
      'unix:///run/e1.sock',
    ]);
    watched.stop();
    await watched.ended;
  });

  it('passes an Unregister on only for what is registered here', async () => {
    await registry.clients.endpoints.register(endpoint('far', 'svc'), second);
    await node.endpoints.unregister(endpoint('far', 'svc'), second);
    expect(await findNames(registry.clients, {})).toEqual(['far']);
    await node.endpoints.register(local('e1'), second);
    await node.endpoints.unregister(local('e1'), second);
    expect(upstreamUnregisters).toEqual(['e1']);
    expect(await findNames(registry.clients, {})).toEqual(['far']);
  });

  it('unregisters what it registered in an earlier life', async () => {
    await registry.clients.endpoints.register(endpoint('old', 'svc', { url: publicUrl }), second);
    await node.endpoints.unregister(local('old'), second);
    expect(await findNames(registry.clients, {})).toEqual([]);
  });

  it('refuses an endpoint without a URL', async () => {
    await expect(node.endpoints.register(local('e1', { url: '' }), second)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { rule: 'network_service_endpoint.url' },
    });
  });

  it('passes network services through', async () => {
    await node.services.register(service('svc'), second);
    expect(await findServiceNames(node, 'svc')).toEqual(['svc']);
    await node.services.unregister(service('svc'), second);
    expect(await findServiceNames(registry.clients, 'svc')).toEqual([]);
  });

  it('lets an endpoint end when nobody refreshes it, and tells the registry', async () => {
    await node.endpoints.register(local('e1'), second);
    await clock.advance(60_000);
    expect(manager.localEndpoints('svc')).toEqual([]);
    expect(await findNames(registry.clients, {})).toEqual([]);
    expect(upstreamUnregisters).toEqual(['e1']);
  });

  it('registers its endpoints again when the registry lost its data', async () => {
    await node.endpoints.register(local('e1'), second);
    await node.endpoints.register(local('e2'), second);
    const old = registry;
    registry = startRegistry({ clock });
    await old.stop();
    await clock.advance(1_000);
    expect(await urls(registry.clients)).toEqual({ e1: publicUrl, e2: publicUrl });
    await registry.clients.endpoints.unregister(endpoint('e1', 'svc'), second);
    await settle();
    expect((await findNames(registry.clients, {})).toSorted()).toEqual(['e1', 'e2']);
  });

  it('keeps what is refreshed while the registry is silent, and takes nothing that is refused', async () => {
    await node.endpoints.register(local('e1'), second);
    refusal = new NsmError('UNAVAILABLE', 'no answer');
    for (let round = 0; round < 5; round += 1) {
      await clock.advance(40_000);
      await expect(node.endpoints.register(local('e1'), second)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
    }
    expect(manager.localEndpoints('svc').map(({ name }) => name)).toEqual(['e1']);
    expect(await findNames(node, { name: 'e1' })).toEqual(['e1']);
    refusal = new NsmError('PERMISSION_DENIED', 'not yours');
    await expect(node.endpoints.register(local('e2'), second)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    expect(manager.localEndpoints('svc').map(({ name }) => name)).toEqual(['e1']);
    refusal = undefined;
  });

  it('serves calls about one name in the order of their arrival', async () => {
    const calls = [
      node.endpoints.register(local('e1', { url: 'unix:///1' }), second),
      node.endpoints.unregister(local('e1'), second),
      node.endpoints.register(local('e1', { url: 'unix:///2' }), second),
    ];
    await Promise.all(calls);
    expect(await urls(node)).toEqual({ e1: 'unix:///2' });
    expect(await urls(registry.clients)).toEqual({ e1: publicUrl });
  });
});

describe('a manager that answers Finds from its cache', () => {
  const query = { networkServiceNames: ['svc'] };
  beforeEach(() => startWithCache());

  it('joins what the domain has with what is registered here, and follows both', async () => {
    await registry.clients.endpoints.register(endpoint('far', 'svc'), second);
    await registry.clients.endpoints.register(endpoint('stale', 'svc', { url: publicUrl }), second);
    await node.endpoints.register(local('e1'), second);
    expect((await findNames(node, query)).toSorted()).toEqual(['e1', 'far']);
    const watched = watchEndpoints(node, query);
    await settle();
    expect(watched.events.toSorted()).toEqual(['+e1', '+far']);
    await registry.clients.endpoints.register(endpoint('far2', 'svc'), second);
    await node.endpoints.register(local('e2'), second);
    await settle();
    await node.endpoints.unregister(local('e1'), second);
    await registry.clients.endpoints.unregister(endpoint('far', 'svc'), second);
    await registry.clients.endpoints.unregister(endpoint('stale', 'svc'), second);
    await settle();
    expect(new Set(watched.events)).toEqual(
      new Set(['+e1', '+far', '+far2', '+e2', '-e1', '-far', '-stale']),
    );
    const live = watched.responses.filter(({ deleted }) => !deleted);
    expect(live.map((each) => each.networkServiceEndpoint?.url)).not.toContain(publicUrl);
    watched.stop();
    expect(await watched.ended).toBeUndefined();
  });

  it('goes on through a registry that is away: warm Finds, open watches, new local endpoints', async () => {
    await registry.clients.services.register(service('svc'), second);
    await registry.clients.endpoints.register(endpoint('far', 'svc'), second);
    const watched = watchEndpoints(node, query);
    await settle();
    expect(await findServiceNames(node, 'svc')).toEqual(['svc']);
    const old = registry;
    refusal = new NsmError('UNAVAILABLE', 'no answer');
    await old.stop();
    await settle();
    expect(await findServiceNames(node, 'svc')).toEqual(['svc']);
    expect(await findNames(node, query)).toEqual(['far']);
    await expect(node.endpoints.register(local('e1'), second)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    await settle();
    expect(watched.events).toEqual(['+far', '+e1']);
    const late = watchEndpoints(node, query);
    await settle();
    expect(late.events.toSorted()).toEqual(['+e1', '+far']);
    refusal = undefined;
    registry = startRegistry({ clock });
    await clock.advance(20_000);
    expect(watched.events).toContain('-far');
    expect(await urls(registry.clients)).toEqual({ e1: publicUrl });
    for (const each of [watched, late]) {
      each.stop();
      expect(await each.ended).toBeUndefined();
    }
  });

  it('ends its watches when it stops', async () => {
    const watched = watchEndpoints(node, query);
    await settle();
    manager.close();
    expect(await watched.ended).toMatchObject({ code: 'UNAVAILABLE' });
  });
});

describe('an Endpoint whose watch on its own name ends', () => {
  /** As an Endpoint does it: registers, then watches its own name. `die` ends that as the end of its process does. */
  async function startEndpoint(name: string) {
    await node.endpoints.register(local(name), second);
    const abort = new AbortController();
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { name },
      watch: true,
    });
    const stream = node.endpoints.find(query, { signal: abort.signal });
    const ended = collect(stream).catch(() => []);
    await settle();
    const end = async (code: 'CANCELLED' | 'UNAVAILABLE'): Promise<void> => {
      abort.abort(new NsmError(code, 'the end of the watch'));
      await ended;
      await settle();
    };
    return { die: () => end('CANCELLED'), loseBus: () => end('UNAVAILABLE') };
  }

  const registered = () => findNames(registry.clients, { networkServiceNames: ['svc'] });

  it('is taken out of the registry once it has had time to start again', async () => {
    const { die } = await startEndpoint('e1');
    await startEndpoint('e2');
    await die();
    await clock.advance(1_900);
    expect(await registered()).toEqual(['e1', 'e2']);
    await clock.advance(200);
    expect(await registered()).toEqual(['e2']);
    expect(manager.localEndpoints('svc').map(({ name }) => name)).toEqual(['e2']);
    await startEndpoint('e1');
    await clock.advance(10_000);
    expect((await registered()).toSorted()).toEqual(['e1', 'e2']);
  });

  it('stays where it registers again in time', async () => {
    const { die } = await startEndpoint('e1');
    await die();
    await clock.advance(1_500);
    await startEndpoint('e1');
    await clock.advance(30_000);
    expect(await registered()).toEqual(['e1']);
    expect(upstreamUnregisters).toEqual([]);
  });

  it('stays where the bus was lost, or another watch on the name is open', async () => {
    const { loseBus } = await startEndpoint('e1');
    await loseBus();
    await clock.advance(10_000);
    expect(await registered()).toEqual(['e1']);
    const other = await startEndpoint('e1');
    await startEndpoint('e1');
    await other.die();
    await clock.advance(10_000);
    expect(await registered()).toEqual(['e1']);
  });

  it('stays where only somebody who had waited for the name goes away', async () => {
    const abort = new AbortController();
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { name: 'e1' },
      watch: true,
    });
    const waiting = collect(node.endpoints.find(query, { signal: abort.signal }));
    await settle();
    await node.endpoints.register(local('e1'), second);
    abort.abort(new NsmError('CANCELLED', 'found it'));
    await waiting;
    await clock.advance(10_000);
    expect(await registered()).toEqual(['e1']);
  });
});
