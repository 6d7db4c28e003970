// The bytes of a journal file: a header with a per-file salt, then records. Pure, apart from Buffer and zlib.
// Invariants: a record's checksum covers the salt, so an image of a record inside somebody's value never passes
// for a record; a reader that meets damage continues at the next intact record and says what it passed over.

import { crc32 } from 'node:zlib';
import { NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';

/** Header: 7 bytes magic, 1 byte version, 8 bytes salt, 4 bytes CRC-32 of the 16 before. */
export const headerBytes = 20;
/** Record: 4 bytes mark, 4 bytes body length, 4 bytes CRC-32 of salt, length and body; then the body. */
export const recordHeadBytes = 12;
/** Body: 1 byte record version, 1 byte kind, 2 bytes key length, key (UTF-8), value. */
const bodyHeadBytes = 4;
export const keyBytesMax = 0xffff;
export const valueBytesMax = 16 * 1024 * 1024;
const bodyBytesMax = bodyHeadBytes + keyBytesMax + valueBytesMax;

const magic = Buffer.from('vwjrnl\n', 'latin1');
const mark = Buffer.from([0xa5, 0x76, 0x77, 0x52]);
const kinds = { put: 1, delete: 2 } as const;

export interface JournalRecord {
  readonly kind: 'put' | 'delete';
  readonly key: string;
  /** A view into the scanned buffer; empty for a delete. */
  readonly value: Buffer;
  /** Where the record begins in the file, and its whole length. */
  readonly offset: number;
  readonly bytes: number;
}

/** `details.rule` where a file has no header that can be read. */
export const damagedHeaderRule = 'journal-header';

/** A stretch of the file that holds no intact record. */
export interface JournalDamage {
  readonly offset: number;
  readonly bytes: number;
  /** `tail`: nothing intact follows, as after a crash in mid-write; `middle`: intact records follow. */
  readonly place: 'tail' | 'middle';
}

export interface JournalScan {
  readonly records: readonly JournalRecord[];
  readonly damage: readonly JournalDamage[];
  /** Where the next record goes: behind the last intact one. */
  readonly end: number;
}

export function encodeHeader(salt: Buffer): Buffer {
  const header = Buffer.alloc(headerBytes);
  magic.copy(header, 0);
  header.writeUInt8(formats.journal, 7);
  salt.copy(header, 8, 0, 8);
  header.writeUInt32BE(crc32(header.subarray(0, 16)), 16);
  return header;
}

/** The file's salt. Errors: DATA_LOSS (not a journal, damaged header), FAILED_PRECONDITION (newer version). */
export function decodeHeader(file: Buffer, path: string): Buffer {
  if (file.length < headerBytes || !file.subarray(0, 7).equals(magic)) {
    throw headerError(path, `${headerBytes} bytes beginning with the journal mark`, {
      found: `${file.length} bytes beginning with ${file.subarray(0, 8).toString('hex')}`,
    });
  }
  if (file.readUInt32BE(16) !== crc32(file.subarray(0, 16))) {
    throw headerError(path, 'a header whose checksum holds', { found: 'a damaged header' });
  }
  const version = file.readUInt8(7);
  refuseNewer(version, path);
  return Buffer.from(file.subarray(8, 16));
}

/** Errors: FAILED_PRECONDITION. Nothing is changed about a file that a newer release has written to. */
function refuseNewer(version: number, path: string): void {
  if (version <= formats.journal) return;
  throw new NsmError('FAILED_PRECONDITION', `journal ${path} was written by a newer version`, {
    rule: 'journal-version',
    expected: `format version ${formats.journal} or older`,
    found: `format version ${version}`,
    remedy:
      'run the newer vwire again; without its journal its wires are left alone and cannot be refreshed',
  });
}

function headerError(path: string, expected: string, more: { found: string }): NsmError {
  return new NsmError('DATA_LOSS', `journal ${path} cannot be read`, {
    rule: damagedHeaderRule,
    expected,
    found: more.found,
  });
}

/** Errors: INVALID_ARGUMENT (key or value beyond its bound). */
export function encodeRecord(
  salt: Buffer,
  kind: 'put' | 'delete',
  key: string,
  value: Uint8Array,
): Buffer {
  const keyBytes = Buffer.byteLength(key);
  if (keyBytes > keyBytesMax) throw sizeError('key', keyBytesMax, keyBytes);
  if (value.length > valueBytesMax) throw sizeError('value', valueBytesMax, value.length);
  const bodyBytes = bodyHeadBytes + keyBytes + value.length;
  const record = Buffer.allocUnsafe(recordHeadBytes + bodyBytes);
  mark.copy(record, 0);
  record.writeUInt32BE(bodyBytes, 4);
  record.writeUInt8(formats.journal, recordHeadBytes);
  record.writeUInt8(kinds[kind], recordHeadBytes + 1);
  record.writeUInt16BE(keyBytes, recordHeadBytes + 2);
  record.write(key, recordHeadBytes + bodyHeadBytes);
  record.set(value, recordHeadBytes + bodyHeadBytes + keyBytes);
  record.writeUInt32BE(checksum(salt, record), 8);
  return record;
}

function sizeError(what: string, bytesMax: number, found: number): NsmError {
  return new NsmError('INVALID_ARGUMENT', `journal ${what} is too large`, {
    rule: `journal-${what}-size`,
    expected: `at most ${bytesMax} bytes`,
    found: `${found} bytes`,
  });
}

/** The same record under another file's salt. */
export function resaltRecord(record: Buffer, salt: Buffer): Buffer {
  const copy = Buffer.from(record);
  copy.writeUInt32BE(checksum(salt, copy), 8);
  return copy;
}

function checksum(salt: Buffer, record: Buffer): number {
  const seeded = crc32(record.subarray(4, 8), crc32(salt));
  return crc32(record.subarray(recordHeadBytes), seeded);
}

/** The record at `offset`, or undefined where there is no intact one. */
export function decodeRecord(
  file: Buffer,
  salt: Buffer,
  offset: number,
): JournalRecord | undefined {
  const bodyAt = offset + recordHeadBytes;
  if (bodyAt + bodyHeadBytes > file.length) return undefined;
  if (file.compare(mark, 0, mark.length, offset, offset + mark.length) !== 0) return undefined;
  const bodyBytes = file.readUInt32BE(offset + 4);
  if (bodyBytes > bodyBytesMax || bodyAt + bodyBytes > file.length) return undefined;
  const keyBytes = file.readUInt16BE(bodyAt + 2);
  if (bodyHeadBytes + keyBytes > bodyBytes) return undefined;
  const kindNumber = file.readUInt8(bodyAt + 1);
  if (kindNumber !== kinds.put && kindNumber !== kinds.delete) return undefined;
  const bytes = recordHeadBytes + bodyBytes;
  const image = file.subarray(offset, offset + bytes);
  if (file.readUInt32BE(offset + 8) !== checksum(salt, image)) return undefined;
  const keyAt = bodyAt + bodyHeadBytes;
  return {
    kind: kindNumber === kinds.put ? 'put' : 'delete',
    key: file.toString('utf8', keyAt, keyAt + keyBytes),
    value: file.subarray(keyAt + keyBytes, bodyAt + bodyBytes),
    offset,
    bytes,
  };
}

/**
 * Every intact record of a file, and where there is none. Errors: FAILED_PRECONDITION (a record of a newer version, which
 * may stand in a file that an older one began).
 */
export function scanRecords(file: Buffer, salt: Buffer, path: string): JournalScan {
  const records: JournalRecord[] = [];
  const damage: JournalDamage[] = [];
  let end = headerBytes;
  let at = headerBytes;
  while (at < file.length) {
    const record = decodeRecord(file, salt, at);
    if (record !== undefined) {
      refuseNewer(file.readUInt8(at + recordHeadBytes), path);
      if (at > end) damage.push({ offset: end, bytes: at - end, place: 'middle' });
      records.push(record);
      at = record.offset + record.bytes;
      end = at;
      continue;
    }
    const next = file.indexOf(mark, at + 1);
    at = next === -1 ? file.length : next;
  }
  if (end < file.length) damage.push({ offset: end, bytes: file.length - end, place: 'tail' });
  return { records, damage, end };
}
