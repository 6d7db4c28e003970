// Measures a registry domain of 110,000 endpoints (1,000 services of 100, one of 10,000) on JetStream KV: Find,
// choice, watch and Register, with the raw KV put rate of the same run beside Register. The registry is called through
// the memory binding, so that its own cost is seen and not that of a socket.

import { setMaxListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { createDiscovery, type Discovery } from '../../actors/discovery/discovery.ts';
import { type RegistryClients, registryClients } from '../../actors/registry/registry-clients.ts';
import { spawnRegistryDomain } from '../../actors/registry/registry-domain.ts';
import { registryServices } from '../../actors/registry/registry-services.ts';
import { createActorSystem } from '../../actors/runtime/actor-system.ts';
import {
  type NetworkServiceEndpoint,
  NetworkServiceEndpointQuerySchema,
  NetworkServiceEndpointSchema,
  NetworkServiceSchema,
} from '../../protocols/nsm/gen/registry_pb.ts';
import { silentLog } from '../../protocols/ports/log.ts';
import { createMemoryNetwork } from '../../transports/memory/memory-network.ts';
import { connectNats, type NatsBus } from '../../transports/nats/nats-bus.ts';
import { startNatsServer } from '../../transports/nats/nats-server.ts';
import { createNatsRegistryStore } from '../../transports/nats/registry-store.ts';
import { systemClock, systemWallClock } from '../../transports/process/system-clock.ts';
import { systemRandom } from '../../transports/process/system-random.ts';
import { type Figure, judge, medianP99, ratePerSecond, type RunSuite } from '../figure.ts';

const smallServices = 1_000;
const smallSize = 100;
const bigSize = 10_000;
const inFlight = 64;
const byTurn = { stickyKey: '', loadOf: () => 0, lastBecause: () => undefined };
const bucket = 'bench_registry';
/** Long enough that nothing expires during the run. */
const expirePeriodMs = 3_600_000;

export const run: RunSuite = async (progress) => {
  const directory = await mkdtemp(join(tmpdir(), 'vwire-bench-'));
  const server = await startNatsServer({ storeDir: directory });
  const connect = (name: string): Promise<NatsBus> =>
    connectNats({ url: server.url, name, clock: systemClock, log: silentLog });
  const [bus, rawBus] = await Promise.all([connect('registry'), connect('raw')]);
  const store = createNatsRegistryStore({ bus, bucket });
  const system = createActorSystem({
    name: 'bench',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  try {
    progress('raw KV puts');
    const rawPuts = await rawPutRate(rawBus);
    const domain = spawnRegistryDomain(
      system,
      { store, wallClock: systemWallClock, expirePeriodMs },
      'registry',
    );
    const network = createMemoryNetwork({ clock: systemClock });
    await network.listener.listen(
      'memory:registry',
      registryServices({ system, domain, clock: systemClock, wallClock: systemWallClock }),
    );
    const clients = registryClients(network.dialer.dial('memory:registry'));
    progress('registering 110,000 endpoints');
    const registered = await fill(clients, rawBus);
    progress('Find, watch and choice');
    const find = await findTimes(clients);
    const watch = await watchTimes(clients);
    const choice = await choiceTimes(clients);
    const p99 = (name: string, times: readonly number[], atMost: number): Figure =>
      judge(
        { suite: 'registry', name: `${name}, p99`, value: medianP99(times), unit: 'ms' },
        { of: 'value', atMost },
      );
    const rate = (name: string, value: number): Figure =>
      judge(
        {
          suite: 'registry',
          name,
          value,
          unit: 'per s',
          limitName: 'raw KV puts',
          limitValue: rawPuts,
        },
        { of: 'value', atLeast: 2_000 },
      );
    return [
      p99('Find of a service of 100 among 110,000', find, 5),
      p99('choice of 1 among 10,000, registry in motion', choice, 1),
      p99('change until a watcher sees it', watch, 20),
      rate('Register answered, KV behind it', registered.answeredPerS),
      rate('Register until it is in KV', registered.storedPerS),
    ];
  } finally {
    await system.stop(5_000);
    await store.close();
    await Promise.all([bus.close(), rawBus.close()]);
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
};

async function rawPutRate(bus: NatsBus): Promise<number> {
  const kv = await new Kvm(jetstream(bus.connection)).create('bench_raw');
  const value = toBinary(NetworkServiceEndpointSchema, endpointOf(0, 'raw'));
  const count = 20_000;
  await ratePerSecond(2_000, inFlight, (index) => kv.put(`warm-${index}`, value));
  const perS = await ratePerSecond(count, inFlight, (index) => kv.put(`key-${index}`, value));
  await kv.destroy();
  return perS;
}

function endpointOf(index: number, service: string): NetworkServiceEndpoint {
  return create(NetworkServiceEndpointSchema, {
    name: `endpoint-of-${service}-${index}`,
    networkServiceNames: [service],
    networkServiceLabels: {
      [service]: {
        labels: {
          app: `app-${index % 10}`,
          nodeName: `node-${index % 100}`,
          podName: `pod-${index}`,
        },
      },
    },
    url: `tcp://10.${index % 250}.0.1:5001`,
  });
}

async function fill(
  clients: RegistryClients,
  bus: NatsBus,
): Promise<{ answeredPerS: number; storedPerS: number }> {
  const call = { timeoutMs: 60_000 };
  const total = smallServices * smallSize + bigSize;
  for (let index = 0; index < smallServices; index += 1) {
    await clients.services.register(create(NetworkServiceSchema, { name: `svc-${index}` }), call);
  }
  await clients.services.register(
    create(NetworkServiceSchema, {
      name: 'big',
      matches: [
        {
          sourceSelector: { app: 'web' },
          routes: [{ destinationSelector: { nodeName: '{{ .nodeName }}' } }],
        },
        { routes: [{ destinationSelector: { app: 'app-3' } }, { destinationSelector: {} }] },
      ],
    }),
    call,
  );
  const startedMs = systemClock.nowMs();
  const answeredPerS = await ratePerSecond(total, inFlight, (index) => {
    const isBig = index >= smallServices * smallSize;
    const service = isBig ? 'big' : `svc-${index % smallServices}`;
    return clients.endpoints.register(endpointOf(index, service), call);
  });
  const manager = await jetstreamManager(bus.connection);
  const wanted = total + smallServices + 1;
  while ((await manager.streams.info(`KV_${bucket}`)).state.messages < wanted) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { answeredPerS, storedPerS: (total * 1_000) / (systemClock.nowMs() - startedMs) };
}

async function findTimes(clients: RegistryClients): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < 3_000; round += 1) {
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { networkServiceNames: [`svc-${(round * 7) % smallServices}`] },
    });
    const startedMs = systemClock.nowMs();
    let found = 0;
    for await (const _ of clients.endpoints.find(query, { timeoutMs: 10_000 })) found += 1;
    times.push(systemClock.nowMs() - startedMs);
    if (found !== smallSize) throw new Error(`found ${found} instead of ${smallSize}`);
  }
  return times;
}

