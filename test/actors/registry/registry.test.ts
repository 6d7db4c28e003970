// Protects the registry's behaviour towards NSM peers: upsert, Find and its watch, expiry, Unregister, refusals.

import { create } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { timestampFromEpochMs } from '../../../protocols/nsm/expiry.ts';
import { nodeServiceName } from '../../../protocols/nsm/node-lease.ts';
import { NetworkServiceEndpointSchema } from '../../../protocols/nsm/gen/registry_pb.ts';
import {
  createMemoryBucket,
  createMemoryRegistryStore,
} from '../../../transports/memory/registry-store.ts';
import { settle } from '../../sandbox/manual-clock.ts';
import {
  collect,
  endpoint,
  findNames,
  findServiceNames,
  type RegistryFixture,
  second,
  service,
  startRegistry,
  watchEndpoints,
} from './fixture.ts';

let registry: RegistryFixture;
beforeEach(() => {
  registry = startRegistry();
});
afterEach(() => registry.stop());

const expiryMs = (found: { expirationTime?: unknown }): number =>
  timestampMs(found.expirationTime as never);

describe('registering an endpoint', () => {
  it('stores it by name with an expiry and the time of its first registration', async () => {
    const { clients, clock } = registry;
    const startedMs = clock.epochMs();
    const first = await clients.endpoints.register(endpoint('e1', 'svc'), second);
    expect(expiryMs(first)).toBe(startedMs + 60_000);
    expect(timestampMs(first.initialRegistrationTime as never)).toBe(startedMs);
    await clock.advance(40_000);
    const cleared = { ...first, initialRegistrationTime: timestampFromEpochMs(5) };
    delete (cleared as { expirationTime?: unknown }).expirationTime;
    const again = await clients.endpoints.register({ ...cleared, url: 'tcp://other' }, second);
    expect(expiryMs(again)).toBe(startedMs + 100_000);
    expect(timestampMs(again.initialRegistrationTime as never)).toBe(startedMs);
    expect(await findNames(clients, { url: 'other' })).toEqual(['e1']);
    expect(await findNames(clients, {})).toEqual(['e1']);
  });

  it('keeps a first registration time that it does not know better, until Unregister', async () => {
    const { clients } = registry;
    const given = timestampFromEpochMs(1_000_000);
    const asked = endpoint('e1', 'svc', { initialRegistrationTime: given });
    const first = await clients.endpoints.register(asked, second);
    expect(first.initialRegistrationTime).toEqual(given);
    await clients.endpoints.unregister(endpoint('e1', 'svc'), second);
    const anew = await clients.endpoints.register(endpoint('e1', 'svc'), second);
    expect(timestampMs(anew.initialRegistrationTime as never)).toBe(registry.clock.epochMs());
  });

  it('ends it at the earliest of period, own token, caller token and what it asks for', async () => {
    const { clients, clock } = registry;
    const soon = timestampFromEpochMs(clock.epochMs() + 10_000);
    const asked = await clients.endpoints.register(
      endpoint('asked', 'svc', { expirationTime: soon }),
      second,
    );
    expect(asked.expirationTime).toEqual(soon);
    const byToken = await clients.endpoints.register(endpoint('token', 'svc'), {
      ...second,
      headers: { 'nsm-client-token-expires': new Date(clock.epochMs() + 20_000).toISOString() },
    });
    expect(expiryMs(byToken)).toBe(clock.epochMs() + 20_000);
    await clock.advance(10_000);
    expect(await findNames(clients, {})).toEqual(['token']);
    await clock.advance(10_000);
    expect(await findNames(clients, {})).toEqual([]);
  });

  it('is not moved by a step of the wall clock', async () => {
    const { clients, clock } = registry;
    await clients.endpoints.register(endpoint('e1', 'svc'), second);
    clock.stepWall(3_600_000);
    await clock.advance(59_000);
    expect(await findNames(clients, {})).toEqual(['e1']);
    clock.stepWall(-7_200_000);
    await clock.advance(1_000);
    expect(await findNames(clients, {})).toEqual([]);
  });

  it('keeps fields of newer peers', async () => {
    const { clients } = registry;
    const asked = endpoint('e1', 'svc');
    asked.$unknown = [{ no: 99, wireType: 0, data: Uint8Array.of(7) }];
    await clients.endpoints.register(asked, second);
    const watched = watchEndpoints(clients, { name: 'e1' });
    await settle();
    expect(watched.responses[0]?.networkServiceEndpoint?.$unknown).toEqual(asked.$unknown);
    watched.stop();
    await watched.ended;
  });

  it.each([
    ['an empty name', endpoint('', 'svc')],
    ['an endless name', endpoint('x'.repeat(2_000), 'svc')],
    ['an empty service name', endpoint('e', '')],
    ['an expiry in the past', endpoint('e', 'svc', { expirationTime: timestampFromEpochMs(1) })],
    ['too many services', endpoint('e', 'svc', { networkServiceNames: Array(2_000).fill('s') })],
    [
      'too large an entry',
      endpoint('e', 'svc', {
        networkServiceLabels: {
          svc: { $typeName: 'registry.NetworkServiceLabels', labels: { a: 'x'.repeat(300_000) } },
        },
      }),
    ],
  ])('refuses %s', async (_, asked) => {
    await expect(registry.clients.endpoints.register(asked, second)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { expected: expect.any(String), found: expect.any(String) },
    });
    expect(await findNames(registry.clients, {})).toEqual([]);
  });
});

