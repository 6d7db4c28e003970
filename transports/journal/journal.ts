// A process's journal of intents: the newest value per key in one append-only file, across kill -9.
// NSM concept: what this hop has promised (connections, leases, names). Invariants: a change is acknowledged only
// when it is as durable as the fsync policy says; changes become durable in the order of their calls; values are
// not kept in memory; the queue is bounded; after a failed fsync nothing is acknowledged any more.

import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { asNsmError, describeError, NsmError } from '../../protocols/errors.ts';
import type { Clock, Timer } from '../../protocols/ports/clock.ts';
import type { Journal } from '../../protocols/ports/journal.ts';
import type { Log } from '../../protocols/ports/log.ts';
import { acquireExclusiveLock, type ExclusiveLock } from './exclusive-lock.ts';
import {
  appendToFile,
  type JournalFile,
  openJournalFile,
  type RecordPlace,
  rewriteFile,
  syncDirectory,
} from './journal-file.ts';
import {
  damagedHeaderRule,
  encodeRecord,
  headerBytes,
  type JournalDamage,
  type JournalScan,
} from './record-codec.ts';

/**
 * `always`: fdatasync before a change is acknowledged; survives power loss. `interval`: acknowledged when
 * the operating system has it, so it survives the end of the process, and synced every `syncIntervalMs`. `never`: left to
 * the operating system.
 */
export type FsyncPolicy = 'always' | 'interval' | 'never';

export interface JournalOptions {
  /** Made if absent, mode 0700. */
  readonly directory: string;
  /** File name without extension. */
  readonly name: string;
  readonly fsync: FsyncPolicy;
  readonly log: Log;
  readonly clock: Clock;
  readonly syncIntervalMs?: number;
  /** Changes that may wait for the disk; beyond, RESOURCE_EXHAUSTED. */
  readonly queueDepthMax?: number;
  readonly queueBytesMax?: number;
  /** The file is rewritten when its garbage exceeds both this and its live part. */
  readonly garbageBytesMin?: number;
}

export interface FileJournal extends Journal {
  /** What was passed over when the file was opened. */
  readonly damage: readonly JournalDamage[];
  readonly fileBytes: number;
  readonly liveBytes: number;
  /** Times that the file was rewritten since it was opened. */
  readonly compactions: number;
}

interface Pending {
  readonly kind: 'put' | 'delete';
  readonly key: string;
  readonly value: Uint8Array;
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: NsmError) => void;
}

interface Encoded {
  readonly pending: Pending;
  readonly record: Buffer;
}

const noBytes = new Uint8Array(0);
/** One write carries at most this much, so that a long queue does not need one huge buffer. */
const batchBytesMax = 1024 * 1024;

/**
 * Opens or creates `<directory>/<name>.journal` and locks it. Errors: FAILED_PRECONDITION (in use, naming the
 * holder; newer format). A damaged record is passed over and reported, and a file whose header cannot be read is put
 * aside as `<name>.journal.damaged`: refusing to start would take down every wire for the sake of one, and a missing
 * intent only means quarantine.
 */
export async function openJournal(options: JournalOptions): Promise<FileJournal> {
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const path = join(options.directory, `${options.name}.journal`);
  const lock = acquireExclusiveLock(join(options.directory, `${options.name}.lock`));
  try {
    const { file, scan } = await openOrPutAside(path, options.log);
    reportDamage(options.log, path, scan);
    return new JournalWriter(options, lock, { file, scan });
  } catch (error) {
    lock.release();
    throw error;
  }
}

async function openOrPutAside(path: string, log: Log): ReturnType<typeof openJournalFile> {
  try {
    return await openJournalFile(path);
  } catch (thrown) {
    const error = asNsmError(thrown);
    if (error.details.rule !== damagedHeaderRule) throw thrown;
    const aside = `${path}.damaged`;
    await rename(path, aside);
    log.error('journal could not be read and was put aside; what it remembered is quarantined', {
      path,
      aside,
      error: describeError(error),
    });
    return openJournalFile(path);
  }
}

function reportDamage(log: Log, path: string, scan: JournalScan): void {
  for (const { offset, bytes, place } of scan.damage) {
    if (place === 'tail') log.warn('journal had a torn tail, cut off', { path, offset, bytes });
    else log.error('journal had a damaged stretch, passed over', { path, offset, bytes });
  }
}