/** 1,000 watchers on as many services, refreshes of others going on meanwhile. */
async function watchTimes(clients: RegistryClients): Promise<readonly number[]> {
  const times: number[] = [];
  const abort = new AbortController();
  setMaxListeners(0, abort.signal);
  const expected = new Map<string, (atMs: number) => void>();
  const watch = async (index: number): Promise<void> => {
    const query = create(NetworkServiceEndpointQuerySchema, {
      networkServiceEndpoint: { networkServiceNames: [`svc-${index}`] },
      watch: true,
    });
    const stream = clients.endpoints.find(query, { signal: abort.signal });
    for await (const { networkServiceEndpoint: endpoint } of stream) {
      expected.get(endpoint?.url ?? '')?.(systemClock.nowMs());
    }
  };
  // Each ends as CANCELLED when the run is over.
  const watchers = Promise.allSettled(Array.from({ length: smallServices }, (_, i) => watch(i)));
  const load = refreshes(clients, abort.signal);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  for (let round = 0; round < 1_000; round += 1) {
    const url = `tcp://changed-${round}`;
    const seen = new Promise<number>((resolve) => expected.set(url, resolve));
    const startedMs = systemClock.nowMs();
    const changed = { ...endpointOf(round, `svc-${round % smallServices}`), url };
    await clients.endpoints.register(changed, { timeoutMs: 10_000 });
    times.push((await seen) - startedMs);
    expected.delete(url);
  }
  abort.abort();
  await load;
  await watchers;
  return times;
}

/** About 1,000 refreshes per second of endpoints of the big service. */
async function refreshes(clients: RegistryClients, signal: AbortSignal): Promise<void> {
  const first = smallServices * smallSize;
  for (let index = 0; !signal.aborted; index += 10) {
    await Promise.all(
      Array.from({ length: 10 }, (_, step) =>
        clients.endpoints.register(endpointOf(first + ((index + step) % bigSize), 'big'), {
          timeoutMs: 10_000,
        }),
      ),
    );
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function choiceTimes(clients: RegistryClients): Promise<readonly number[]> {
  const discovery: Discovery = createDiscovery({
    clients,
    clock: systemClock,
    wallClock: systemWallClock,
    random: systemRandom,
    log: silentLog,
    findTimeoutMs: 30_000,
  });
  const abort = new AbortController();
  const call = { deadlineMs: systemClock.nowMs() + 60_000, signal: abort.signal };
  try {
    await discovery.discover('big', call);
    const load = refreshes(clients, abort.signal);
    const times: number[] = [];
    for (let round = 0; round < 20_000; round += 1) {
      const labels =
        round % 2 === 0
          ? { app: 'web', nodeName: `node-${round % 100}`, podName: `client-${round}` }
          : { app: 'db', podName: `client-${round}` };
      const startedMs = systemClock.nowMs();
      const view = await discovery.discover('big', call);
      const [chosen] = discovery.choose(view, { ...byTurn, labels }).candidates;
      times.push(systemClock.nowMs() - startedMs);
      if (chosen === undefined) throw new Error('no endpoint was chosen');
      if (round % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    abort.abort();
    await load;
    return times;
  } finally {
    discovery.close();
  }
}
