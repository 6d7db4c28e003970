// Protects a mesh from what adds up: after random creates, refreshes, reselects, closes, vanished namespaces, killed
// processes and damage by hand, nothing is left over and no wire is lost. A short form of `npm run soak`, which also
// holds memory to its bounds.

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';

import { runSoak } from '../../bench/soak/run-soak.ts';
import { whyNoNamespaces } from '../sandbox/namespaces.ts';

const repository = join(import.meta.dirname, '../..');
const operations = 60;
const reason = whyNoNamespaces();
const note = reason === undefined ? '' : ` (needs network namespaces: ${reason})`;

describe.skipIf(reason !== undefined)(`a soak, the short run${note}`, () => {
  beforeAll(async () => {
    const prepare = ['bin/bootstrap.mjs', 'prepare'];
    await promisify(execFile)(process.execPath, prepare, { cwd: repository });
  }, 200_000);

  test('nothing is left over, and no wire is lost that nobody has broken', async () => {
    const { orphans, broken, counts, growth } = await runSoak({
      operations,
      seed: 1,
      trouble: 25,
      lifetimeMs: 600_000,
      quietMs: 0,
      executable: join(repository, 'dist/bin/vwire.js'),
      progress: () => {},
      signal: new AbortController().signal,
    });
    expect({ orphans, broken }).toEqual({ orphans: [], broken: [] });
    expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(operations);
    expect(growth.map(({ part }) => part)).toEqual([
      'node-1/nsmgr',
      'node-1/forwarder',
      'registry',
    ]);
  }, 400_000);
});
