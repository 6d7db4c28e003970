// What each owning process remembers of what should be: the newest value per key, across kill -9.

export interface Journal {
  /**
   * True where something that was written is missing from what `load` gives: the newest of a key may be an older one,
   * and a deleted one may be back.
   */
  readonly isDamaged: boolean;
  /** Every live entry, oldest change first. Called once, before the first change. */
  load(): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Resolves when the change is as durable as the journal's fsync policy says. */
  put(key: string, value: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
  close(): Promise<void>;
}
