// The file under a journal: open or create, read what is intact, append, rewrite. One owner, one call at a time.
// Invariants: `end` is behind the last intact record, and nothing is ever written elsewhere; a failed append is
// cut off again; a rewrite is complete and durable before it takes the old file's name.

import { randomBytes } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import {
  decodeHeader,
  decodeRecord,
  encodeHeader,
  headerBytes,
  type JournalScan,
  resaltRecord,
  scanRecords,
} from './record-codec.ts';

/** Where a live record lies. */
export interface RecordPlace {
  readonly offset: number;
  readonly bytes: number;
}

export interface JournalFile {
  readonly path: string;
  readonly salt: Buffer;
  readonly handle: FileHandle;
  end: number;
}

/** Opens or creates the file; what lies behind the last intact record is cut off. */
export async function openJournalFile(
  path: string,
): Promise<{ readonly file: JournalFile; readonly scan: JournalScan }> {
  await rm(temporaryPath(path), { force: true });
  const existing = await readExisting(path);
  // Shorter than a header: the process died while it made the file, so nothing was acknowledged yet.
  if (existing === undefined || existing.length < headerBytes) {
    await (await createFile(path, [])).handle.close();
    await syncDirectory(dirname(path));
    return openJournalFile(path);
  }
  const salt = decodeHeader(existing, path);
  const scan = scanRecords(existing, salt, path);
  const handle = await open(path, 'r+');
  if (scan.end < existing.length) {
    await handle.truncate(scan.end);
    await handle.datasync();
  }
  return { file: { path, salt, handle, end: scan.end }, scan };
}

async function readExisting(path: string): Promise<Buffer | undefined> {
  try {
    const handle = await open(path, 'r');
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Appends at the end; on failure the file is cut back to where it was and the error is thrown. */
export async function appendToFile(file: JournalFile, bytes: Buffer): Promise<void> {
  try {
    let written = 0;
    while (written < bytes.length) {
      const result = await file.handle.write(
        bytes,
        written,
        bytes.length - written,
        file.end + written,
      );
      written += result.bytesWritten;
    }
  } catch (error) {
    await file.handle.truncate(file.end);
    throw error;
  }
  file.end += bytes.length;
}

/**
 * Writes the given records of `file` into a new file of the same name and returns it with their new places, in
 * the order given. The caller closes the old handle and syncs the directory. Errors: DATA_LOSS (a record is no longer intact on disk).
 */
export async function rewriteFile(
  file: JournalFile,
  places: readonly RecordPlace[],
): Promise<{ readonly file: JournalFile; readonly places: readonly RecordPlace[] }> {
  const created = await createFile(file.path, places, file);
  return { file: { path: file.path, ...created }, places: created.places };
}

async function createFile(
  path: string,
  places: readonly RecordPlace[],
  source?: JournalFile,
): Promise<{ salt: Buffer; handle: FileHandle; end: number; places: RecordPlace[] }> {
  const salt = randomBytes(8);
  const handle = await open(temporaryPath(path), 'w+', 0o600);
  try {
    await handle.write(encodeHeader(salt), 0, headerBytes, 0);
    const copied: RecordPlace[] = [];
    let end = headerBytes;
    for (const batch of batches(places)) {
      const records: Buffer[] = [];
      for (const place of batch) {
        const record = resaltRecord(await readRecord(source, place), salt);
        records.push(record);
        copied.push({ offset: end, bytes: record.length });
        end += record.length;
      }
      const bytes = Buffer.concat(records);
      await handle.write(bytes, 0, bytes.length, end - bytes.length);
    }
    await handle.sync();
    await rename(temporaryPath(path), path);
    return { salt, handle, end, places: copied };
  } catch (error) {
    await handle.close();
    await rm(temporaryPath(path), { force: true });
    throw error;
  }
}

async function readRecord(source: JournalFile | undefined, place: RecordPlace): Promise<Buffer> {
  const record = Buffer.allocUnsafe(place.bytes);
  await source?.handle.read(record, 0, place.bytes, place.offset);
  if (source === undefined || decodeRecord(record, source.salt, 0) === undefined) {
    throw new NsmError('DATA_LOSS', 'a journal record was damaged on disk', {
      rule: 'journal-record',
      expected: 'an intact record',
      found: `damage at byte ${place.offset} of ${source?.path ?? 'no file'}`,
    });
  }
  return record;
}

function* batches(places: readonly RecordPlace[]): Generator<readonly RecordPlace[]> {
  const batchSize = 256;
  for (let from = 0; from < places.length; from += batchSize) {
    yield places.slice(from, from + batchSize);
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function temporaryPath(path: string): string {
  return `${path}.new`;
}
