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
  return new FolderOfKeys(folder);
}

class FolderOfKeys implements KeyFiles {
  readonly #folder: string;
  #inUse = 0;
  #made: Promise<unknown> | undefined;
  #gone: Promise<unknown> = Promise.resolve();

  constructor(folder: string) {
    this.#folder = folder;
  }

  async during<Result>(text: string, use: (path: string) => Promise<Result>): Promise<Result> {
    const path = join(this.#folder, `${randomUUID()}.pem`);
    this.#inUse += 1;
    try {
      this.#made ??= this.#gone.then(() => this.#make());
      await this.#made
        .then(() => writeFile(path, text, { mode: 0o600, flag: 'wx' }))
        .catch((error: unknown) => {
          throw unwritable(this.#folder, error);
        });
      return await use(path);
    } finally {
      await rm(path, { force: true }).catch(() => {});
      this.#inUse -= 1;
      if (this.#inUse === 0) {
        this.#made = undefined;
        this.#gone = rmdir(this.#folder).catch(() => {});
        await this.#gone;
      }
    }
  }

  async #make(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await mkdir(this.#folder, { mode: 0o700 });
  }
}

function unwritable(folder: string, error: unknown): NsmError {
  return new NsmError('FAILED_PRECONDITION', 'a key cannot be handed to VPP', {
    rule: 'folder of key files',
    expected: `a folder in which this process can write: ${folder}`,
    found: asNsmError(error).message,
    remedy: 'let the forwarder write beside the API socket of VPP',
    cause: error,
  });
}