describe('finding', () => {
  it('answers by every field of the query, and with nothing where nothing matches', async () => {
    const { clients } = registry;
    const labels = (pairs: Record<string, string>) => ({
      a: { $typeName: 'registry.NetworkServiceLabels' as const, labels: pairs },
    });
    await clients.endpoints.register(
      endpoint('e1', 'a', { networkServiceLabels: labels({ zone: '1', rack: '2' }) }),
      second,
    );
    await clients.endpoints.register(
      endpoint('e2', 'a', { networkServiceNames: ['a', 'b'] }),
      second,
    );
    expect(await findNames(clients, {})).toEqual(['e1', 'e2']);
    expect(await findNames(clients, { name: 'e1' })).toEqual(['e1']);
    expect(await findNames(clients, { name: 'e' })).toEqual([]);
    expect(await findNames(clients, { networkServiceNames: ['a'] })).toEqual(['e1', 'e2']);
    expect(await findNames(clients, { networkServiceNames: ['a', 'b'] })).toEqual(['e2']);
    expect(await findNames(clients, { networkServiceNames: ['c'] })).toEqual([]);
    expect(await findNames(clients, { url: '/e2' })).toEqual(['e2']);
    expect(await findNames(clients, { networkServiceLabels: labels({ zone: '1' }) })).toEqual([
      'e1',
    ]);
    expect(await findNames(clients, { networkServiceLabels: labels({ zone: '2' }) })).toEqual([]);
  });

  it('follows an endpoint from one service to another', async () => {
    const { clients } = registry;
    const watched = watchEndpoints(clients, { networkServiceNames: ['a'] });
    await clients.endpoints.register(endpoint('e1', 'a'), second);
    await clients.endpoints.register(endpoint('e1', 'b'), second);
    expect(await findNames(clients, { networkServiceNames: ['a'] })).toEqual([]);
    expect(await findNames(clients, { networkServiceNames: ['b'] })).toEqual(['e1']);
    await settle();
    expect(watched.events).toEqual(['+e1', '-e1']);
    watched.stop();
    await watched.ended;
  });

  it('watches: what is there, then changes, deletions and expiry, and nothing else', async () => {
    const { clients, clock } = registry;
    await clients.endpoints.register(endpoint('e1', 'a'), second);
    const bySvc = watchEndpoints(clients, { networkServiceNames: ['a'] });
    const byName = watchEndpoints(clients, { name: 'e2' });
    const all = watchEndpoints(clients, {});
    await settle();
    await clients.endpoints.register(endpoint('e2', 'b'), second);
    await settle();
    await clients.endpoints.unregister(endpoint('e1', 'a'), second);
    await settle();
    await clock.advance(60_000);
    expect(bySvc.events).toEqual(['+e1', '-e1']);
    expect(byName.events).toEqual(['+e2', '-e2']);
    expect(all.events).toEqual(['+e1', '+e2', '-e1', '-e2']);
    for (const each of [bySvc, byName, all]) {
      each.stop();
      expect(await each.ended).toBeUndefined();
    }
  });

  it('tells of a node lease that it comes, changes and ends, not each time that it goes on', async () => {
    const { clients, clock } = registry;
    const lease = (more = {}) =>
      endpoint('lease', nodeServiceName, {
        expirationTime: timestampFromEpochMs(clock.epochMs() + 5_000),
        ...more,
      });
    const watch = watchEndpoints(clients, { networkServiceNames: [nodeServiceName] });
    for (let second_ = 0; second_ < 10; second_ += 1) {
      await clients.endpoints.register(lease(), second);
      await clock.advance(1_000);
    }
    expect(watch.events).toEqual(['+lease']);
    expect(await findNames(clients, {})).toEqual(['lease']);
    await clients.endpoints.register(lease({ url: 'tcp://elsewhere' }), second);
    await clock.advance(5_000);
    expect(watch.events).toEqual(['+lease', '+lease', '-lease']);
    watch.stop();
    await settle();
  });

  it('ends a watcher that does not keep up, and no other', async () => {
    await registry.stop();
    registry = startRegistry({ services: { watchQueueMax: 5 } });
    const { clients } = registry;
    const quick = watchEndpoints(clients, {});
    const slow = clients.endpoints.find({
      $typeName: 'registry.NetworkServiceEndpointQuery',
      networkServiceEndpoint: endpoint('', 'a', { url: '' }),
      watch: true,
    });
    const reader = slow[Symbol.asyncIterator]();
    await clients.endpoints.register(endpoint('e0', 'a'), second);
    expect((await reader.next()).value?.networkServiceEndpoint?.name).toBe('e0');
    for (let index = 1; index <= 10; index += 1) {
      await clients.endpoints.register(endpoint(`e${index}`, 'a'), second);
      await settle();
    }
    await expect(reader.next()).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED' });
    expect(quick.events).toHaveLength(11);
    quick.stop();
    await quick.ended;
  });

  it('tells a slow watcher only the newest state of each entry', async () => {
    const { clients } = registry;
    const stream = clients.endpoints.find({
      $typeName: 'registry.NetworkServiceEndpointQuery',
      networkServiceEndpoint: create(NetworkServiceEndpointSchema),
      watch: true,
    });
    const reader = stream[Symbol.asyncIterator]();
    const first = reader.next();
    await settle();
    for (let round = 0; round < 50; round += 1) {
      await clients.endpoints.register(endpoint('e', 'a', { url: `tcp://${round}` }), second);
    }
    expect((await first).value?.networkServiceEndpoint?.url).toBe('tcp://0');
    expect((await reader.next()).value?.networkServiceEndpoint?.url).toBe('tcp://49');
    await reader.return?.();
  });

  it('ends its watches with an error when it stops, so that watchers register again', async () => {
    const watched = watchEndpoints(registry.clients, {});
    await settle();
    await registry.stop();
    expect(await watched.ended).toMatchObject({ code: 'UNAVAILABLE' });
    registry = startRegistry();
  });
});

