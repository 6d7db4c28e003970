// A registry store in memory: for simulated meshes and for a registry that runs alone. Several domains may share
// one `MemoryBucket`, as replicas share a KV bucket. Changes reach watchers in revision order, never inside put.

import { NsmError } from '../../protocols/errors.ts';
import type {
  RegistryStore,
  StoreChange,
  StoredEntry,
} from '../../protocols/ports/registry-store.ts';

export interface MemoryBucket {
  readonly entries: Map<string, StoredEntry>;
  readonly listeners: Set<(change: StoreChange) => void>;
  revision: number;
}

export function createMemoryBucket(): MemoryBucket {
  return { entries: new Map(), listeners: new Set(), revision: 0 };
}

export function createMemoryRegistryStore(
  bucket: MemoryBucket = createMemoryBucket(),
): RegistryStore {
  const own = new Set<(change: StoreChange) => void>();
  let isClosed = false;

  function check(key: string, expectedRevision: number | undefined): void {
    if (isClosed) throw new NsmError('FAILED_PRECONDITION', 'the registry store is closed');
    if (expectedRevision === undefined) return;
    const found = bucket.entries.get(key)?.revision ?? 0;
    if (found === expectedRevision) return;
    throw new NsmError('ABORTED', 'the entry was changed by somebody else', {
      rule: 'registry-store-revision',
      expected: `${key} at revision ${expectedRevision}`,
      found: `revision ${found}`,
    });
  }

  function publish(change: StoreChange): void {
    for (const listener of bucket.listeners) {
      queueMicrotask(() => {
        if (bucket.listeners.has(listener)) listener(change);
      });
    }
  }

  return {
    load: async () => [...bucket.entries.values()],
    async put(key, value, expectedRevision) {
      check(key, expectedRevision);
      bucket.revision += 1;
      const entry = { key, value: new Uint8Array(value), revision: bucket.revision };
      bucket.entries.set(key, entry);
      publish({ kind: 'put', entry });
      return entry.revision;
    },
    async delete(key, expectedRevision) {
      check(key, expectedRevision);
      if (!bucket.entries.delete(key)) return;
      bucket.revision += 1;
      publish({ kind: 'deleted', key, revision: bucket.revision });
    },
    async watch(listener) {
      own.add(listener);
      bucket.listeners.add(listener);
      return () => {
        own.delete(listener);
        bucket.listeners.delete(listener);
      };
    },
    async close() {
      isClosed = true;
      for (const listener of own) bucket.listeners.delete(listener);
      own.clear();
    },
  };
}
