// Protects a registration's life: it is refreshed before it expires, comes back after the registry lost it, keeps
// trying with pauses while the registry is away, and is gone after stop, with nothing left running.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type EndpointRegistration,
  type EndpointRegistrationSetup,
  spawnEndpointRegistration,
} from '../../../actors/endpoint/endpoint-registration.ts';
import { refreshAfterMs } from '../../../actors/endpoint/registration-times.ts';
import type { RegistryClients } from '../../../actors/registry/registry-clients.ts';
import { createActorSystem } from '../../../actors/runtime/actor-system.ts';
import type { ActorSystem } from '../../../actors/runtime/api.ts';
import { NsmError } from '../../../protocols/errors.ts';
import { timestampFromEpochMs, timestampToEpochMs } from '../../../protocols/nsm/expiry.ts';
import { connectionReplaced } from '../../../protocols/messages/replaced-connection.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { systemRandom } from '../../../transports/process/system-random.ts';
import { createManualClock, type ManualClock, settle } from '../../sandbox/manual-clock.ts';
import {
  endpoint,
  findNames,
  findServiceNames,
  type RegistryFixture,
  second,
  service,
  startRegistry,
} from '../registry/fixture.ts';

let clock: ManualClock;
let registry: RegistryFixture;
let system: ActorSystem;
let calls: string[];
let refusal: NsmError | undefined;

beforeEach(() => {
  clock = createManualClock();
  registry = startRegistry({ clock });
  system = createActorSystem({ name: 'nse', clock, random: systemRandom, log: silentLog });
  calls = [];
  refusal = undefined;
});

afterEach(async () => {
  await system.stop(5_000);
  await registry.stop();
  expect(clock.pendingTimers, 'timers left behind').toBe(0);
});

/** The registry of the moment, behind a wire that can refuse. */
function clients(): RegistryClients {
  const refused = (name: string): void => {
    calls.push(name);
    if (refusal !== undefined) throw refusal;
  };
  return {
    services: {
      ...registry.clients.services,
      register: async (...call) => {
        refused('registerService');
        return registry.clients.services.register(...call);
      },
    },
    endpoints: {
      register: async (...call) => {
        refused('register');
        return registry.clients.endpoints.register(...call);
      },
      find: (...call) => registry.clients.endpoints.find(...call),
      unregister: async (...call) => {
        refused('unregister');
        return registry.clients.endpoints.unregister(...call);
      },
    },
  };
}

function spawn(more: Partial<EndpointRegistrationSetup> = {}): EndpointRegistration {
  return spawnEndpointRegistration(
    system,
    {
      registry: clients(),
      endpoint: endpoint('e1', 'svc'),
      services: [service('svc')],
      wallClock: clock,
      ...more,
    },
    'registration-e1',
  );
}

function endsEpochMs({ status }: EndpointRegistration): number {
  const ends = status.endpoint?.expirationTime;
  return ends === undefined ? 0 : timestampToEpochMs(ends);
}

const names = (): Promise<string[]> => findNames(registry.clients, {});

