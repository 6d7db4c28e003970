// Where a registry domain keeps its entries beside its own memory. The store is a replicated index, never the
// truth: the truth is what Endpoints keep refreshing.

export interface StoredEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Grows with every change in the store; serves as a fence. */
  readonly revision: number;
}

export type StoreChange =
  | { readonly kind: 'put'; readonly entry: StoredEntry }
  | { readonly kind: 'deleted'; readonly key: string; readonly revision: number }
  /** The store lost its history: revisions begin anew, and whoever holds entries writes them again. */
  | { readonly kind: 'reset' };

export interface RegistryStore {
  load(): Promise<readonly StoredEntry[]>;
  /**
   * Writes the entry and returns its new revision. `expectedRevision` 0 demands that the key is absent, another
   * number that it is at that revision; undefined writes unconditionally. Mismatch: ABORTED.
   */
  put(key: string, value: Uint8Array, expectedRevision?: number): Promise<number>;
  delete(key: string, expectedRevision?: number): Promise<void>;
  /** Changes made by anybody, this process included, in revision order. */
  watch(listener: (change: StoreChange) => void): Promise<() => void>;
  close(): Promise<void>;
}
