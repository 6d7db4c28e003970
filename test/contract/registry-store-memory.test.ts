// Protects the registry's memory store by the contract of all registry stores.

import {
  createMemoryBucket,
  createMemoryRegistryStore,
} from '../../transports/memory/registry-store.ts';
import { registryStoreContract } from './registry-store.ts';

const buckets = new Map<string, ReturnType<typeof createMemoryBucket>>();

registryStoreContract('memory', async (label) => {
  const bucket = buckets.get(label) ?? createMemoryBucket();
  buckets.set(label, bucket);
  return createMemoryRegistryStore(bucket);
});