describe('an endpoint registration', () => {
  it('registers its services, then itself, and says so', async () => {
    const registration = spawn();
    const registered = registration.registered(second);
    await settle();
    expect((await registered).name).toBe('e1');
    expect(calls).toEqual(['registerService', 'register']);
    expect(await findServiceNames(registry.clients, 'svc')).toEqual(['svc']);
    expect(registration.status).toMatchObject({ phase: 'registered', failures: 0, successes: 1 });
  });

  it('refreshes before it expires, keeping its first registration time, services not again', async () => {
    const registration = spawn();
    await settle();
    const first = registration.status.endpoint?.initialRegistrationTime;
    await clock.advance(600_000);
    expect(await names()).toEqual(['e1']);
    expect(registration.status.successes).toBeGreaterThanOrEqual(15);
    expect(registration.status.successes).toBeLessThanOrEqual(18);
    expect(registration.status.endpoint?.initialRegistrationTime).toEqual(first);
    expect(calls.filter((call) => call === 'registerService')).toHaveLength(1);
  });

  it('with a lease asks for a short life and renews it in time, at a bounded rate', async () => {
    const registration = spawn({ lease: { lifeMs: 5_000, renewMs: 1_500 } });
    for (let seconds = 0; seconds < 60; seconds += 1) {
      await clock.advance(1_000);
      const ends = endsEpochMs(registration);
      expect(ends - clock.epochMs()).toBeGreaterThanOrEqual(3_000);
      expect(ends - clock.epochMs()).toBeLessThanOrEqual(5_000);
    }
    expect(registration.status.successes).toBeGreaterThanOrEqual(40);
    expect(registration.status.successes).toBeLessThanOrEqual(46);
    refusal = new NsmError('UNAVAILABLE', 'away');
    await clock.advance(6_000);
    expect(await names()).toEqual([]);
  });

  it('opens its watch again at once whenever certificates are renewed, and looks whether it is there', async () => {
    const replace: ((error: NsmError) => void)[] = [];
    const registered = clients();
    const find: RegistryClients['endpoints']['find'] = async function* () {
      yield* await new Promise<never[]>((_, reject) => replace.push(reject));
    };
    const registration = spawn({
      registry: { ...registered, endpoints: { ...registered.endpoints, find } },
    });
    await settle();
    for (let renewal = 1; renewal <= 12; renewal += 1) {
      await clock.advance(5_000);
      const before = calls.length;
      replace.at(-1)?.(connectionReplaced('unix:///nsmgr', 'one from before a renewal'));
      await settle();
      expect(replace).toHaveLength(renewal + 1);
      expect(calls.slice(before)).toEqual(['register']);
      expect(registration.status.phase).toBe('registered');
    }
    await registration.stop(1_000);
  });

  it('is there again at once after the registry was replaced by an empty one', async () => {
    const registration = spawn();
    await settle();
    const first = registration.status.endpoint?.initialRegistrationTime;
    const old = registry;
    registry = startRegistry({ clock });
    await old.stop();
    await clock.advance(500);
    expect(await names()).toEqual(['e1']);
    expect(await findServiceNames(registry.clients, 'svc')).toEqual(['svc']);
    expect(registration.status.endpoint?.initialRegistrationTime).toEqual(first);
  });

  it('comes back when somebody else deletes it', async () => {
    spawn();
    await settle();
    await registry.clients.endpoints.unregister(endpoint('e1', 'svc'), second);
    expect(await names()).toEqual([]);
    await clock.advance(500);
    expect(await names()).toEqual(['e1']);
  });

  it('keeps trying with growing pauses, visibly, and recovers', async () => {
    refusal = new NsmError('UNAVAILABLE', 'the registry is away');
    const registration = spawn();
    await clock.advance(60_000);
    const tries = calls.length;
    expect(tries).toBeGreaterThan(10);
    expect(tries).toBeLessThan(40);
    expect(registration.status).toMatchObject({ phase: 'failing', lastError: refusal });
    refusal = undefined;
    await clock.advance(5_000);
    expect(registration.status.phase).toBe('registered');
    expect(await names()).toEqual(['e1']);
  });

  it('uses a service that belongs to somebody else', async () => {
    const registration = spawnEndpointRegistration(
      system,
      {
        registry: {
          ...clients(),
          services: {
            ...registry.clients.services,
            register: async () => {
              throw new NsmError('PERMISSION_DENIED', 'no sufficient privileges');
            },
          },
        },
        endpoint: endpoint('e1', 'svc'),
        services: [service('svc')],
        wallClock: clock,
      },
      'other',
    );
    await settle();
    expect(registration.status.phase).toBe('registered');
  });

  it('unregisters at stop and leaves nothing running', async () => {
    const registration = spawn();
    await settle();
    const stopped = registration.stop(1_000);
    await settle();
    await stopped;
    expect(await names()).toEqual([]);
    expect(registration.status.phase).toBe('unregistered');
    await settle();
    expect(system.actorCount).toBe(0);
    calls = [];
    await clock.advance(120_000);
    expect(calls).toEqual([]);
  });

  it('ends although the registry refuses the Unregister', async () => {
    const registration = spawn();
    await settle();
    refusal = new NsmError('UNAVAILABLE', 'the registry is away');
    await registration.stop(1_000);
    await settle();
    expect(system.actorCount).toBe(0);
  });

  it('unregisters too when the whole system stops', async () => {
    spawn();
    await settle();
    await system.stop(2_000);
    expect(await names()).toEqual([]);
    system = createActorSystem({ name: 'nse', clock, random: systemRandom, log: silentLog });
  });

  it('fails those who wait for it when it is stopped', async () => {
    refusal = new NsmError('UNAVAILABLE', 'the registry is away');
    const registration = spawn();
    const waiting = expect(registration.registered({ timeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    });
    await settle();
    await registration.stop(1_000);
    await waiting;
  });
});

describe('the time of a refresh', () => {
  const at = (expiresInMs: number | undefined): number => {
    const entry = endpoint('e', 'svc');
    if (expiresInMs !== undefined) entry.expirationTime = timestampFromEpochMs(1e12 + expiresInMs);
    return refreshAfterMs(entry, 1e12, systemRandom);
  };

  it('is two thirds of what remains, less a tenth of jitter at most', () => {
    for (const remainingMs of [600, 60_000, 3_600_000]) {
      expect(at(remainingMs)).toBeLessThanOrEqual((remainingMs * 2) / 3);
      expect(at(remainingMs)).toBeGreaterThanOrEqual(remainingMs * 0.6 - 1);
    }
  });

  it('is bounded where the clocks differ or the registry gives no expiry', () => {
    for (const odd of [undefined, -1, -3_600_000]) {
      expect(at(odd)).toBeGreaterThan(10_000);
      expect(at(odd)).toBeLessThan(30_000);
    }
    expect(at(1)).toBe(200);
    expect(at(1e12)).toBe(86_400_000);
  });
});
