// The file of a policy: a module of WebAssembly, or the bundle that `opa build -t wasm` makes, a compressed tar archive with
// `policy.wasm` and `data.json` in it.

import { gunzipSync } from 'node:zlib';
import { NsmError } from '../../protocols/errors.ts';

/** Of the file, and of what is in it. */
export const policyBytesMax = 16 * 1024 * 1024;

export interface PolicyBytes {
  readonly module: Uint8Array;
  /** The documents beneath `data`. */
  readonly data: object;
}

/** Errors: INVALID_ARGUMENT. */
export function readPolicyBytes(bytes: Uint8Array): PolicyBytes {
  if (beginsWith(bytes, [0x00, 0x61, 0x73, 0x6d])) return { module: bytes, data: {} };
  if (!beginsWith(bytes, [0x1f, 0x8b])) {
    throw notAPolicy('a module of WebAssembly, or a bundle with one', 'neither of the two');
  }
  const files = filesOf(unpacked(bytes));
  const module = files.get('policy.wasm');
  if (module === undefined) {
    throw notAPolicy('a bundle with policy.wasm in it', `one with ${names(files)}`);
  }
  return { module, data: dataOf(files.get('data.json')) };
}

export function notAPolicy(expected: string, found: string, cause?: unknown): NsmError {
  return new NsmError('INVALID_ARGUMENT', 'the policy cannot be used', {
    rule: 'policy_wasm',
    expected,
    found,
    remedy: 'make it with opa build -t wasm -e vwire/request ... (docs/guides/policy.md)',
    ...(cause === undefined ? {} : { cause }),
  });
}

const beginsWith = (bytes: Uint8Array, magic: readonly number[]): boolean =>
  magic.every((each, index) => bytes[index] === each);

function unpacked(bytes: Uint8Array): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: policyBytesMax });
  } catch (cause) {
    throw notAPolicy(`a bundle of at most ${policyBytesMax} bytes`, messageOf(cause), cause);
  }
}

const blockBytes = 512;

/** Regular files of a tar archive (POSIX ustar), by their paths without what leads to them. */
function filesOf(archive: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  let at = 0;
  while (at + blockBytes <= archive.length && archive[at] !== 0) {
    const text = (from: number, to: number): string =>
      archive.toString('latin1', at + from, at + to).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 136), 8);
    const start = at + blockBytes;
    if (!(size >= 0) || start + size > archive.length) {
      throw notAPolicy('a whole tar archive', `one that is broken at byte ${at}`);
    }
    const isFile = text(156, 157) === '0' || text(156, 157) === '';
    if (isFile) {
      files.set(text(0, 100).replace(/^\.?\//, ''), archive.subarray(start, start + size));
    }
    at = start + Math.ceil(size / blockBytes) * blockBytes;
  }
  return files;
}

const names = (files: ReadonlyMap<string, unknown>): string =>
  [...files.keys()].join(', ').slice(0, 200) || 'no file';

function dataOf(text: Buffer | undefined): object {
  if (text === undefined) return {};
  try {
    const data: unknown = JSON.parse(text.toString('utf8'));
    if (typeof data === 'object' && data !== null) return data;
  } catch (cause) {
    throw notAPolicy('a document in data.json', messageOf(cause), cause);
  }
  throw notAPolicy('an object in data.json', 'another value');
}

/** The runtime of policies throws texts and objects as well. */
export function messageOf(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown;
  const { message } = (thrown ?? {}) as { message?: unknown };
  return typeof message === 'string' ? message : String(thrown);
}