describe('network services', () => {
  it('stay until Unregister, with payload IP where none is said', async () => {
    const { clients, clock } = registry;
    expect((await clients.services.register(service('svc'), second)).payload).toBe('IP');
    await clock.advance(3_600_000);
    expect(await findServiceNames(clients, 'svc')).toEqual(['svc']);
    expect(await findServiceNames(clients, 'sv')).toEqual([]);
    await clients.services.unregister(service('svc'), second);
    expect(await findServiceNames(clients, '')).toEqual([]);
  });

  it('are watched like endpoints', async () => {
    const { clients } = registry;
    const abort = new AbortController();
    const stream = collect(
      clients.services.find(
        { $typeName: 'registry.NetworkServiceQuery', networkService: service('svc'), watch: true },
        { signal: abort.signal },
      ),
    );
    await settle();
    await clients.services.register(service('other'), second);
    await clients.services.register(service('svc'), second);
    await settle();
    await clients.services.unregister(service('svc'), second);
    await settle();
    abort.abort();
    expect((await stream).map(({ deleted }) => deleted)).toEqual([false, true]);
  });
});

describe('the edges of a registry', () => {
  it('answers OK to Unregister of the unknown', async () => {
    await registry.clients.endpoints.unregister(endpoint('never', 'svc'), second);
    await registry.clients.services.unregister(service('never'), second);
  });

  it('sends names of other domains to its proxy, and refuses them clearly without one', async () => {
    const { clients } = registry;
    const foreign = endpoint('e', 'svc@other.example');
    await expect(clients.endpoints.register(foreign, second)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: 'no proxy registry configured',
    });
    await expect(findServiceNames(clients, 'svc@other.example')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    const proxy = startRegistry();
    const relayed = startRegistry({
      services: {
        proxy: {
          ...proxy.clients,
          services: {
            ...proxy.clients.services,
            register: (asked) =>
              proxy.clients.services.register(service(`at-${asked.name.split('@')[0]}`), second),
          },
        },
      },
    });
    const answer = await relayed.clients.services.register(service('svc@other.example'), second);
    expect(answer.name).toBe('at-svc');
    expect(await findServiceNames(relayed.clients, '')).toEqual([]);
    await proxy.stop();
    await relayed.stop();
  });

  it('returns the registry path to a caller that sent one, and refuses a broken one', async () => {
    const { clients } = registry;
    const seen: unknown[] = [];
    const onHeaders = (headers: unknown): void => void seen.push(headers);
    await clients.endpoints.register(endpoint('e', 'svc'), { ...second, onHeaders });
    const path = '{"Index":0,"PathSegments":null}';
    await clients.endpoints.register(endpoint('e', 'svc'), {
      ...second,
      onHeaders,
      headers: { path },
    });
    expect(seen).toEqual([{ path }]);
    await expect(
      clients.endpoints.register(endpoint('e', 'svc'), {
        ...second,
        headers: { path: '{"Index":3}' },
      }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { rule: 'registry-path' } });
  });

  it('refuses new entries when full, and still takes refreshes', async () => {
    await registry.stop();
    registry = startRegistry({ domain: { entriesMax: 1 } });
    const { clients } = registry;
    await clients.endpoints.register(endpoint('e1', 'svc'), second);
    await expect(clients.endpoints.register(endpoint('e2', 'svc'), second)).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
    });
    await clients.endpoints.register(endpoint('e1', 'svc'), second);
  });
});

