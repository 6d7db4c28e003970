// The registry's store as one life of the registry sees it: the bucket outlives it, its own access does not.

import type { RegistryStore } from '../../protocols/ports/registry-store.ts';
import {
  createMemoryRegistryStore,
  type MemoryBucket,
} from '../../transports/memory/registry-store.ts';
import type { Life } from './life.ts';

export function storeOf(bucket: MemoryBucket, life: Life): RegistryStore {
  const store = createMemoryRegistryStore(bucket);
  const reached = async <T>(access: () => Promise<T>): Promise<T> => {
    await life.pause(life.random.between(0.2, 3));
    life.step();
    // What never comes back: its process has ended.
    return life.isAlive ? access() : new Promise<T>(() => {});
  };
  return {
    load: () => reached(() => store.load()),
    put: (key, value, expected) => reached(() => store.put(key, value, expected)),
    delete: (key, expected) => reached(() => store.delete(key, expected)),
    watch: (listener) => store.watch((change) => life.isAlive && listener(change)),
    close: () => store.close(),
  };
}
