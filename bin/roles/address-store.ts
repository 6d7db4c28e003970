// Where the replicas of an Endpoint share out their addresses: a bucket of JetStream KV per domain, over the role's own
// connection to the bus or one made for it. Asked for again and again until it is there; the Endpoint does not wait.

import { addressBucketOf } from '../../protocols/messages/bus-rights.ts';
import { parseUrl } from '../../protocols/nsm/urls.ts';
import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import { connectNats } from '../../transports/nats/nats-bus.ts';
import { createNatsRegistryStore } from '../../transports/nats/registry-store.ts';
import type { Platform } from './platform.ts';

export interface AddressStoreOptions {
  readonly name: string;
  readonly domain: string;
  readonly natsUrl: string;
  readonly natsId?: string | undefined;
  readonly connectTo: string;
  /** `auto`: where the manager is reached over the bus. */
  readonly leaseStore: 'auto' | 'nats' | 'none';
}

/** Undefined where the Endpoint takes all addresses for its own. */
export function addressStoreFor(
  platform: Platform,
  options: AddressStoreOptions,
): (() => Promise<RegistryStore>) | undefined {
  const { leaseStore, connectTo } = options;
  const overBus = parseUrl(connectTo).scheme === 'nats';
  if (leaseStore === 'none' || (leaseStore === 'auto' && !overBus)) return undefined;
  return () => open(platform, options);
}

async function open(platform: Platform, options: AddressStoreOptions): Promise<RegistryStore> {
  const { name, natsUrl: url, natsId: serverId } = options;
  const { clock, log, bus, identity } = platform;
  const bucket = addressBucketOf(options.domain);
  if (bus !== undefined) return createNatsRegistryStore({ bus, bucket });
  const tls = identity && { identity, ...(serverId === undefined ? {} : { serverId }) };
  const own = await connectNats({
    url,
    name: `${name} addresses`,
    clock,
    log,
    ...(tls && { tls }),
  });
  const store = createNatsRegistryStore({ bus: own, bucket });
  return {
    load: () => store.load(),
    put: (...args) => store.put(...args),
    delete: (...args) => store.delete(...args),
    watch: (listener) => store.watch(listener),
    async close() {
      await store.close();
      await own.close();
    },
  };
}
