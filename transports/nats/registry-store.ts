// A registry store in a JetStream KV bucket, written to the features of nats-server 2.9.
// NSM concept: the replicated index of a registry domain. Invariants: revisions are stream sequences; a watch
// never ends by itself: it resumes behind the last revision seen, and where the stream was lost or has lost its
// end, or entries that nobody deleted, it says `reset`; 2.9 has no life time per key, so expiry is the registry's business and
// deletion markers are purged here.

import {
  jetstream,
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamManager,
  jetstreamManager,
} from '@nats-io/jetstream';
import { type KV, type KvEntry, Kvm, type KvWatchEntry } from '@nats-io/kv';
import { describeError, NsmError } from '../../protocols/errors.ts';
import type { Timer } from '../../protocols/ports/clock.ts';
import type {
  RegistryStore,
  StoreChange,
  StoredEntry,
} from '../../protocols/ports/registry-store.ts';
import type { NatsBus } from './nats-bus.ts';
import { type BucketState, Checks, lossOf } from './bucket-check.ts';
import { asStoreError } from './registry-store-errors.ts';
import { decodeStoreKey, encodeStoreKey } from './registry-store-keys.ts';

export interface NatsRegistryStoreOptions {
  readonly bus: NatsBus;
  /** Letters, digits, `-` and `_`. */
  readonly bucket: string;
  /** Copies in a cluster; 1 on a single server. */
  readonly replicas?: number;
  readonly timeoutMs?: number;
  /** For reading the whole bucket. */
  readonly loadTimeoutMs?: number;
  /** Age at which this process's deletion markers are removed from the stream. */
  readonly markerAgeMs?: number;
  /** How often the bucket is asked whether it is still the same. */
  readonly checkMs?: number;
}

const retryMs = 250;
const purgesPerRoundMax = 2_000;

export function createNatsRegistryStore(options: NatsRegistryStoreOptions): RegistryStore {
  return new KvRegistryStore(options);
}

class KvRegistryStore implements RegistryStore {
  #options: Required<NatsRegistryStoreOptions>;
  #bucket: Promise<KV> | undefined;
  #listeners = new Set<(change: StoreChange) => void>();
  #following: Promise<void> | undefined;
  #stopWatch: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #opened: (() => void)[] = [];
  #isOpen = false;
  #isClosed = false;
  /** The life of the stream, and how far it was seen. */
  #created: string | undefined;
  #lastRevision = 0;
  /** Keys with a value, as far as loads and the watch have told. */
  #live = new Set<string>();
  /** Somebody took entries out of the stream, which goes on. */
  #isTornOpen = false;
  #checks: Checks | undefined;
  #ownDeletes = new Set<string>();
  #markers = new Map<string, { revision: number; atMs: number }>();
  #purge: Timer | undefined;
  #unsubscribe: () => void;

