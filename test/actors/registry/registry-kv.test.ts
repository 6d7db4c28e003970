// Protects the registry of two replicas on a real JetStream KV: both answer alike, a new one starts with everything,
// and a server that lost its data is filled again from what the replicas hold, without anybody noticing.

import { jetstreamManager } from '@nats-io/jetstream';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../../protocols/ports/log.ts';
import { connectNats, type NatsBus } from '../../../transports/nats/nats-bus.ts';
import { type NatsServer, startNatsServer } from '../../../transports/nats/nats-server.ts';
import { createNatsRegistryStore } from '../../../transports/nats/registry-store.ts';
import { systemClock } from '../../../transports/process/system-clock.ts';
import {
  endpoint,
  findNames,
  findServiceNames,
  type RegistryFixture,
  second,
  service,
  startRegistry,
  watchEndpoints,
} from './fixture.ts';

let directory: string;
let server: NatsServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vwire-registry-'));
  server = await startNatsServer({ storeDir: join(directory, 'js') });
});

afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Replica extends RegistryFixture {
  readonly bus: NatsBus;
}

async function startReplica(bucket = 'registry'): Promise<Replica> {
  const clock = systemClock;
  const bus = await connectNats({ url: server.url, name: 'replica', clock, log: silentLog });
  const store = createNatsRegistryStore({ bus, bucket, timeoutMs: 1_000 });
  const registry = startRegistry({ realTime: true, domain: { store } });
  return {
    ...registry,
    bus,
    stop: async () => {
      await registry.stop();
      await store.close();
      await bus.close();
    },
  };
}

describe('two replicas of a registry on JetStream KV', () => {
  it('converge, start from the store, and fill it again when it lost its data', async () => {
    const replicas = [await startReplica(), await startReplica()] as const;
    const [one, two] = replicas;
    await one.clients.services.register(service('svc'), second);
    for (let index = 0; index < 50; index += 1) {
      const replica = index % 2 === 0 ? one : two;
      await replica.clients.endpoints.register(endpoint(`e${index}`, 'svc'), second);
    }
    for (const { clients } of replicas) {
      await expect.poll(async () => (await findNames(clients, {})).length).toBe(50);
      await expect.poll(() => findServiceNames(clients, 'svc')).toEqual(['svc']);
    }
    await two.clients.endpoints.unregister(endpoint('e0', 'svc'), second);
    await expect.poll(async () => (await findNames(one.clients, {})).includes('e0')).toBe(false);
    const late = await startReplica();
    expect((await findNames(late.clients, {})).length).toBe(49);
    await late.stop();

    const { port } = server;
    await server.stop();
    await rm(join(directory, 'js'), { recursive: true });
    await one.clients.endpoints.register(endpoint('meanwhile', 'svc'), second);
    expect((await findNames(one.clients, {})).length).toBe(50);
    server = await startNatsServer({ storeDir: join(directory, 'js'), port });
    await expect
      .poll(async () => (await findNames(two.clients, {})).includes('meanwhile'), {
        timeout: 15_000,
      })
      .toBe(true);
    const fresh = await startReplica();
    await expect
      .poll(async () => (await findNames(fresh.clients, {})).length, { timeout: 15_000 })
      .toBe(50);
    expect(await findServiceNames(fresh.clients, 'svc')).toEqual(['svc']);
    await Promise.all([one, two, fresh].map((replica) => replica.stop()));
  }, 60_000);

  it('fill the bucket again when it is deleted or emptied under them, and say nothing of it', async () => {
    const replicas = [await startReplica('lost'), await startReplica('lost')] as const;
    const [one] = replicas;
    await one.clients.services.register(service('svc'), second);
    for (let index = 0; index < 20; index += 1) {
      await replicas[index % 2]?.clients.endpoints.register(endpoint(`d${index}`, 'svc'), second);
    }
    for (const { clients } of replicas) {
      await expect.poll(async () => (await findNames(clients, {})).length).toBe(20);
    }
    const watches = replicas.map(({ clients }) => watchEndpoints(clients, {}));
    const streams = (await jetstreamManager(one.bus.connection)).streams;
    const stored = async (): Promise<number> => {
      const { state } = await streams.info('KV_lost').catch(() => ({ state: { messages: 0 } }));
      return state.messages;
    };
    for (const lose of [() => streams.delete('KV_lost'), () => streams.purge('KV_lost')]) {
      const before = await stored();
      await lose();
      // What is told meanwhile is taken by either, and reaches the other.
      await one.clients.endpoints.register(endpoint('meanwhile', 'svc'), second);
      await expect.poll(stored, { timeout: 30_000 }).toBeGreaterThanOrEqual(before);
      for (const { clients } of replicas) {
        await expect
          .poll(async () => (await findNames(clients, {})).toSorted(), { timeout: 30_000 })
          .toEqual(
            [...Array(20).keys()]
              .map((index) => `d${index}`)
              .concat('meanwhile')
              .toSorted(),
          );
      }
      await one.clients.endpoints.unregister(endpoint('meanwhile', 'svc'), second);
    }
    for (const { events } of watches) {
      expect(events.filter((event) => event.startsWith('-') && event !== '-meanwhile')).toEqual([]);
    }
    for (const watch of watches) watch.stop();
    await Promise.all(replicas.map((replica) => replica.stop()));
  }, 120_000);
});
