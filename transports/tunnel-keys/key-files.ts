// Keys handed to another process by a path: VPP's IKEv2 takes them no other way. The folder is beside the socket of that
// process, where both see it.
// Invariants: a key is on the disk only while it is read, in a folder and a file that are the owner's alone; what a
// process that was killed has left there goes before the next key comes.

import { randomUUID } from 'node:crypto';
import { mkdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asNsmError, NsmError } from '../../protocols/errors.ts';
import type { KeyFiles } from '../../protocols/ports/key-files.ts';

/** `folder`: absolute; made when it is needed, and nobody else's. */
export function createKeyFiles(folder: string): KeyFiles {
  let inUse = 0;
  return {
    async during(text, use) {
      inUse += 1;
      const path = join(folder, `${randomUUID()}.pem`);
      try {
        await write(folder, { path, text, isFirst: inUse === 1 });
        return await use(path);
      } finally {
        inUse -= 1;
        await rm(path, { force: true });
        // Another one may be in there by now.
        if (inUse === 0) await rmdir(folder).catch(() => {});
      }
    },
  };
}

async function write(
  folder: string,
  file: { readonly path: string; readonly text: string; readonly isFirst: boolean },
): Promise<void> {
  try {
    if (file.isFirst) await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(file.path, file.text, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    throw new NsmError('FAILED_PRECONDITION', 'a key cannot be handed to VPP', {
      rule: 'folder of key files',
      expected: `a folder in which this process can write: ${folder}`,
      found: asNsmError(error).message,
      remedy: 'let the forwarder write beside the API socket of VPP',
      cause: error,
    });
  }
}
