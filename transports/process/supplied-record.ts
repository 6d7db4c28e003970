// What a process supplier writes down of each Endpoint before it touches anything, so that a supplier that was killed
// at any point finds again what it had begun. Versioned; what a newer version wrote is refused by its number.

import { NsmError } from '../../protocols/errors.ts';
import { formats } from '../../protocols/formats.ts';
import type { ProcessIdentity } from './process-identity.ts';

export interface SuppliedRecord {
  readonly name: string;
  /** Value of the mark in the environment of the process. */
  readonly mark: string;
  /** Of the kernel that the process runs on: after a boot it is gone. */
  readonly bootId: string;
  readonly namespace: string;
  /** Whether the supplier made the namespace, so that it is the supplier's to remove. */
  readonly ownsNamespace: boolean;
  /** Absent until it runs. */
  readonly process?: ProcessIdentity;
}

export function encodeRecord(record: SuppliedRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ version: formats.suppliedRecord, ...record }));
}

/** Errors: DATA_LOSS. */
export function decodeRecord(bytes: Uint8Array): SuppliedRecord {
  let read: unknown;
  try {
    read = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw damaged('no JSON');
  }
  const { version: found, ...record } = (read ?? {}) as SuppliedRecord & { version: unknown };
  if (typeof found !== 'number' || found < 1 || found > formats.suppliedRecord) {
    throw damaged(`version ${String(found)}`);
  }
  const { name, mark, bootId, namespace, ownsNamespace, process } = record;
  const isWhole =
    [name, mark, bootId, namespace].every((text) => typeof text === 'string') &&
    typeof ownsNamespace === 'boolean' &&
    (process === undefined || [process.pid, process.startTicks].every(Number.isInteger));
  if (!isWhole) throw damaged('a field is missing');
  return record;
}

function damaged(found: string): NsmError {
  return new NsmError('DATA_LOSS', 'a record of a supplied Endpoint cannot be read', {
    rule: 'journal of the supplier',
    expected: `version ${formats.suppliedRecord} or older with all of its fields`,
    found,
    remedy: 'look for the process by hand; the supplier goes on without the record',
  });
}
