// Protects what a full disk costs: the change that found no room is refused by name, those before it and those after room
// was made are kept, and nothing is torn. On a real file system of its own, a small one in memory.

import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const child = fileURLToPath(new URL('./full-disk-child.ts', import.meta.url));
const isolate = ['-Urm', 'sh', '-c'];
const mount = 'mount -t tmpfs -o size=1m none "$0"';
const tried = spawnSync('unshare', [...isolate, mount, tmpdir()], { encoding: 'utf8' });
const refusal = tried.status === 0 ? '' : ` (skipped: no mount namespace here: ${tried.stderr})`;

it.runIf(tried.status === 0)(
  `a full disk refuses one change and tears nothing${refusal}`,
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'vwire-full-'));
    try {
      const script = `${mount} && exec "$@"`;
      const command = [process.execPath, '--import', 'tsx', child, directory];
      const { stdout } = await promisify(execFile)('unshare', [
        ...isolate,
        script,
        directory,
        ...command,
      ]);
      expect(JSON.parse(stdout)).toEqual({
        before: 'kept',
        full: 'RESOURCE_EXHAUSTED',
        after: 'kept',
        keys: ['before', 'after'],
        damage: 0,
      });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
);
