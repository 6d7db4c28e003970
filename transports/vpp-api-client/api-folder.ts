// Reads the API definitions that a build of VPP installs (`/usr/share/vpp/api/core/*.api.json` and `plugins/`).
// Invariant: the number of files and of bytes that are read is bounded.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { NsmError } from '../../protocols/errors.ts';
import type { ApiCatalog } from '../../protocols/vpp/api-catalog.ts';
import { createCatalog } from '../../protocols/vpp/api-catalog.ts';
import { parseApiJson } from '../../protocols/vpp/parse-api.ts';

/** VPP 26.10 has 153 files and 3.6 MB, its tests included. */
const filesMax = 4096;
const bytesMax = 64 * 1024 * 1024;

/**
 * All `*.api.json` below the folder, as one set. Reads at once, for use at start. Errors: NOT_FOUND, INVALID_ARGUMENT
 * with file, message and field, RESOURCE_EXHAUSTED.
 */
export function loadApiFolder(folder: string): ApiCatalog {
  const paths = listFiles(folder);
  if (paths.length === 0 || paths.length > filesMax) {
    throw new NsmError(
      paths.length === 0 ? 'NOT_FOUND' : 'RESOURCE_EXHAUSTED',
      'the API definitions of VPP cannot be read',
      {
        rule: 'files',
        expected: `1 to ${filesMax} files *.api.json in ${folder}`,
        found: `${paths.length}`,
      },
    );
  }
  let bytes = 0;
  const modules = paths.flatMap((path) => {
    const text = readFileSync(path, 'utf8');
    bytes += text.length;
    if (bytes <= bytesMax) return parseApiJson(text, path);
    throw new NsmError('RESOURCE_EXHAUSTED', 'the API definitions of VPP are beyond a bound', {
      rule: 'files',
      expected: `at most ${bytesMax} bytes in ${folder}`,
      found: 'more',
    });
  });
  return createCatalog(modules);
}

function listFiles(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.api.json'))
      .sort()
      .map((name) => join(folder, name));
  } catch (error) {
    throw new NsmError('NOT_FOUND', 'the API definitions of VPP cannot be read', {
      rule: 'files',
      expected: `a folder ${folder}`,
      found: error instanceof Error ? error.message : String(error),
      cause: error,
    });
  }
}