class JournalWriter implements FileJournal {
  readonly damage: readonly JournalDamage[];
  compactions = 0;
  #options: Required<JournalOptions>;
  #lock: ExclusiveLock;
  #file: JournalFile;
  #scan: JournalScan | undefined;
  #live = new Map<string, RecordPlace>();
  #liveBytes = 0;
  #queue: Pending[] = [];
  #queueBytes = 0;
  #flushing: Promise<void> | undefined;
  #failure: NsmError | undefined;
  #closed = false;
  #isDirty = false;
  #syncIsDue = false;
  #syncTimer: Timer | undefined;
  /** Raised after a rewrite that failed, so that it is not tried again with every change. */
  #garbageBytesMin: number;

  constructor(
    options: JournalOptions,
    lock: ExclusiveLock,
    opened: { file: JournalFile; scan: JournalScan },
  ) {
    this.#options = {
      syncIntervalMs: 1_000,
      queueDepthMax: 10_000,
      queueBytesMax: 64 * 1024 * 1024,
      garbageBytesMin: 1024 * 1024,
      ...options,
    };
    this.#garbageBytesMin = this.#options.garbageBytesMin;
    this.#lock = lock;
    this.#file = opened.file;
    this.#scan = opened.scan;
    this.damage = opened.scan.damage;
    for (const record of opened.scan.records) this.#index(record.kind, record.key, record);
  }

  get isDamaged(): boolean {
    return this.damage.length > 0;
  }

  get fileBytes(): number {
    return this.#file.end;
  }

  get liveBytes(): number {
    return this.#liveBytes;
  }

  async load(): Promise<ReadonlyMap<string, Uint8Array>> {
    if (this.#scan === undefined) throw loadedBefore();
    const values = new Map<string, Uint8Array>();
    for (const record of this.#scan.records) {
      values.delete(record.key);
      if (record.kind === 'put') values.set(record.key, new Uint8Array(record.value));
    }
    this.#scan = undefined;
    return values;
  }

  put(key: string, value: Uint8Array): Promise<void> {
    return this.#enqueue('put', key, value);
  }

  async delete(key: string): Promise<void> {
    await this.#enqueue('delete', key, noBytes);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    while (this.#flushing !== undefined) await this.#flushing;
    this.#syncTimer?.cancel();
    try {
      if (this.#isDirty && this.#failure === undefined && this.#options.fsync !== 'never') {
        await this.#file.handle.datasync();
      }
    } finally {
      await this.#file.handle.close();
      this.#lock.release();
    }
  }

  #enqueue(kind: 'put' | 'delete', key: string, value: Uint8Array): Promise<void> {
    this.#scan = undefined;
    return new Promise<void>((resolve, reject) => {
      const refusal = this.#refusal();
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      const bytes = value.length + key.length;
      this.#queue.push({ kind, key, value, bytes, resolve, reject });
      this.#queueBytes += bytes;
      this.#flushing ??= this.#flush();
    });
  }

  #refusal(): NsmError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#closed) return new NsmError('FAILED_PRECONDITION', 'the journal is closed');
    const { queueDepthMax, queueBytesMax } = this.#options;
    if (this.#queue.length < queueDepthMax && this.#queueBytes < queueBytesMax) return undefined;
    return new NsmError('RESOURCE_EXHAUSTED', 'the journal cannot keep up', {
      rule: 'journal-queue',
      expected: `at most ${queueDepthMax} changes and ${queueBytesMax} bytes waiting`,
      found: `${this.#queue.length} changes, ${this.#queueBytes} bytes`,
      remedy: 'look at the latency of the disk that holds the state directory',
    });
  }

  /** The only writer: takes what has gathered, writes it at once, syncs once, acknowledges. */
  async #flush(): Promise<void> {
    await Promise.resolve();
    while (this.#queue.length > 0 || this.#syncIsDue) {
      await this.#writeBatch(this.#takeBatch());
      if (this.#syncIsDue && this.#failure === undefined) await this.#sync();
      this.#syncIsDue = false;
      if (this.#failure === undefined && this.#garbageIsTooMuch()) await this.#compact();
    }
    this.#flushing = undefined;
  }

  #takeBatch(): readonly Pending[] {
    let count = 0;
    let bytes = 0;
    for (const pending of this.#queue) {
      if (count > 0 && bytes + pending.bytes > batchBytesMax) break;
      bytes += pending.bytes;
      count += 1;
    }
    this.#queueBytes -= bytes;
    return this.#queue.splice(0, count);
  }

  async #writeBatch(batch: readonly Pending[]): Promise<void> {
    const encoded = this.#encodeBatch(batch);
    if (encoded.length === 0) return;
    const from = this.#file.end;
    try {
      await appendToFile(this.#file, Buffer.concat(encoded.map(({ record }) => record)));
    } catch (error) {
      const refusal = writeError(this.#file.path, error);
      for (const { pending } of encoded) pending.reject(refusal);
      return;
    }
    if (!(await this.#makeDurable())) {
      for (const { pending } of encoded)
        pending.reject(this.#failure ?? writeError(this.#file.path, 'no sync'));
      return;
    }
    let offset = from;
    for (const { pending, record } of encoded) {
      this.#index(pending.kind, pending.key, { offset, bytes: record.length });
      offset += record.length;
      pending.resolve();
    }
  }

  #encodeBatch(batch: readonly Pending[]): readonly Encoded[] {
    const encoded: Encoded[] = [];
    const keys = new Set<string>();
    for (const pending of batch) {
      const { kind, key, value } = pending;
      if (this.#failure !== undefined) {
        pending.reject(this.#failure);
      } else if (kind === 'delete' && !this.#live.has(key) && !keys.has(key)) {
        pending.resolve();
      } else {
        try {
          encoded.push({ pending, record: encodeRecord(this.#file.salt, kind, key, value) });
          keys.add(key);
        } catch (error) {
          pending.reject(asNsmError(error));
        }
      }
    }
    return encoded;
  }

  async #makeDurable(): Promise<boolean> {
    this.#isDirty = true;
    if (this.#options.fsync === 'interval') this.#armSync();
    if (this.#options.fsync !== 'always') return true;
    return this.#sync();
  }

  /** False where the disk refused to sync: the pages may be gone, so nothing after it can be promised. */
  async #sync(): Promise<boolean> {
    try {
      this.#isDirty = false;
      await this.#file.handle.datasync();
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  #fail(cause: unknown): void {
    this.#failure = new NsmError('DATA_LOSS', 'the disk refused to keep the journal', {
      rule: 'journal-sync',
      found: cause instanceof Error ? cause.message : String(cause),
      remedy: 'replace the disk or move the state directory, then restart this process',
      cause,
    });
    this.#options.log.error('journal sync failed', { path: this.#file.path, error: cause });
  }

  #armSync(): void {
    this.#syncTimer ??= this.#options.clock.after(this.#options.syncIntervalMs, () => {
      this.#syncTimer = undefined;
      if (!this.#isDirty || this.#closed || this.#failure !== undefined) return;
      this.#syncIsDue = true;
      this.#flushing ??= this.#flush();
    });
  }

  #index(kind: 'put' | 'delete', key: string, place: RecordPlace): void {
    this.#liveBytes -= this.#live.get(key)?.bytes ?? 0;
    // Deleted first, so that the map's order is the order of the newest changes.
    this.#live.delete(key);
    if (kind === 'delete') return;
    this.#live.set(key, { offset: place.offset, bytes: place.bytes });
    this.#liveBytes += place.bytes;
  }

  #garbageIsTooMuch(): boolean {
    const garbageBytes = this.#file.end - headerBytes - this.#liveBytes;
    return garbageBytes > Math.max(this.#garbageBytesMin, this.#liveBytes);
  }

  async #compact(): Promise<void> {
    const keys = [...this.#live.keys()];
    const rewritten = await this.#rewrite();
    if (rewritten === undefined) return;
    const old = this.#file.handle;
    this.#file = rewritten.file;
    for (const [index, place] of rewritten.places.entries()) {
      const key = keys[index];
      if (key !== undefined) this.#index('put', key, place);
    }
    this.compactions += 1;
    this.#isDirty = false;
    this.#garbageBytesMin = this.#options.garbageBytesMin;
    try {
      await old.close();
      // Without it a power loss could bring the old file back under the name.
      await syncDirectory(this.#options.directory);
    } catch (error) {
      this.#fail(error);
    }
  }

  async #rewrite(): Promise<Awaited<ReturnType<typeof rewriteFile>> | undefined> {
    try {
      return await rewriteFile(this.#file, [...this.#live.values()]);
    } catch (error) {
      this.#garbageBytesMin = Math.max(this.#garbageBytesMin, this.#file.end) * 2;
      this.#options.log.error('journal could not be rewritten', { path: this.#file.path, error });
      return undefined;
    }
  }
}

/** An empty answer here would look like "nothing was promised". */
function loadedBefore(): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'the journal was loaded or changed before', {
    rule: 'journal-load',
    expected: 'one load, before the first change',
  });
}

function writeError(path: string, cause: unknown): NsmError {
  const isFull = (cause as NodeJS.ErrnoException).code === 'ENOSPC';
  return new NsmError(
    isFull ? 'RESOURCE_EXHAUSTED' : 'UNAVAILABLE',
    'the journal cannot be written',
    {
      rule: 'journal-write',
      found: cause instanceof Error ? cause.message : String(cause),
      remedy: `free space or repair the file system that holds ${path}`,
      cause,
    },
  );
}