it('that starts with its clock an hour back keeps nobody who is dead for that hour', async () => {
  const bucket = createMemoryBucket();
  const { clock } = registry;
  const one = startRegistry({ clock, domain: { store: createMemoryRegistryStore(bucket) } });
  await one.clients.endpoints.register(endpoint('dead', 'svc'), second);
  await settle();
  await one.stop();
  clock.stepWall(-3_600_000);
  const two = startRegistry({ clock, domain: { store: createMemoryRegistryStore(bucket) } });
  expect(await findNames(two.clients, {})).toEqual(['dead']);
  await clock.advance(90_000);
  expect(await findNames(two.clients, {})).toEqual([]);
  expect([...bucket.entries.keys()]).toEqual([]);
  await two.stop();
});

describe('replicas over one store', () => {
  it('converge on what either was told, and start with what is there', async () => {
    const bucket = createMemoryBucket();
    const { clock } = registry;
    const one = startRegistry({ clock, domain: { store: createMemoryRegistryStore(bucket) } });
    await one.clients.services.register(service('svc'), second);
    await one.clients.endpoints.register(endpoint('e1', 'svc'), second);
    await settle();
    const two = startRegistry({ clock, domain: { store: createMemoryRegistryStore(bucket) } });
    expect(await findNames(two.clients, {})).toEqual(['e1']);
    expect(await findServiceNames(two.clients, 'svc')).toEqual(['svc']);
    const watched = watchEndpoints(two.clients, { networkServiceNames: ['svc'] });
    await settle();
    await one.clients.endpoints.register(endpoint('e2', 'svc'), second);
    await settle();
    await two.clients.endpoints.unregister(endpoint('e1', 'svc'), second);
    await settle();
    expect(watched.events).toEqual(['+e1', '+e2', '-e1']);
    expect(await findNames(one.clients, {})).toEqual(['e2']);
    expect(bucket.entries.size).toBe(2);
    watched.stop();
    await watched.ended;
    await clock.advance(60_000);
    expect(await findNames(one.clients, {})).toEqual([]);
    expect(await findNames(two.clients, {})).toEqual([]);
    expect([...bucket.entries.keys()]).toEqual(['ns/svc']);
    await one.stop();
    await two.stop();
  });
});
