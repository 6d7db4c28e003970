// Puts a registry domain together: one actor over a store, serving both NSM registries.

import { spawnRegistryDomain } from '../../actors/registry/registry-domain.ts';
import { registryServices } from '../../actors/registry/registry-services.ts';
import type { RegistryPolicies } from '../../protocols/authorization/registry-policies.ts';
import { registryBucketOf } from '../../protocols/messages/bus-rights.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import { createMemoryRegistryStore } from '../../transports/memory/registry-store.ts';
import { createNatsRegistryStore } from '../../transports/nats/registry-store.ts';
import { guarded, registeredIn } from './authorization.ts';
import type { Platform } from './platform.ts';
import { closeAll, listenOnAll, type RunningRole } from './running-role.ts';

export interface RegistryOptions {
  readonly name: string;
  readonly listenOn: readonly string[];
  readonly store: RegistryStore;
  /** Rules of the reference for calls; all by default. */
  readonly policies?: RegistryPolicies;
}

export async function composeRegistry(
  platform: Platform,
  options: RegistryOptions,
): Promise<RunningRole> {
  const { system, wallClock, listener, clock } = platform;
  const { store } = options;
  const domain = spawnRegistryDomain(system, { store, wallClock }, options.name);
  const services = registryServices({ system, domain, clock, wallClock });
  const { policies } = options;
  const registered = { ...registeredIn(services), ...(policies && { policies }) };
  const listening = await listenOnAll(
    listener,
    options.listenOn,
    guarded(platform, options.name, services, { registered }),
  );
  return {
    urls: listening.map(({ url }) => url),
    async stop(timeoutMs) {
      await closeAll(listening, timeoutMs);
      await store.close();
    },
  };
}

/** Over the bus a copy in JetStream KV, so that replicas converge and a restart finds everything; else memory. */
export function registryStoreFor({ bus }: Platform, domain: string): RegistryStore {
  if (bus === undefined) return createMemoryRegistryStore();
  return createNatsRegistryStore({ bus, bucket: registryBucketOf(domain) });
}