  constructor(options: NatsRegistryStoreOptions) {
    this.#options = {
      replicas: 1,
      timeoutMs: 3_000,
      loadTimeoutMs: 30_000,
      markerAgeMs: 600_000,
      checkMs: 5_000,
      ...options,
    };
    // What happened while the bus was away is read again behind the last revision.
    this.#unsubscribe = options.bus.onStatus((status) => {
      if (status !== 'connected') return;
      this.#forgetBucket();
      this.#stopWatch?.();
      this.#wake?.();
    });
  }

  async load(): Promise<readonly StoredEntry[]> {
    return this.#with('the entries of the bucket', async (kv) => {
      const { values } = await kv.status();
      if (values === 0) return [];
      const entries = new Map<string, StoredEntry>();
      const iterator = await kv.watch();
      const timer = this.#options.bus.clock.after(this.#options.loadTimeoutMs, () =>
        iterator.stop(),
      );
      try {
        for await (const entry of iterator) {
          const change = asChange(entry);
          if (change?.kind === 'put') entries.set(change.entry.key, change.entry);
          else if (change?.kind === 'deleted') entries.delete(change.key);
          if (entry.delta !== 0) continue;
          for (const key of entries.keys()) this.#live.add(encodeStoreKey(key));
          return [...entries.values()];
        }
      } finally {
        timer.cancel();
        iterator.stop();
      }
      throw new NsmError('UNAVAILABLE', 'the registry store ended while it was read', {
        rule: 'registry-store',
        expected: `all entries within ${this.#options.loadTimeoutMs} ms`,
        found: `${entries.size}`,
      });
    });
  }

  put(key: string, value: Uint8Array, expectedRevision?: number): Promise<number> {
    const encoded = encodeStoreKey(key);
    return this.#with(`${key} at revision ${expectedRevision ?? 'any'}`, (kv) => {
      const timeout = this.#options.timeoutMs;
      if (expectedRevision === 0) return kv.create(encoded, value);
      if (expectedRevision === undefined) return kv.put(encoded, value, { timeout });
      return kv.put(encoded, value, { previousSeq: expectedRevision, timeout });
    });
  }

  delete(key: string, expectedRevision?: number): Promise<void> {
    const encoded = encodeStoreKey(key);
    return this.#with(`${key} at revision ${expectedRevision ?? 'any'}`, async (kv) => {
      this.#ownDeletes.add(encoded);
      try {
        await kv.delete(
          encoded,
          expectedRevision === undefined ? {} : { previousSeq: expectedRevision },
        );
      } catch (error) {
        this.#ownDeletes.delete(encoded);
        throw error;
      }
    });
  }

  async watch(listener: (change: StoreChange) => void): Promise<() => void> {
    if (this.#isClosed) throw storeClosed();
    this.#listeners.add(listener);
    this.#following ??= this.#follow();
    if (!this.#isOpen) await this.#firstOpening();
    return () => void this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unsubscribe();
    this.#purge?.cancel();
    this.#checks?.stop();
    this.#listeners.clear();
    this.#stopWatch?.();
    this.#wake?.();
    await this.#following;
  }

  #firstOpening(): Promise<void> {
    const { bus, timeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const timer = bus.clock.after(timeoutMs, () =>
        reject(asStoreError(new Error('the watch did not open'), `a watch within ${timeoutMs} ms`)),
      );
      this.#opened.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  async #follow(): Promise<void> {
    while (!this.#isClosed) {
      try {
        await this.#followOnce();
      } catch (error) {
        this.#forgetBucket();
        this.#options.bus.log.warn('registry store watch broke, opened again', {
          error: describeError(asStoreError(error, 'a watch')),
        });
        await this.#pause();
      }
    }
  }

  async #followOnce(): Promise<void> {
    const kv = await this.#open();
    const { streamInfo } = await kv.status();
    const lastSequence = streamInfo.state.last_seq;
    const isOther = this.#created !== undefined && this.#created !== streamInfo.created;
    if (isOther || this.#isTornOpen || lastSequence < this.#lastRevision) {
      this.#options.bus.log.warn('registry store lost its history, all entries are written again');
      this.#emit({ kind: 'reset' });
      // From its first message on: what others have written since must be seen too.
      this.#lastRevision = 0;
      this.#isTornOpen = false;
      this.#live.clear();
    } else if (this.#created === undefined) {
      this.#lastRevision = lastSequence;
    }
    this.#created = streamInfo.created;
    const iterator = await kv.watch({ resumeFromRevision: this.#lastRevision + 1 });
    this.#stopWatch = () => iterator.stop();
    this.#isOpen = true;
    for (const opened of this.#opened.splice(0)) opened();
    if (this.#isClosed) iterator.stop();
    this.#checks = new Checks(this.#options.bus.clock, this.#options.checkMs, () => this.#check());
    try {
      for await (const entry of iterator) this.#receive(entry);
    } finally {
      this.#checks.stop();
    }
    this.#stopWatch = undefined;
  }

  /** A bucket that is not what it was is read anew; one that cannot be asked is asked again. */
  async #check(): Promise<void> {
    const { bus, bucket, timeoutMs } = this.#options;
    try {
      const manager = await jetstreamManager(bus.connection, {
        timeout: timeoutMs,
        checkAPI: false,
      });
      const state = await stateOf(manager, `KV_${bucket}`);
      const loss = lossOf(state, {
        created: this.#created,
        lastSequence: this.#lastRevision,
        liveKeys: this.#live.size,
      });
      if (loss === undefined || this.#isClosed) return;
      bus.log.warn('registry store bucket is not what it was', { bucket, found: loss });
      this.#isTornOpen = true;
      this.#forgetBucket();
      this.#stopWatch?.();
    } catch (error) {
      bus.log.debug('registry store bucket could not be asked', { error: describeError(error) });
    }
  }

  #receive(entry: KvWatchEntry): void {
    this.#lastRevision = Math.max(this.#lastRevision, entry.revision);
    if (entry.operation !== 'PUT' && this.#ownDeletes.delete(entry.key)) {
      this.#markers.set(entry.key, {
        revision: entry.revision,
        atMs: this.#options.bus.clock.nowMs(),
      });
      this.#armPurge();
    } else if (entry.operation === 'PUT') {
      this.#markers.delete(entry.key);
    }
    if (entry.operation === 'PUT') this.#live.add(entry.key);
    else this.#live.delete(entry.key);
    const change = asChange(entry);
    if (change !== undefined) this.#emit(change);
  }

  #emit(change: StoreChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.bus.clock.after(retryMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
      if (this.#isClosed) this.#wake();
    });
  }

  #open(): Promise<KV> {
    const { bus, bucket, replicas, timeoutMs } = this.#options;
    // Always `create`: it binds to a bucket that is there, and makes one that was lost.
    this.#bucket ??= new Kvm(jetstream(bus.connection, { timeout: timeoutMs })).create(bucket, {
      history: 1,
      replicas,
    });
    return this.#bucket;
  }

  #forgetBucket(): void {
    this.#bucket = undefined;
  }

  async #with<Result>(what: string, work: (kv: KV) => Promise<Result>): Promise<Result> {
    if (this.#isClosed) throw storeClosed();
    try {
      return await work(await this.#open());
    } catch (thrown) {
      const error = asStoreError(thrown, what);
      if (error.code !== 'ABORTED') {
        this.#forgetBucket();
        this.#checks?.soon();
      }
      throw error;
    }
  }

  #armPurge(): void {
    const { bus, markerAgeMs } = this.#options;
    this.#purge ??= bus.clock.after(markerAgeMs, () => {
      this.#purge = undefined;
      void this.#purgeMarkers();
    });
  }

  /** Only what lies at or before the marker goes, so an entry that came again meanwhile is safe. */
  async #purgeMarkers(): Promise<void> {
    const { bus, bucket, markerAgeMs, timeoutMs } = this.#options;
    try {
      const manager = await jetstreamManager(bus.connection, { timeout: timeoutMs });
      let purged = 0;
      for (const [key, { revision, atMs }] of this.#markers) {
        const isYoung = bus.clock.nowMs() - atMs < markerAgeMs;
        if (this.#isClosed || isYoung || purged === purgesPerRoundMax) break;
        await manager.streams.purge(`KV_${bucket}`, {
          filter: `$KV.${bucket}.${key}`,
          seq: revision + 1,
        });
        this.#markers.delete(key);
        purged += 1;
      }
    } catch (error) {
      bus.log.debug('deletion markers were not purged, tried again later', { error });
    }
    if (this.#markers.size > 0 && !this.#isClosed) this.#armPurge();
  }
}

/** Undefined where there is no such stream. */
async function stateOf(
  manager: JetStreamManager,
  stream: string,
): Promise<BucketState | undefined> {
  try {
    const { created, state } = await manager.streams.info(stream);
    return { created, messages: state.messages, lastSequence: state.last_seq };
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamNotFound) {
      return undefined;
    }
    throw error;
  }
}

function asChange(entry: KvEntry): StoreChange | undefined {
  const key = decodeStoreKey(entry.key);
  // Somebody else's key in our bucket.
  if (key === undefined) return undefined;
  const { revision } = entry;
  if (entry.operation !== 'PUT') return { kind: 'deleted', key, revision };
  return { kind: 'put', entry: { key, value: entry.value, revision } };
}

function storeClosed(): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'the registry store is closed');
}
